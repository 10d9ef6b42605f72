"""Asking from the command line: `check`, `who`, `when`, `explain`.

Without `--server` the question is answered here: the sources are read once, the same decision is made as in the
service, and nothing is recorded, so nobody gets in by it. With `--server` the running service is asked, and records.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
import msgspec

from watchkey.entrypoints.cli.output import (
    EXIT_DENY,
    EXIT_OK,
    EXIT_UNKNOWN,
    Globals,
    bad,
    emit,
    examples,
    faint,
    good,
    json_option,
    pass_globals,
    printable,
    table,
)
from watchkey.entrypoints.cli.timeline import Bar, timeline
from watchkey.entrypoints.cli.times import say_distance, say_instant
from watchkey.flows.request_access import Explanation
from watchkey.http_client import HttpClient
from watchkey.model.access import AccessRequest, Allow, Decision, Deny, FactKind, Reason, Resource, Subject
from watchkey.model.errors import Malformed, Refused
from watchkey.model.ids import CallerId, PersonId, PrivilegeName, ResourceId, SubjectId
from watchkey.model.oncall import EndKind, Scope, Shift
from watchkey.model.secret import Secret
from watchkey.rules.roster import RosterIndex
from watchkey.settings import load_settings
from watchkey.wiring import Desk, SystemClock, open_desk

CANNOT_TELL: Final = frozenset(
    {
        Reason.NO_ROSTER,
        Reason.ROSTER_STALE,
        Reason.CLOCK_DOUBTFUL,
        Reason.SCOPE_UNKNOWN,
        Reason.POLICY_FAILED,
        Reason.POLICY_OVER_BUDGET,
        Reason.POLICY_UNREACHABLE,
        Reason.POLICY_MALFORMED,
        Reason.AUDIT_UNAVAILABLE,
        Reason.INTERNAL_ERROR,
    }
)
"""Denials that say "nobody knows" rather than "no"; the exit code tells them apart."""

_HOURS: Final = click.option(
    "--hours", type=click.IntRange(1, 24 * 14), default=24, show_default=True, help="How far to look."
)


def exit_code(reason: str, *, is_allowed: bool) -> int:
    """0 allow, 1 deny, 3 cannot tell."""
    if is_allowed:
        return EXIT_OK
    return EXIT_UNKNOWN if reason in CANNOT_TELL else EXIT_DENY


@examples(
    ("watchkey check alice write orders-db", "as of now, from the configured sources; nothing is recorded"),
    ("watchkey check alice write orders-db --at 2026-12-24T18:00Z", "as it would be then, by the rota known now"),
    ("WATCHKEY_TOKEN=… watchkey check alice write orders-db --server https://watchkey:8181", "ask the service"),
)
@click.command()
@click.argument("subject")
@click.argument("privilege")
@click.argument("resource")
@click.option("--at", "instant", metavar="INSTANT", help="Another instant than now, RFC 3339; only without --server.")
@click.option("--server", metavar="URL", help="Ask this service, with the caller's token from WATCHKEY_TOKEN.")
@json_option
@pass_globals
@click.pass_context
def check(  # noqa: PLR0913 -- one argument an option
    ctx: click.Context,
    globals_: Globals,
    subject: str,
    privilege: str,
    resource: str,
    instant: str | None,
    server: str | None,
    *,
    as_json: bool,
) -> None:
    """May SUBJECT do PRIVILEGE on RESOURCE, now? Exit code 0 yes, 1 no, 2 misuse, 3 cannot tell."""
    if server is not None:
        if instant is not None:
            raise click.UsageError(
                "--at asks about another instant, which a service does not answer; leave --server out"
            )
        answer = asyncio.run(_ask_service(server, subject, privilege, resource))
        emit(answer, as_json=as_json, text=lambda: _answer_words(answer))
        ctx.exit(exit_code(str(answer.get("reason", "")), is_allowed=answer.get("allow") is True))
    explanation = asyncio.run(_explained(globals_, subject, privilege, resource, instant))
    decision = explanation.decision
    emit(decision_json(decision), as_json=as_json, text=lambda: f"{_verdict(decision)}\n{faint(_NOT_RECORDED)}")
    ctx.exit(exit_code(decision.reason, is_allowed=isinstance(decision, Allow)))


_NOT_RECORDED: Final = "(asked here, not at the service: nothing is recorded and nobody gets in by it)"


@examples(("watchkey explain alice write orders-db", "which facts, what speaks against them, what the policy said"))
@click.command()
@click.argument("subject")
@click.argument("privilege")
@click.argument("resource")
@click.option("--at", "instant", metavar="INSTANT", help="Another instant than now, RFC 3339.")
@json_option
@pass_globals
@click.pass_context
def explain(
    ctx: click.Context,
    globals_: Globals,
    subject: str,
    privilege: str,
    resource: str,
    instant: str | None,
    *,
    as_json: bool,
) -> None:
    """Why a decision is as it is: every fact, every objection, the policy's word. Exit codes as `check`."""
    told = asyncio.run(_explained(globals_, subject, privilege, resource, instant))
    emit(_explanation_json(told), as_json=as_json, text=lambda: _explanation_words(told))
    ctx.exit(exit_code(told.decision.reason, is_allowed=isinstance(told.decision, Allow)))


