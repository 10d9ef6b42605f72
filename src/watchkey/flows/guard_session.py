"""Let people in under leases, watch the leases, and have everybody out when one ends.

It holds a lease for each person, resource and set of privileges that is in use; asks again before an allow runs out and
whenever a roster changes; ends what lost its ground at the exact instant; and takes the account back from the target
for as long as that takes. It decides nothing: `decide` does.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from watchkey.model.access import AccessRequest, Allow, Caller, Decision, Deny, Reason, Statement, Subject
from watchkey.model.audit import Noted
from watchkey.model.errors import PortError, Refused
from watchkey.model.ids import PrivilegeName, ResourceId, SubjectId
from watchkey.model.lease import LEASE_MOVES, Ending, Lease, LeaseId, LeaseState, Residue
from watchkey.ports import Account, AuditLog, Clock, RosterStore, Target

log = logging.getLogger("watchkey.guard_session")

UNANSWERED: Final = frozenset({Reason.POLICY_UNREACHABLE, Reason.POLICY_OVER_BUDGET})
"""Denials because the policy gave no answer, though the facts hold. They let nobody in, and cut nobody off."""
ASKED_AGAIN: Final = timedelta(seconds=5)
"""After how long a lease is asked for again to which the policy gave no answer."""

TAKE_BACK_MAX: Final = 60.0
"""Seconds between two tries to take an account back, at most; the tries themselves never end."""

JUDGED_FOR: Final = 1.0
"""Seconds for which the answer about a statement serves for its like; also how late a changed policy may count."""
JUDGED_MAX: Final = 10_000

GOING_DOWN: Final = "this gateway is going down and takes no new sessions; connect again in a moment"

CLOSE_MAX: Final = 10.0
"""Seconds that an orderly end waits for accounts to be taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRules:
    """Numbers of the guard, each with its unit."""

    notices: tuple[timedelta, ...] = (timedelta(minutes=10), timedelta(minutes=2))
    """How long before the end people are told."""
    renew_before: timedelta = timedelta(seconds=30)
    """An allow is asked for again this long before it runs out; at most a quarter of its length."""
    linger: timedelta = timedelta(seconds=30)
    """How long a lease without sessions is kept, so that reconnecting is cheap."""
    look_every: float = 0.25
    """Seconds between two looks at the clock and the rosters, at most."""
    sessions_per_person_max: int = 20
    sessions_max: int = 2000
    """Of the whole gateway."""
    reserve: int = 50
    """The last so many places are only for people who hold a lease already: nobody is shut out in mid-incident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Who wants in. `privileges` None: all that are allowed."""

    subject: Subject
    issuer: Caller
    """By whose word it is that person; it must cover the resource."""
    resource: ResourceId
    privileges: tuple[PrivilegeName, ...] | None
    client: str
    """The client's address, for the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """Come in: under this lease, with this account, until it ends."""

    lease: Lease
    account: Account


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedAway:
    """Not now; the sentence is for the person. `is_fault`: the reason is ours, and trying again may help."""

    sentence: str
    reason: str
    is_fault: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """Who decides, and in whose name the gateway asks.

    `decide` is total, and an allow is durable in the audit log before it is returned (`RequestAccess.decide`).
    `foresee` tells the decision as it will be at a coming instant and records nothing; it is only used for words.
    """

    decide: Callable[[AccessRequest, Caller], Awaitable[Decision]]
    caller: Caller
    foresee: Callable[[AccessRequest, datetime], Awaitable[Decision]] | None = None
    judge: Callable[[AccessRequest], Awaitable[Decision]] | None = None
    """The decision about a statement of a session that is allowed; recorded nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """A resource behind the gateway, with all privileges that it has, weakest first."""

    target: Target
    privileges: tuple[PrivilegeName, ...]
    sessions_max: int | None = None
    """Of everybody on this resource."""
    reserve: int = 0
    """The last so many of them are for people who hold a lease on it already."""


