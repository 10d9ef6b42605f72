"""The allows that run: who holds one is never refused for load, and its answer is not shaped anew each time."""

from collections import OrderedDict
from datetime import datetime
from typing import Final

import msgspec

from watchkey.entrypoints.http.answer import DecisionAnswer
from watchkey.model.access import AccessRequest, Allow
from watchkey.model.ids import CallerId, PrivilegeName, ResourceId, SubjectId

_CAPACITY: Final = 100_000

_Key = tuple[CallerId, SubjectId, ResourceId, PrivilegeName]


class Note(msgspec.Struct, frozen=True):
    """An allow that was given, and its answer as last told."""

    allow: Allow
    answer: DecisionAnswer


class LiveAllows:
    """The reserved lane. It decides only *whether a question is put*; the answer is the decision's, as always.

    The oldest notes make room for new ones.
    """

    __slots__ = ("_capacity", "_notes")

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._notes: OrderedDict[_Key, Note] = OrderedDict()

    def remember(self, request: AccessRequest, allow: Allow, answer: DecisionAnswer) -> None:
        """Note an allow that was given."""
        self._notes[_key(request)] = Note(allow, answer)
        if len(self._notes) > self._capacity:
            self._notes.popitem(last=False)

    def forget(self, request: AccessRequest) -> None:
        """Note that the same question was denied since."""
        self._notes.pop(_key(request), None)

    def holds(self, request: AccessRequest, now: datetime) -> bool:
        """Whether an allow for this very question was given and has not ended."""
        note = self._notes.get(_key(request))
        return note is not None and now < note.allow.until

    def answer(self, request: AccessRequest, allow: Allow, now: datetime) -> DecisionAnswer | None:
        """The answer that was shaped for this very decision, when it is still true to the second."""
        note = self._notes.get(_key(request))
        if note is None or note.allow is not allow or note.answer.ttl_s is None or now >= allow.until:
            return None
        left = (allow.until - now).total_seconds()
        return note.answer if note.answer.ttl_s <= left < note.answer.ttl_s + 1 else None


def _key(request: AccessRequest) -> _Key:
    return (request.caller, request.subject.id, request.resource, request.privilege)