@examples(
    ("watchkey who orders-db", "who opens it now, and over the next day"),
    ("watchkey who orders-db --hours 72 --json", "as JSON"),
)
@click.command()
@click.argument("resource")
@_HOURS
@json_option
@pass_globals
@click.pass_context
def who(ctx: click.Context, globals_: Globals, resource: str, hours: int, *, as_json: bool) -> None:
    """Who holds the pager of RESOURCE, now and next. Exit code 1 when nobody does now."""
    found = asyncio.run(_who(globals_, resource, hours))
    emit(found.json(), as_json=as_json, text=found.words)
    ctx.exit(EXIT_OK if found.now_names() else EXIT_DENY)


@examples(("watchkey when alice", "the coming shifts, and what each opens"))
@click.command()
@click.argument("subject")
@_HOURS
@json_option
@pass_globals
@click.pass_context
def when(ctx: click.Context, globals_: Globals, subject: str, hours: int, *, as_json: bool) -> None:
    """When SUBJECT is on call, and for what. Exit code 1 when no shift is known in that time."""
    found = asyncio.run(_when(globals_, subject, hours))
    emit(found.json(), as_json=as_json, text=found.words)
    ctx.exit(EXIT_OK if found.turns else EXIT_DENY)


# --- asking ------------------------------------------------------------------------------------------------------


async def _desk(globals_: Globals) -> Desk:
    """The configured sources, read once; a source that cannot be read stays out and shows in the answer."""
    return await open_desk(load_settings(globals_.config))


async def _explained(
    globals_: Globals, subject: str, privilege: str, resource: str, instant: str | None
) -> Explanation:
    at = None if instant is None else read_instant(instant)
    desk = await _desk(globals_)
    _warn(desk)
    if at is not None:
        _check_within(at, desk)
    request = AccessRequest(
        subject=Subject(id=SubjectId(subject)),
        privilege=PrivilegeName(privilege),
        resource=ResourceId(resource),
        caller=CallerId("command-line"),
    )
    if (known := desk.settings.resources.get(request.resource)) is not None:
        for remark in desk.remarks(known):
            click.echo(f"watchkey: {printable(remark)}", err=True)
    return await desk.request_access.explain(request, at=at)


def _check_within(at: datetime, desk: Desk) -> None:
    """Only what was read can be told: nothing of the past, nothing beyond the look-ahead."""
    now = desk.clock.now()
    window = desk.settings.sync.window
    if not now <= at < now + window:
        days = f"{window / timedelta(days=1):g} days (`sync.window`)"
        raise click.BadParameter(
            f"{at.isoformat()} is not within the coming {days} that are read; `watchkey audit tail` tells the past",
            param_hint="--at",
        )


def _warn(desk: Desk) -> None:
    for name, why in desk.failures.items():
        click.echo(f"watchkey: source {name} could not be read: {why}", err=True)