class Door(Protocol):
    """The gateway's side of an ending: who holds the connections. Neither call blocks nor raises."""

    def end(self, lease: LeaseId, sentence: str) -> int:
        """Close every session of the lease, now, with these words; return how many."""
        ...

    async def told(self, leases: Sequence[LeaseId]) -> None:
        """Return when the clients of leases that were ended have been told, or after a moment that is not noticed.

        A target that ends a thousand sessions takes the machine; whoever is to be told should not wait behind that.
        """
        ...

    def warn(self, lease: LeaseId, sentence: str) -> None:
        """Tell every session of the lease."""
        ...

    def renewed(self, lease: Lease, words: str) -> None:
        """The lease has a new end, or new words for it: whoever ends sessions by a clock of their own must know."""
        ...


@dataclass(slots=True, kw_only=True)
class Held:
    """A lease in use, with what the guard must know of it."""

    lease: Lease
    account: Account
    target: Target
    entry: Entry
    state: LeaseState
    ends_tick: float
    """The end by the monotonic clock: a wall clock that is put back lengthens nothing."""
    sessions: int = 0
    empty_since: float = 0.0
    renew_at: datetime
    notices: list[timedelta] = field(default_factory=list)
    checks: int = 0
    telling: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the target learns of a new end, so that the last word is the last that it hears."""
    last_sentence: str = ""
    """What to say at the end, as foreseen."""
    ending: Ending | None = None

    def move(self, state: LeaseState) -> None:
        """Go to another state; raises ValueError where `LEASE_MOVES` has no such way."""
        if state is not self.state and state not in LEASE_MOVES[self.state]:
            raise ValueError(f"lease {self.lease.id}: no way from {self.state} to {state}")
        self.state = state


_Key = tuple[SubjectId, ResourceId, tuple[PrivilegeName, ...]]


class GuardSessions:
    """The use case. One instance for each gateway; `run` must be running while anybody is in."""

    def __init__(
        self,
        *,
        deciding: Deciding,
        protected: Mapping[ResourceId, Protected],
        audit: AuditLog,
        clock: Clock,
        new_id: Callable[[], str],
        rosters: RosterStore | None = None,
        rules: GuardRules | None = None,
    ) -> None:
        """`new_id` gives 16 random hexadecimal digits."""
        self._deciding = deciding
        self._protected = protected
        self._audit = audit
        self._clock = clock
        self._new_id = new_id
        self._rosters = rosters
        self._rules = rules or GuardRules()
        self._held: dict[LeaseId, Held] = {}
        self._by_key: dict[_Key, LeaseId] = {}
        self._locks: dict[_Key, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._taking = asyncio.Semaphore(4)  # as many as a target has connections for it
        self._seen_rosters: object = self._roster_revisions()
        self._unanswered = 0
        self._recheck_all = False
        self._judged: dict[tuple[LeaseId, Statement], tuple[float, str | None]] = {}
        self._checking: asyncio.Task[None] | None = None
        self.door: Door = NoDoor()
        self.is_draining = False

    # --- coming and going ------------------------------------------------------------------------------------------

    async def admit(self, entry: Entry) -> Admitted | TurnedAway:
        """Decide, make the lease true on the target, record it, and only then let in. Counts one session on success."""
        no_place = self._no_place(entry)
        if no_place is not None:
            return no_place
        if not entry.issuer.may_ask_about(entry.resource):
            return await self._not_vouched_for(entry)
        wanted = entry.privileges or self._protected[entry.resource].privileges
        key = (entry.subject.id, entry.resource, wanted)
        async with self._locks.setdefault(key, asyncio.Lock()):
            allows, denials = await self._ask(entry, wanted, check=0)
            if not allows or (entry.privileges and denials):
                denial = denials[0] if denials else None
                sentence = denial.sentence if denial else "there is nothing to ask for"
                reason = denial.reason if denial else Reason.UNKNOWN_PRIVILEGE
                return TurnedAway(sentence=sentence, reason=reason, is_fault=reason in UNANSWERED)
            known = self._held.get(self._by_key.get(key, LeaseId("")))
            granted = tuple(allow.request.privilege for allow in allows)
            if known and known.state is LeaseState.ACTIVE and known.lease.privileges == granted:
                known.sessions += 1
                return Admitted(lease=known.lease, account=known.account)
            try:
                held = await self._open(entry, allows)
            except PortError as error:
                return await self._could_not(entry, error)
            self._by_key[key] = held.lease.id
            return Admitted(lease=held.lease, account=held.account)

    async def entered(self, lease: LeaseId, process_id: int) -> None:
        """A session runs in that process of the server. Raises port errors; then the session must end."""
        held = self._held.get(lease)
        if held is None:
            raise Refused("the lease is over")
        await held.target.entered(lease, process_id)

    async def judge(self, lease: LeaseId, statement: Statement) -> str | None:
        """Why this statement is refused under the lease, or None. It needs a yes for one of the lease's privileges.

        The same answer serves for JUDGED_FOR, unless a roster changes. Refusals are in the audit log.
        """
        held = self._held.get(lease)
        if held is None or held.state is not LeaseState.ACTIVE:
            return "the lease of this session is over"
        tick = self._clock.monotonic()
        known = self._judged.get((lease, statement))
        if known is not None and tick - known[0] < JUDGED_FOR:
            return known[1]
        refusal = await self._refusal(held, statement)
        if len(self._judged) >= JUDGED_MAX:
            self._judged.clear()
        self._judged[lease, statement] = (tick, refusal)
        return refusal

    async def _refusal(self, held: Held, statement: Statement) -> str | None:
        if self._deciding.judge is None:
            return "nobody is there to judge statements"
        why = ""
        for ground in reversed(held.lease.grounds):
            match await self._deciding.judge(replace(ground.request, statement=statement)):
                case Allow():
                    return None
                case Deny() as deny:
                    why = why or deny.sentence
        what = f"{' and '.join(statement.verbs)}{' on ' + ', '.join(statement.tables) if statement.tables else ''}"
        shape = {
            "verbs": list(statement.verbs),
            "tables": list(statement.tables),
            "functions": list(statement.functions),
        }
        await self._note_quietly("statement.denied", held.lease, sentence=why, **shape)
        return f"{what} is refused: {why}"

    def left(self, lease: LeaseId) -> None:
        """One session of the lease is over."""
        held = self._held.get(lease)
        if held is not None:
            held.sessions = max(0, held.sessions - 1)
            held.empty_since = self._clock.monotonic()

    async def end(self, lease: LeaseId, *, by: str, why: str) -> bool:
        """End a lease because a person says so; returns whether there was one."""
        held = self._held.get(lease)
        if held is None or held.state is not LeaseState.ACTIVE:
            return False
        self._end_all([held], f"your access to {held.lease.resource} was ended by {by}: {why}")
        return True

    def roster_changed(self) -> None:
        """Look at every lease again, now or as soon as the look under way is done. Calling it for nothing is fine."""
        self._recheck_all = True
        self._judged.clear()
        self._start_checks(self._clock.now())

    @property
    def held(self) -> tuple[Held, ...]:
        """All leases that are not over, those included that are being taken back."""
        return tuple(self._held.values())

    # --- watching --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:  # the watch must go on: nobody else ends what is due
                log.exception("guard.look_failed")
            await self._clock.sleep(self._until_next())

    async def look(self) -> None:
        """One look: end what is due, ask again where it is time, tell those whose end is near."""
        now, tick = self._clock.now(), self._clock.monotonic()
        active = [held for held in self._held.values() if held.state is LeaseState.ACTIVE]
        due = [held for held in active if now >= held.lease.ends_at or tick >= held.ends_tick]
        if due:
            self._end_all(due, None)
        idle = [
            held
            for held in active
            if not held.sessions
            and held.state is LeaseState.ACTIVE
            and tick - held.empty_since >= self._rules.linger.total_seconds()
        ]
        if idle:
            self._end_all(idle, f"nobody is left under this lease on {idle[0].lease.resource}")
        self._warn(now)
        self._start_checks(now)

    async def close(self) -> None:
        """End every lease, wait a little for the accounts to be taken back, and stop; what is left, `reap` finds."""
        self.is_draining = True
        active = [held for held in self._held.values() if held.state is LeaseState.ACTIVE]
        if active:
            self._end_all(active, "the gateway is going down; connect again in a moment")
        give_up = self._clock.monotonic() + CLOSE_MAX
        while self._tasks and self._clock.monotonic() < give_up:  # a task may leave another behind
            await asyncio.wait(self._tasks, timeout=CLOSE_MAX)
        for task in [*self._tasks, *([self._checking] if self._checking else [])]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- inside ----------------------------------------------------------------------------------------------------

    async def _ask(
        self, entry: Entry, wanted: Sequence[PrivilegeName], *, check: int, lease: str = ""
    ) -> tuple[list[Allow], list[Deny]]:
        """Ask for each privilege; return the allows and the denials."""
        allows: list[Allow] = []
        denials: list[Deny] = []
        # a changed context keeps an allow that was given before from being handed out again with its old end
        context = {
            "way_in": "pg_gateway",
            "client": entry.client,
            **({"lease": lease, "check": check} if lease else {}),
        }
        for privilege in wanted:
            request = AccessRequest(
                subject=entry.subject,
                privilege=privilege,
                resource=entry.resource,
                caller=self._deciding.caller.id,
                context=context,
            )
            match await self._deciding.decide(request, self._deciding.caller):
                case Allow() as allow:
                    allows.append(allow)
                case Deny() as deny:
                    denials.append(deny)
        return allows, denials

    async def _not_vouched_for(self, entry: Entry) -> TurnedAway:
        """A caller answers for who somebody is on its own resources only."""
        sentence = f"your token was issued by {entry.issuer.id}, which may not say who somebody is for {entry.resource}"
        await self._note_not_granted(entry, sentence)
        return TurnedAway(sentence=sentence, reason=Reason.CALLER_NOT_ALLOWED)

    async def _note_not_granted(self, entry: Entry, error: str) -> None:
        log.error("lease.not_granted", extra={"resource": entry.resource, "error": error})
        with suppress(PortError):  # when the audit log is the fault, there is nowhere to say so
            fields = {"subject": entry.subject.id, "resource": entry.resource, "error": error}
            await self._audit.append(
                Noted(at=self._clock.now(), what="lease.not_granted", caller=self._deciding.caller.id, fields=fields)
            )

    async def _could_not(self, entry: Entry, error: PortError) -> TurnedAway:
        """The fault is ours: the operator learns what it was, the person only that it is not theirs."""
        await self._note_not_granted(entry, str(error))
        return TurnedAway(
            sentence=f"{entry.resource} cannot be prepared for you at the moment; the gateway's log says why",
            reason="not_prepared",
            is_fault=True,
        )

    async def _open(self, entry: Entry, allows: Sequence[Allow]) -> Held:
        """Intent into the audit, effect on the target, outcome into the audit; any failure takes the effect back."""
        now, tick = self._clock.now(), self._clock.monotonic()
        lease = Lease(
            id=LeaseId(self._new_id()),
            subject=entry.subject.id,
            resource=entry.resource,
            privileges=tuple(allow.request.privilege for allow in allows),
            starts_at=now,
            ends_at=min(allow.until for allow in allows),
            grounds=tuple(allows),
        )
        target = self._protected[entry.resource].target
        await self._note("lease.granting", lease, client=entry.client)
        try:
            account = await target.grant(lease)
            held = Held(
                lease=lease,
                account=account,
                target=target,
                entry=entry,
                state=LeaseState.PENDING,
                ends_tick=tick + (lease.ends_at - now).total_seconds(),
                sessions=1,
                renew_at=self._renew_at(lease, now),
                notices=self._notices(lease, now),
            )
            await self._note("lease.opened", lease, account=account.name, **_shared(account))
        except BaseException:
            self._spawn(self._take_back_unheld(target, lease))
            raise
        held.move(LeaseState.ACTIVE)
        self._held[lease.id] = held
        return held

    def _end_all(self, due: Sequence[Held], sentence: str | None) -> None:
        """End these leases: every connection at once, then every session on the targets, then the accounts.

        It waits for nothing, so that one target which does not answer keeps no other lease alive.
        """
        counts: dict[LeaseId, int] = {}
        by_target: dict[Target, list[Held]] = {}
        for held in due:
            held.move(LeaseState.ENDING)
            held.last_sentence = sentence or self._farewell(held)
            counts[held.lease.id] = self.door.end(held.lease.id, held.last_sentence)
            by_target.setdefault(held.target, []).append(held)
        for target, group in by_target.items():
            self._spawn(self._shut(target, group, counts))

    async def _shut(self, target: Target, group: Sequence[Held], counts: Mapping[LeaseId, int]) -> None:
        leases = [held.lease.id for held in group]
        await self.door.told(leases)
        try:
            await target.shut(leases)
        except PortError as error:
            log.error("lease.shut_failed", extra={"error": str(error)})  # noqa: TRY400  taking back tries again
        for held in group:
            self._spawn(self._take_back(held, held.last_sentence, counts[held.lease.id]))

    async def _take_back(self, held: Held, sentence: str, sessions: int) -> None:
        await self._note_quietly("lease.ending", held.lease, sentence=sentence, sessions=sessions)
        await self._until_gone(held.target, held.lease, held)
        held.move(LeaseState.ENDED)
        self._held.pop(held.lease.id, None)

    async def _take_back_unheld(self, target: Target, lease: Lease) -> None:
        await self._until_gone(target, lease, None)

    async def _until_gone(self, target: Target, lease: Lease, held: Held | None) -> None:
        """Revoke until the target was seen without the account. There is no last try."""
        wait, told = 0.1, None
        while True:
            try:
                async with self._taking:
                    ending: Ending | None = await target.revoke(lease.id)
            except PortError as error:
                ending, blocked = None, str(error)
            else:
                blocked = ending.blocked_by if ending else ""
            if ending is not None and ending.is_gone:
                left = [_words(item) for item in ending.residue]
                await self._note_quietly("lease.ended", lease, residue=left)
                return
            if held is not None:
                held.ending = ending or held.ending
                held.move(LeaseState.STUCK)
            if blocked != told:
                log.error("lease.stuck", extra={"lease": lease.id, "resource": lease.resource, "blocked_by": blocked})
                left = [_words(item) for item in ending.residue] if ending else []
                await self._note_quietly("lease.stuck", lease, blocked_by=blocked, residue=left)
                told = blocked
            await self._clock.sleep(wait)
            wait = min(wait * 2, TAKE_BACK_MAX)

    def _start_checks(self, now: datetime) -> None:
        revisions = self._roster_revisions()
        if revisions != self._seen_rosters:
            self._seen_rosters, self._recheck_all = revisions, True
        if self._checking is not None and not self._checking.done():
            return
        active = [held for held in self._held.values() if held.state is LeaseState.ACTIVE]
        due = active if self._recheck_all else [held for held in active if now >= held.renew_at]
        self._recheck_all = False
        if due:
            self._checking = asyncio.create_task(self._check_all(due))
            self._checking.add_done_callback(self._checked)

    def _checked(self, task: "asyncio.Task[None]") -> None:
        # a roster that came while the last one was looked at; its answers may have been given before it
        if self._recheck_all and not task.cancelled():
            self._start_checks(self._clock.now())

    async def _check_all(self, due: Sequence[Held]) -> None:
        lost: list[tuple[Held, str]] = []
        self._unanswered = 0
        for start in range(0, len(due), 64):
            group = due[start : start + 64]
            results = await asyncio.gather(*(self._check(held) for held in group), return_exceptions=True)
            for held, result in zip(group, results, strict=True):
                match result:
                    case None:
                        pass
                    case str():
                        lost.append((held, result))
                    case BaseException():
                        # not an answer: the lease keeps the end that it has, and is asked for again
                        log.error("lease.check_failed", extra={"lease": held.lease.id, "error": repr(result)})
        if self._unanswered:
            log.warning("lease.unanswered", extra={"leases": self._unanswered})
        by_sentence: dict[str, list[Held]] = {}
        for held, sentence in lost:
            if held.state is LeaseState.ACTIVE:
                by_sentence.setdefault(sentence, []).append(held)
        for sentence, group_lost in by_sentence.items():
            self._end_all(group_lost, sentence)

    async def _check(self, held: Held) -> str | None:
        """Ask again for what the lease holds; returns why it must end, or None after it was given its new end.

        Where the policy gave no answer, the facts were looked at and hold: the lease keeps the end that the last answer
        gave it, is not renewed, and is asked for again.
        """
        held.checks += 1
        allows, denials = await self._ask(held.entry, held.lease.privileges, check=held.checks, lease=held.lease.id)
        if (answered := next((denial for denial in denials if denial.reason not in UNANSWERED), None)) is not None:
            return answered.sentence
        if denials:
            held.renew_at = self._clock.now() + ASKED_AGAIN
            self._unanswered += 1
            return None
        now = self._clock.now()
        ends_at = min(allow.until for allow in allows)
        left = held.lease.ends_at - now
        held.renew_at = held.lease.ends_at - (left / 2 if left > timedelta(seconds=10) else timedelta(0))
        if ends_at != held.lease.ends_at:
            renewed = replace(held.lease, ends_at=ends_at, grounds=tuple(allows))
            if ends_at < held.lease.ends_at:
                self._adopt(held, renewed)  # what is taken is taken now, whether the target can be told or not
            # on its own: a target that does not answer must not keep the answers of others waiting
            self._spawn(self._tell(held, renewed, held.checks))
        await self._look_ahead(held)
        self.door.renewed(held.lease, self._farewell(held))
        return None

    def _adopt(self, held: Held, renewed: Lease) -> None:
        now = self._clock.now()
        held.lease = renewed
        held.ends_tick = self._clock.monotonic() + (renewed.ends_at - now).total_seconds()
        held.renew_at = self._renew_at(renewed, now)
        held.notices = self._notices(renewed, now)
        self.door.renewed(renewed, self._farewell(held))

    async def _tell(self, held: Held, renewed: Lease, check: int) -> None:
        """Have the target carry the new end; a later one counts from then on, for it must never carry less than we say.

        A newer check makes this one void: its answer is the one to be told.
        """
        wait = 0.5
        async with held.telling:
            while _is_newest(held, check):
                try:
                    await held.target.extend(renewed)
                except PortError as error:
                    log.error("lease.not_told", extra={"lease": held.lease.id, "error": str(error)})  # noqa: TRY400  the text says it all
                    if renewed.ends_at > held.lease.ends_at:
                        return  # the lease keeps the end that it has, and is asked for again
                    await self._clock.sleep(wait)
                    wait = min(wait * 2, TAKE_BACK_MAX)
                    continue
                if renewed.ends_at > held.lease.ends_at and _is_newest(held, check):
                    self._adopt(held, renewed)
                await self._note_quietly("lease.renewed", renewed)
                return

    async def _look_ahead(self, held: Held) -> None:
        """Find the words for the end before it comes, so that saying them costs nothing then."""
        if self._deciding.foresee is None:
            return
        decision = await self._deciding.foresee(held.lease.grounds[0].request, held.lease.ends_at)
        held.last_sentence = decision.sentence if isinstance(decision, Deny) else ""

    def _farewell(self, held: Held) -> str:
        ended = farewell(held.lease)
        return f"{ended}: {held.last_sentence}" if held.last_sentence else ended

    def _warn(self, now: datetime) -> None:
        for held in self._held.values():
            if held.state is LeaseState.ACTIVE and held.notices and held.lease.ends_at - now <= held.notices[0]:
                held.notices.pop(0)
                left = max(timedelta(0), held.lease.ends_at - now)
                self.door.warn(
                    held.lease.id,
                    f"your access to {held.lease.resource} ends at {held.lease.ends_at:%H:%M:%S} UTC, "
                    f"in {_span(left)}; what runs then is cancelled and rolled back",
                )

    def _renew_at(self, lease: Lease, now: datetime) -> datetime:
        left = lease.ends_at - now
        if self._stands_on_planned_end(lease):
            # nothing but a roster change can move it, and that is looked at by itself; one look for the last words
            return lease.ends_at - min(timedelta(seconds=5), left / 2)
        return lease.ends_at - min(self._rules.renew_before, left / 4)

    def _stands_on_planned_end(self, lease: Lease) -> bool:
        return any(item.until == lease.ends_at for ground in lease.grounds for item in ground.evidence)

    def _notices(self, lease: Lease, now: datetime) -> list[timedelta]:
        """The notices still to come, earliest first; an end that a renewal will move is no news."""
        if not self._stands_on_planned_end(lease):
            return [notice for notice in sorted(self._rules.notices)[:1] if notice <= self._rules.renew_before]
        return sorted((notice for notice in self._rules.notices if notice < lease.ends_at - now), reverse=True)

    def _until_next(self) -> float:
        """Seconds until something is due, at most `look_every`."""
        now, tick = self._clock.now(), self._clock.monotonic()
        wait = self._rules.look_every
        for held in self._held.values():
            if held.state is LeaseState.ACTIVE:
                wait = min(wait, (held.lease.ends_at - now).total_seconds(), held.ends_tick - tick)
        return max(0.0, wait)

    def _no_place(self, entry: Entry) -> TurnedAway | None:
        if entry.resource not in self._protected:
            return TurnedAway(sentence="there is no such database here", reason=Reason.UNKNOWN_RESOURCE)
        if self.is_draining:
            return TurnedAway(sentence=GOING_DOWN, reason="going_down", is_fault=True)
        full = self._is_full(entry)
        return TurnedAway(sentence=full, reason="too_many_sessions", is_fault=True) if full else None

    def _is_full(self, entry: Entry) -> str:
        total = sum(held.sessions for held in self._held.values())
        mine = [held.sessions for held in self._held.values() if held.lease.subject == entry.subject.id]
        if sum(mine) >= self._rules.sessions_per_person_max:
            return f"you have {sum(mine)} sessions open, which is the limit; close one first"
        if total >= self._rules.sessions_max - (0 if mine else self._rules.reserve):
            return "this gateway is full; try again in a moment"
        protected = self._protected[entry.resource]
        here = [held for held in self._held.values() if held.lease.resource == entry.resource and held.sessions]
        is_in = any(held.lease.subject == entry.subject.id for held in here)
        places = protected.sessions_max
        if places is not None and sum(held.sessions for held in here) >= places - (0 if is_in else protected.reserve):
            return f"{entry.resource} has as many sessions as it may have; try again in a moment"
        return ""

    def _roster_revisions(self) -> object:
        if self._rosters is None:
            return None
        return {source: held.revision for source, held in self._rosters.held().items()}

    def _spawn(self, work: Awaitable[None]) -> None:
        async def outlive() -> None:
            try:
                await work
            except Exception:
                log.exception("guard.task_failed")

        task = asyncio.create_task(outlive())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _note(self, what: str, lease: Lease, **fields: object) -> None:
        await self._audit.append(
            Noted(
                at=self._clock.now(),
                what=what,
                caller=self._deciding.caller.id,
                fields={
                    "lease": lease.id,
                    "subject": lease.subject,
                    "resource": lease.resource,
                    "privileges": list(lease.privileges),
                    "until": lease.ends_at.isoformat(),
                    **fields,
                },
            )
        )

    async def _note_quietly(self, what: str, lease: Lease, **fields: object) -> None:
        """For what takes away: a full disk must never keep access alive."""
        try:
            await self._note(what, lease, **fields)
        except PortError as error:
            log.error("audit.unavailable", extra={"what": what, "error": str(error)})  # noqa: TRY400  the text says it all


class NoDoor:
    """Before the gateway listens there is nobody to tell."""

    def end(self, lease: LeaseId, sentence: str) -> int:
        """Nobody is in."""
        del lease, sentence
        return 0

    async def told(self, leases: Sequence[LeaseId]) -> None:
        """Nobody is in."""

    def warn(self, lease: LeaseId, sentence: str) -> None:
        """Nobody is in."""

    def renewed(self, lease: Lease, words: str) -> None:
        """Nobody is in."""


def farewell(lease: Lease) -> str:
    """What a session is told at the lease's end, without the reason."""
    return f"your access to {lease.resource} ended at {lease.ends_at:%H:%M:%S} UTC"


def _is_newest(held: Held, check: int) -> bool:
    return held.state is LeaseState.ACTIVE and held.checks == check


def _shared(account: Account) -> Mapping[str, object]:
    """The evidence must not name an account as if it were one person's."""
    return {"shared_account": True} if account.is_shared else {}


def _words(item: Residue) -> str:
    whose = "" if item.is_owned else " (not its own)"
    return f"{item.kind} in {item.database}: {item.name}{whose}"


def _span(left: timedelta) -> str:
    seconds = round(left.total_seconds())
    if seconds >= 120:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds} seconds" if seconds != 1 else "1 second"
