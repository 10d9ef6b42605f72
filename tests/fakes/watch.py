"""Who is on watch, as a test says: answers like `RequestAccess`, for the gateway's guard."""

from datetime import UTC, datetime, timedelta

from watchkey.model.access import AccessRequest, Allow, Caller, Decision, Deny, Evidence, FactKind, Reason, Statement
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.oncall import EndKind, Scope, ScopeKind
from watchkey.ports import Clock

SCOPE = Scope(SourceName("pager"), ScopeKind.SERVICE, "orders")
FAR = datetime(9999, 1, 1, tzinfo=UTC)


class ScriptedWatch:
    """Allows who is in `ends`, by subject and privilege, until then or for `ttl`, whichever is sooner."""

    def __init__(self, clock: Clock, ttl: timedelta = timedelta(hours=1)) -> None:
        self._clock = clock
        self.ttl = ttl
        self.ends: dict[tuple[str, str], datetime] = {}
        self.asked: list[AccessRequest] = []
        self.sentence = "you are not on call for orders; bob is primary now"
        self.fails = False
        self.unanswered: dict[str, Reason] = {}
        """By privilege: the policy gives no answer for it, where the facts would allow it."""

        self.refused: set[str] = set()
        """Verbs, tables and functions that no statement may name."""
        self.judged: list[Statement] = []

    def allow(self, subject: str, *privileges: str, until: datetime = FAR) -> None:
        for privilege in privileges:
            self.ends[subject, privilege] = until

    def take(self, subject: str) -> None:
        self.ends = {key: end for key, end in self.ends.items() if key[0] != subject}

    async def decide(self, request: AccessRequest, _caller: Caller) -> Decision:
        self.asked.append(request)
        if self.fails:
            raise RuntimeError("planted")
        return self._at(request, self._clock.now())

    async def judge(self, request: AccessRequest) -> Decision:
        statement = request.statement
        assert statement is not None
        self.judged.append(statement)
        if self.refused & {*statement.verbs, *statement.tables, *statement.functions, "*"}:
            now = self._clock.now()
            return Deny(request=request, decided_at=now, reason=Reason.POLICY_DENIED, sentence="the policy says no")
        return self._at(request, self._clock.now())

    async def foresee(self, request: AccessRequest, at: datetime) -> Decision:
        return self._at(request, at)

    def _at(self, request: AccessRequest, now: datetime) -> Decision:
        end = self.ends.get((request.subject.id, request.privilege))
        if end is None or end <= now:
            return Deny(request=request, decided_at=now, reason=Reason.NOT_ON_CALL, sentence=self.sentence)
        if request.privilege in self.unanswered:
            reason = self.unanswered[request.privilege]
            return Deny(request=request, decided_at=now, reason=reason, sentence="the policy could not be asked")
        fact = Evidence(
            kind=FactKind.ON_CALL, person=PersonId("P1"), scope=SCOPE, until=end, end_kind=EndKind.EXACT, level=1
        )
        return Allow(
            request=request,
            decided_at=now,
            until=min(end, now + self.ttl),
            reason=Reason.ON_CALL,
            sentence=f"{request.subject.id} is primary on call for orders",
            evidence=(fact,),
        )