def read_instant(text: str) -> datetime:
    """The instant that `--at` names, in UTC. Raises `BadParameter`."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no instant like 2026-12-24T18:00Z", param_hint="--at") from None
    if instant.tzinfo is None:
        raise click.BadParameter(f"{text!r} has no time zone; add Z for UTC, or +01:00", param_hint="--at")
    return instant.astimezone(UTC)


async def _ask_service(server: str, subject: str, privilege: str, resource: str) -> Mapping[str, Any]:
    token = os.environ.get("WATCHKEY_TOKEN", "")
    if not token:
        raise click.UsageError("WATCHKEY_TOKEN is empty: put the caller's token (wk_…) there to ask a service")
    client = HttpClient(server, clock=SystemClock(), headers={"authorization": Secret(f"Bearer {token}")})
    body = msgspec.json.encode({"subject": {"id": subject}, "privilege": privilege, "resource": resource})
    try:
        sent = await client.operation().send("POST", "/v1/decide", body=body, may_retry=True)
        answer = sent.json()
    finally:
        await client.close()
    if not isinstance(answer, dict) or not isinstance(answer.get("allow"), bool):
        raise Malformed(f"POST {server}/v1/decide did not answer a decision; is that a Watchkey service?")
    return answer


# --- who and when --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A shift with the names that a person reads."""

    name: str
    resource: str
    shift: Shift


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """Who is on call over a window, for drawing and for JSON."""

    title: str
    turns: Sequence[Turn]
    label: str
    """Which field names a row: `name` for a resource's people, `resource` for a person's resources."""
    now: datetime
    end: datetime
    desk: Desk

    def now_names(self) -> list[str]:
        """The rows that cover now."""
        return [getattr(turn, self.label) for turn in self.turns if turn.shift.covers(self.now)]

    def words(self) -> str:
        """A sentence, the drawing, and a table of the turns."""
        if not self.turns:
            return f"{self.title}: no shift until {say_instant(self.end, now=self.now, zone=self.desk.zone)}."
        bars = [
            Bar(
                label=_row_label(getattr(turn, self.label), turn.shift.level),
                starts_at=turn.shift.starts_at,
                ends_at=turn.shift.ends_at,
                is_end_known=turn.shift.end_kind in (EndKind.EXACT, EndKind.PERMANENT),
            )
            for turn in self.turns
        ]
        drawn = timeline(bars, start=self.now, end=self.end, now=self.now, zone=self.desk.zone)
        return f"{self.title}: {self._sentence()}\n\n{drawn}\n\n{self._table()}"

    def _sentence(self) -> str:
        names = dict.fromkeys(self.now_names())
        return f"now {', '.join(printable(name) for name in names)}." if names else "not now."

    def _table(self) -> str:
        rows = [
            (
                getattr(turn, self.label),
                "?" if turn.shift.level is None else turn.shift.level,
                say_instant(turn.shift.starts_at, now=self.now, zone=self.desk.zone)
                if turn.shift.starts_at
                else "ever",
                say_instant(turn.shift.ends_at, now=self.now, zone=self.desk.zone),
                "now" if turn.shift.covers(self.now) else say_distance(turn.shift.starts_at, now=self.now),
                turn.shift.provenance,
            )
            for turn in self.turns
        ]
        return table((self.label, "level", "from", "until", "", "by"), rows)

    def json(self) -> Mapping[str, Any]:
        """The same for programs."""
        return {
            "now": self.now,
            "until": self.end,
            "on_call_now": list(dict.fromkeys(self.now_names())),
            "turns": [{"name": turn.name, "resource": turn.resource, **shift_json(turn.shift)} for turn in self.turns],
        }


def _row_label(name: str, level: int | None) -> str:
    return name if level is None else f"{name} L{level}"


def shift_json(shift: Shift) -> Mapping[str, Any]:
    """A shift for programs."""
    return {
        "person": shift.person,
        "level": shift.level,
        "schedule": shift.schedule,
        "policy": shift.policy,
        "starts_at": shift.starts_at,
        "ends_at": shift.ends_at,
        "end_kind": shift.end_kind,
        "provenance": shift.provenance,
    }


async def _who(globals_: Globals, resource_id: str, hours: int) -> Turns:
    desk = await _desk(globals_)
    _warn(desk)
    resource = desk.resource(resource_id)
    now = desk.clock.now()
    end = now + timedelta(hours=hours)
    turns = [
        Turn(name=_name(index, shift.person), resource=resource.id, shift=shift)
        for scope, index in _read_scopes(desk, resource)
        for shift in index.shifts(scope, now, end)
    ]
    turns.sort(key=lambda turn: (turn.shift.level or 99, turn.shift.starts_at or now))
    return Turns(title=resource.id, turns=turns, label="name", now=now, end=end, desk=desk)


