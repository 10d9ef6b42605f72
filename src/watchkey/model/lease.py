"""Leases: a subject's right to some privileges on a resource, with an end; and what is seen of them on a target."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NewType

from watchkey.model.access import Allow
from watchkey.model.ids import PrivilegeName, ResourceId, SubjectId

LeaseId = NewType("LeaseId", str)
"""A lease, by a random name that is never used again. It is a name, not a capability."""


class LeaseState(StrEnum):
    """Where a lease is in its life. There is no state that means *gave up*."""

    PENDING = "pending"
    ACTIVE = "active"
    ENDING = "ending"
    STUCK = "stuck"
    """Nobody can log in and no session is left, yet something keeps the account from going; retried for ever."""
    ENDED = "ended"
    """Only after the target was *seen* without it."""


LEASE_MOVES: Final[Mapping[LeaseState, frozenset[LeaseState]]] = {
    LeaseState.PENDING: frozenset({LeaseState.ACTIVE, LeaseState.ENDING}),
    LeaseState.ACTIVE: frozenset({LeaseState.ENDING}),
    LeaseState.ENDING: frozenset({LeaseState.STUCK, LeaseState.ENDED}),
    LeaseState.STUCK: frozenset({LeaseState.ENDED}),
    LeaseState.ENDED: frozenset(),
}
"""Every legal step; what is not here does not happen. No way leads from an ending back to life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A right with an end. Whoever holds a value of this type may open what it names, until then.

    `grounds` are the decisions it stands on, one for each privilege; `ends_at` is the earliest of their ends, so that
    no privilege outlives its own decision.
    """

    id: LeaseId
    subject: SubjectId
    resource: ResourceId
    privileges: tuple[PrivilegeName, ...]
    starts_at: datetime
    ends_at: datetime
    grounds: tuple[Allow, ...]

    def __post_init__(self) -> None:
        """Refuse a lease that stands on nothing, or that reaches beyond what it stands on."""
        if not self.grounds or not self.privileges:
            raise ValueError("a lease stands on at least one decision for at least one privilege")
        if {ground.request.privilege for ground in self.grounds} != set(self.privileges):
            raise ValueError("a lease holds exactly the privileges that its decisions allow")
        if any(g.request.subject.id != self.subject or g.request.resource != self.resource for g in self.grounds):
            raise ValueError("a lease stands on decisions about its own subject and resource")
        if self.ends_at > min(ground.until for ground in self.grounds):
            raise ValueError("a lease ends no later than any decision that it stands on")

    def holds_at(self, now: datetime) -> bool:
        """Whether `starts_at <= now < ends_at`."""
        return self.starts_at <= now < self.ends_at

    @property
    def sentence(self) -> str:
        """Why this person is in, in words."""
        return self.grounds[0].sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What is seen of one lease on a target: the account that carries our mark, and who is logged in with it."""

    account: str
    lease: LeaseId
    subject: SubjectId
    resource: ResourceId
    ends_at: datetime
    can_log_in: bool
    sessions: int


class ResidueKind(StrEnum):
    """What a lease can leave behind on a database."""

    OWNED = "owned"
    SECURITY_DEFINER = "security_definer"
    VIEW = "view"
    TRIGGER = "trigger"
    EVENT_TRIGGER = "event_trigger"
    RULE = "rule"
    ROLE = "role"
    MEMBERSHIP = "membership"
    DEFAULT_PRIVILEGE = "default_privilege"
    USER_MAPPING = "user_mapping"
    PUBLICATION = "publication"
    SUBSCRIPTION = "subscription"
    CRON_JOB = "cron_job"
    PREPARED_TRANSACTION = "prepared_transaction"
    ROLE_SETTING = "role_setting"
    GRANT = "grant"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Residue:
    """One thing that a lease left behind. `is_owned` False: it appeared meanwhile, in another's name."""

    kind: ResidueKind
    database: str
    name: str
    detail: str = ""
    is_owned: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How far the end of one lease has come on its target. `is_gone`: the account was looked for and not found."""

    account: str
    is_gone: bool
    sessions_left: int
    residue: tuple[Residue, ...] = ()
    blocked_by: str = ""
    """Why the account is still there, for a person; empty when it is gone."""
