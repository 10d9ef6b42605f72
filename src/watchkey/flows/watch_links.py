"""Watch who is who while the service runs: a changed address, a name that passed on, a look-alike is told at once.

A link names a person by an immutable id, so nothing opens by any of this; but a changed address is how a takeover
begins. Each finding is told once, when it appears: in the audit log, in the log, and as a figure. `watchkey link check`
goes on reporting it until somebody accepts it.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from watchkey.model.access import Link
from watchkey.model.audit import Noted
from watchkey.model.errors import Malformed, PortError
from watchkey.model.ids import SourceName, SubjectId
from watchkey.ports import AuditLog, Clock, Memory, RosterStore
from watchkey.rules.link_check import LinkFinding, LinkTrouble, SeenLink, check_links, look_again
from watchkey.rules.roster import RosterChange, RosterIndex

log = logging.getLogger("watchkey.watch_links")

NAME: Final = "links"
PAUSE: Final = 1.0
"""Seconds between two looks: rosters that change often must not be all that the service does."""


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered: the links as they were last seen, and what was told of them and still stands."""

    seen: tuple[SeenLink, ...] = ()
    told: tuple[str, ...] = ()


class WatchLinks:
    """The use case, for the links of one configuration."""

    def __init__(
        self,
        *,
        links: Sequence[Link],
        others: Sequence[SubjectId],
        rosters: RosterStore,
        memory: Memory,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        """`others` are subjects known besides, such as those of groups. Raises port errors."""
        self._links = links
        self._others = others
        self._rosters = rosters
        self._memory = memory
        self._audit = audit
        self._clock = clock
        found = memory.recall(NAME)
        try:
            self._kept = _Kept() if found is None else msgspec.convert(found, _Kept)
        except msgspec.ValidationError as error:
            raise Malformed(f"what was kept of links cannot be read: {error}") from error
        self._again = asyncio.Event()
        self._again.set()
        self.alerts: Counter[LinkTrouble] = Counter()
        """How often each kind of trouble was told."""
        self.standing: Counter[LinkTrouble] = Counter()
        """How many of each kind there are now; a change that was told stands no more."""

    def roster_changed(self, source: SourceName, change: RosterChange) -> None:
        """Look again soon; for whoever swaps rosters."""
        del source, change
        self._again.set()

    async def run(self) -> None:
        """Look each time a roster has changed, until cancelled."""
        while True:
            await self._again.wait()
            self._again.clear()
            await self.look()
            await self._clock.sleep(PAUSE)

    async def look(self) -> Sequence[LinkFinding]:
        """Look once; what was told now. What cannot be recorded is told again next time."""
        rosters = {name: held.index for name, held in self._rosters.held().items()}
        findings, kept = await asyncio.to_thread(self._compared, rosters)
        self.standing = Counter(one.trouble for one in findings)
        fresh = [one for one in findings if _key(one) not in self._kept.told]
        for one in fresh:
            log.warning("link.alert", extra={"why": one.what, "source": one.source})
            self.alerts[one.trouble] += 1
        try:
            for one in fresh:
                await self._audit.append(Noted(at=self._clock.now(), what="link.alert", fields=_fields(one)))
            if kept != self._kept:
                await self._memory.remember(NAME, msgspec.to_builtins(kept))
        except PortError as error:
            log.error("audit.unavailable", extra={"error": str(error)})  # noqa: TRY400  # the text says it all
        else:
            self._kept = kept
        return fresh

    def _compared(self, rosters: Mapping[SourceName, RosterIndex]) -> tuple[Sequence[LinkFinding], _Kept]:
        findings = check_links(self._links, self._others, rosters, self._kept.seen)
        # Of a source that has not been read nobody can tell: what was told of it stays told.
        unread = [key for key in self._kept.told if _source_of(key) not in {"", *rosters}]
        seen = look_again(self._links, rosters, self._kept.seen, accept=True)
        return findings, _Kept(seen=seen, told=tuple(sorted({*unread, *map(_key, findings)})))


def _key(one: LinkFinding) -> str:
    return "\n".join([one.source or "", one.trouble.value, *one.subjects, one.person or "", one.what])


def _source_of(key: str) -> str:
    return key.partition("\n")[0]


def _fields(one: LinkFinding) -> Mapping[str, Any]:
    return {
        "trouble": one.trouble.value,
        "subjects": list(one.subjects),
        "source": one.source,
        "person": one.person,
        "what": one.what,
    }