async def _when(globals_: Globals, subject: str, hours: int) -> Turns:
    desk = await _desk(globals_)
    _warn(desk)
    now = desk.clock.now()
    end = now + timedelta(hours=hours)
    turns = [
        Turn(name=subject, resource=resource.id, shift=shift)
        for resource in desk.resources()
        for scope, index in _read_scopes(desk, resource)
        for shift in index.shifts(scope, now, end)
        if shift.person == desk.person_of(SubjectId(subject), scope.source)
    ]
    turns.sort(key=lambda turn: turn.shift.starts_at or now)
    return Turns(title=subject, turns=turns, label="resource", now=now, end=end, desk=desk)


def _read_scopes(desk: Desk, resource: Resource) -> list[tuple[Scope, RosterIndex]]:
    held = desk.rosters.held()
    missing = [scope.source for scope in resource.scopes if scope.source not in held]
    if missing and len(missing) == len(resource.scopes):
        raise Refused(f"nobody can tell who opens {resource.id}: {', '.join(missing)} could not be read")
    return [(scope, held[scope.source].index) for scope in resource.scopes if scope.source in held]


def _name(index: RosterIndex, person: PersonId) -> str:
    known = index.person(person)
    return person if known is None else known.name


# --- words -------------------------------------------------------------------------------------------------------


def decision_json(decision: Decision) -> Mapping[str, Any]:
    """A decision for programs; the same names as `POST /v1/decide` answers."""
    common: dict[str, Any] = {
        "allow": isinstance(decision, Allow),
        "reason": decision.reason,
        "sentence": decision.sentence,
        "subject": decision.request.subject.id,
        "privilege": decision.request.privilege,
        "resource": decision.request.resource,
        "decided_at": decision.decided_at,
        "policy_hash": decision.policy_hash,
    }
    if isinstance(decision, Allow):
        return common | {"until": decision.until, "evidence": decision.evidence}
    return common | {"instead": decision.instead, "next_shift_at": decision.next_shift_at}


def _verdict(decision: Allow | Deny) -> str:
    word = good("allow") if isinstance(decision, Allow) else bad("deny")
    return f"{word}  {printable(decision.sentence)}  [{decision.reason}]"


def _answer_words(answer: Mapping[str, Any]) -> str:
    word = good("allow") if answer["allow"] else bad("deny")
    sentence = printable(str(answer.get("sentence") or ""))
    reason = answer.get("reason")
    return "  ".join(part for part in (word, sentence, f"[{reason}]" if reason else "") if part)


def _explanation_json(told: Explanation) -> Mapping[str, Any]:
    return {
        "decision": decision_json(told.decision),
        "facts": [{"evidence": fact.evidence, "objection": fact.objection} for fact in told.findings.facts],
        "doubts": told.findings.doubts,
        "policy": {
            "outcome": told.verdict.outcome,
            "reasons": told.verdict.reasons,
            "detail": told.verdict.detail,
            "hash": told.verdict.policy_hash,
        },
        "input": told.document,
    }


def _explanation_words(told: Explanation) -> str:
    lines = [_verdict(told.decision), "", "Facts:"]
    for fact in told.findings.facts:
        evidence = fact.evidence
        what = (
            f"responding to {evidence.incident} as {evidence.involvement}"
            if evidence.kind is FactKind.RESPONDING
            else f"on call, level {evidence.level or '?'}, by {evidence.provenance}"
        )
        mark = good("counts") if fact.objection is None else bad(f"does not count: {fact.objection}")
        lines.append(f"  {printable(what)} through {evidence.scope}: {mark}")
    lines += [f"  {bad('cannot tell')}: {doubt}" for doubt in told.findings.doubts]
    if len(lines) == 3:
        lines.append("  none")
    verdict = told.verdict
    because = f" ({', '.join(verdict.reasons)})" if verdict.reasons else ""
    is_hash = len(verdict.policy_hash) == 64 and verdict.policy_hash.isalnum()
    known_by = verdict.policy_hash[:12] if is_hash else printable(verdict.policy_hash)
    lines += ["", f"Policy: {verdict.outcome}{printable(because)} {faint(known_by)}".rstrip()]
    if verdict.detail:
        lines.append(f"  {printable(verdict.detail)}")
    return "\n".join(lines)
