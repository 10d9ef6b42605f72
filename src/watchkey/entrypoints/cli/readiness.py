"""`watchkey readiness`: what will go wrong on the coming shifts, while there is time to tell somebody."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any, Final

import click

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
    must_know,
    pass_globals,
    printable,
    table,
)
from watchkey.entrypoints.cli.times import say_instant
from watchkey.flows.check_readiness import CheckReadiness
from watchkey.model.access import Reason
from watchkey.model.ids import PrivilegeName
from watchkey.model.oncall import Person
from watchkey.rules.readiness import CheckedTurn, Gap, Readiness, Turn
from watchkey.settings import load_groups, load_settings
from watchkey.wiring import Desk, open_desk

OPERATOR: Final = "an operator of Watchkey"
ROTA_EDITOR: Final = "whoever edits the rota"

_TO_DO: Final = {
    Reason.NOT_LINKED: (OPERATOR, "`watchkey link propose` and add the link"),
    Reason.IDENTITY_AMBIGUOUS: (OPERATOR, "`watchkey link check` and leave one link"),
    Reason.PERSON_UNKNOWN: (ROTA_EDITOR, "somebody who does not exist has a turn"),
    Reason.PERSON_INACTIVE: (ROTA_EDITOR, "somebody deactivated has a turn"),
    Reason.NOT_ELIGIBLE: (
        OPERATOR,
        "add the subject to an eligible group, or give the turn away; of the identity provider's groups see --groups",
    ),
    Reason.LEVEL_UNKNOWN: (OPERATOR, "the source cannot tell levels: name its schedule instead"),
    Reason.PROVENANCE_TOO_WEAK: (ROTA_EDITOR, "somebody else vouches for the shift: `watchkey confirm`"),
    Reason.SOURCES_DISAGREE: (ROTA_EDITOR, "the second source does not have this turn: one of the two is wrong"),
    Reason.SECOND_SOURCE_SILENT: (OPERATOR, "the second source was not read, or nobody there is linked to the holder"),
    Reason.ONLY_PERMANENT: (ROTA_EDITOR, "give the turn to a schedule, or let `opens.permanent` open something"),
}
"""Whom to tell besides the holder, and what helps; for all other reasons the decision's own sentence says it."""


@examples(
    ("watchkey readiness", "the coming two weeks, all resources"),
    ("watchkey readiness --days 30 --resource orders-db --all", "one resource, every turn"),
    ("watchkey readiness --privilege write --json", "for a job that runs each night"),
    ("watchkey readiness --html > readiness.html", "for the wall"),
)
@click.command()
@click.option("--days", type=click.IntRange(1, 90), default=14, show_default=True, help="How far to look.")
@click.option("--resource", "resources", multiple=True, metavar="RESOURCE", help="Only this one; may be repeated.")
@click.option("--privilege", "privileges", multiple=True, metavar="PRIVILEGE", help="Only this one; may be repeated.")
@click.option(
    "--groups",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Groups of the identity provider, besides those of the configuration: YAML or JSON, name -> subjects.",
)
@click.option("--all", "show_all", is_flag=True, help="Also the turns that will go well.")
@click.option("--html", "as_html", is_flag=True, help="Print an HTML page instead of text.")
@json_option
@pass_globals
@click.pass_context
def readiness(  # noqa: PLR0913 -- one argument an option
    ctx: click.Context,
    globals_: Globals,
    days: int,
    resources: tuple[str, ...],
    privileges: tuple[str, ...],
    *,
    groups: Path | None,
    show_all: bool,
    as_html: bool,
    as_json: bool,
) -> None:
    """Find what will go wrong on a coming shift: nobody on call, or somebody who would not get in.

    Each turn is decided as the service would at its start, by the rota known now. Exit code 0 all is well, 1 a hole,
    2 misuse, 3 a source could not be read and no hole was found elsewhere.
    """
    if as_html and as_json:
        raise click.UsageError("--html and --json are two answers; give one")
    report = asyncio.run(_report(globals_, timedelta(days=days), resources, privileges, groups))
    if as_html:
        click.echo(report.html())
    else:
        emit(report.json(), as_json=as_json, text=lambda: report.words(show_all=show_all))
    ctx.exit(report.exit_code)


async def _report(
    globals_: Globals, span: timedelta, resources: Sequence[str], privileges: Sequence[str], groups: Path | None
) -> "Report":
    claims = {} if groups is None else load_groups(groups)
    settings = load_settings(globals_.config)
    must_know(resources, settings.resources, "resource")
    desk = await open_desk(settings, window=span)
    for name, why in desk.failures.items():
        click.echo(f"watchkey: source {name} could not be read: {why}", err=True)
    desk.learn_groups(claims)
    wanted = [desk.resource(name) for name in resources] or desk.resources()
    for remark in dict.fromkeys(remark for one in wanted for remark in desk.remarks(one)):
        click.echo(f"watchkey: {printable(remark)}", err=True)
    known = {privilege for one in wanted for privilege in one.privileges}
    for privilege in privileges:
        if privilege not in known:
            raise click.BadParameter(f"no resource has {privilege!r}; there is {', '.join(sorted(known))}")
    flow = CheckReadiness(
        explains=desk.request_access,
        rosters={name: held.index for name, held in desk.rosters.held().items()},
        links=desk.request_access.directory.links,
    )
    now = desk.clock.now()
    names = [PrivilegeName(one) for one in privileges]
    found = [await flow.check(resource, now, now + span, names) for resource in wanted]
    return Report(desk=desk, now=now, end=now + span, resources=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing to say, with whom to say it to."""

    resource: str
    starts_at: datetime
    ends_at: datetime | None
    who: str
    what: str
    tell: str
    is_well: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found over all resources."""

    desk: Desk
    now: datetime
    end: datetime
    resources: Sequence[Readiness]

    @property
    def exit_code(self) -> int:
        """A hole outweighs a source that could not be read."""
        if any(one.has_hole for one in self.resources):
            return EXIT_DENY
        return EXIT_UNKNOWN if self.desk.failures else EXIT_OK

    def words(self, *, show_all: bool) -> str:
        """A line for each resource, and a table of what is wrong (or of everything)."""
        lines = [f"From {self._say(self.now)} to {self._say(self.end)}:", ""]
        lines += [f"  {self._verdict(one)}" for one in self.resources]
        if self.desk.baseline:
            lines.append(f"  {faint('note: ' + printable(self.desk.baseline))}")
        rows = [
            (line.resource, self._say(line.starts_at), self._say(line.ends_at), line.who, line.what, line.tell)
            for line in self._lines()
            if show_all or not line.is_well
        ]
        if rows:
            lines += ["", table(("RESOURCE", "FROM", "UNTIL", "WHO", "WHAT", "TELL"), rows)]
        return "\n".join(lines)

    def _verdict(self, one: Readiness) -> str:
        name = printable(one.resource.id)
        if one.remark:
            return f"{faint('–')} {name}: {one.remark}"
        parts = [_count(len(one.turns), "turn")]
        if one.failing:
            parts.append(f"{len(one.failing)} would be turned away")
        if one.gaps:
            parts.append(_count(len(one.gaps), "gap"))
        if one.unknown:
            parts.append(f"{_count(len(one.unknown), 'pager')} that the source does not know")
        if one.unread:
            parts.append(f"{', '.join(one.unread)} could not be read")
        mark = bad("✗") if one.has_hole else faint("?") if one.unread else good("✓")
        return f"{mark} {name}: {', '.join(parts)}"

    def _lines(self) -> list[Line]:
        found = [line for one in self.resources for line in _lines_of(one)]
        return sorted(found, key=lambda line: (line.is_well, line.starts_at, line.resource))

    def _say(self, instant: datetime | None) -> str:
        return say_instant(instant, now=self.now, zone=self.desk.zone)

    def json(self) -> Mapping[str, Any]:
        """Everything, for programs."""
        return {
            "from": self.now,
            "until": self.end,
            "has_hole": self.exit_code == EXIT_DENY,
            "sources_unread": dict(self.desk.failures),
            "baseline": self.desk.baseline,
            "resources": [_readiness_json(one) for one in self.resources],
        }

    def html(self) -> str:
        """One page without scripts and without anything from elsewhere; every text is escaped."""
        rows = "\n".join(
            f'<tr class="{"well" if line.is_well else "hole"}">'
            + "".join(f"<td>{escape(printable(cell))}</td>" for cell in self._cells(line))
            + "</tr>"
            for line in self._lines()
        )
        verdicts = "\n".join(
            f'<li class="{"hole" if one.has_hole else "well"}">{escape(click.unstyle(self._verdict(one)))}</li>'
            for one in self.resources
        )
        title = f"Readiness from {self._say(self.now)} to {self._say(self.end)}"
        return _PAGE.format(
            title=escape(title), verdicts=verdicts, rows=rows, note=escape(printable(self.desk.baseline))
        )

    def _cells(self, line: Line) -> tuple[str, ...]:
        return line.resource, self._say(line.starts_at), self._say(line.ends_at), line.who, line.what, line.tell


def _lines_of(one: Readiness) -> Iterator[Line]:
    resource = str(one.resource.id)
    for checked in one.turns:
        yield _turn_line(resource, checked)
    for gap in one.gaps:
        yield Line(
            resource=resource, starts_at=gap.starts_at, ends_at=gap.ends_at, who="nobody",
            what=_words_of_gap(gap), tell=_tell_of_gap(gap),
        )  # fmt: skip
    for scope in one.unknown:
        yield Line(
            resource=resource, starts_at=one.starts_at, ends_at=one.ends_at, who="nobody",
            what=f"the source does not know {scope}", tell=OPERATOR,
        )  # fmt: skip


def _turn_line(resource: str, checked: CheckedTurn) -> Line:
    turn = checked.turn
    level = "" if turn.shift.level is None else f", level {turn.shift.level}"
    once = " once an incident has escalated to it" if checked.is_standby else ""
    if checked.problem is None:
        return Line(
            resource=resource, starts_at=turn.starts_at, ends_at=turn.shift.ends_at, who=f"{_name(turn)}{level}",
            what=f"{_words_of_turn(checked)}{once}", tell="", is_well=True,
        )  # fmt: skip
    whom, help_ = _TO_DO.get(checked.problem, (OPERATOR, checked.sentence))
    return Line(
        resource=resource, starts_at=turn.starts_at, ends_at=turn.shift.ends_at, who=f"{_name(turn)}{level}",
        what=f"{checked.problem}: {help_}", tell=f"{_address(turn)}; {whom}",
    )  # fmt: skip


def _words_of_turn(checked: CheckedTurn) -> str:
    words = f"gets {', '.join(checked.opens)}"
    if checked.denied:
        words += f" (not {', '.join(f'{one}: {why}' for one, why in checked.denied.items())})"
    return words


def _words_of_gap(gap: Gap) -> str:
    words = f"nobody would get {', '.join(gap.privileges)}"
    why = dict.fromkeys(
        f"{_name(one.turn)}: {one.denied[privilege]}"
        for one in gap.during
        for privilege in gap.privileges
        if privilege in one.denied
    )
    return f"{words} ({'; '.join(why)})" if why else words


def _tell_of_gap(gap: Gap) -> str:
    concerned = [*(one.turn for one in gap.during), *gap.before, *gap.after]
    return "; ".join([*dict.fromkeys(_address(turn) for turn in concerned), ROTA_EDITOR])


def _name(turn: Turn) -> str:
    return turn.shift.person if turn.person is None else turn.person.name


def _address(turn: Turn) -> str:
    return _address_of(turn.person) if turn.person is not None else str(turn.shift.person)


def _address_of(person: Person) -> str:
    return f"{person.name} <{person.emails[0]}>" if person.emails else person.name


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _readiness_json(one: Readiness) -> Mapping[str, Any]:
    return {
        "resource": one.resource.id,
        "has_hole": one.has_hole,
        "remark": one.remark,
        "until": one.ends_at,
        "sources_unread": one.unread,
        "unknown_scopes": [str(scope) for scope in one.unknown],
        "turns": [_turn_json(str(one.resource.id), checked) for checked in one.turns],
        "gaps": [
            {
                "starts_at": gap.starts_at,
                "ends_at": gap.ends_at,
                "privileges": gap.privileges,
                "why": [
                    {"person": one.turn.shift.person, "name": _name(one.turn), "denied": one.denied}
                    for one in gap.during
                ],
                "tell": _tell_of_gap(gap),
            }
            for gap in one.gaps
        ],
    }


def _turn_json(resource: str, checked: CheckedTurn) -> Mapping[str, Any]:
    turn = checked.turn
    return {
        "scope": str(turn.scope),
        "person": turn.shift.person,
        "name": _name(turn),
        "subject": turn.subject,
        "level": turn.shift.level,
        "provenance": turn.shift.provenance,
        "starts_at": turn.starts_at,
        "ends_at": turn.shift.ends_at,
        "end_kind": turn.shift.end_kind,
        "opens": checked.opens,
        "denied": checked.denied,
        "problem": checked.problem,
        "standby": checked.is_standby,
        "sentence": checked.sentence,
        "tell": _turn_line(resource, checked).tell,
    }


_PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem; color: #1a1a1a; background: #fff }}
table {{ border-collapse: collapse; margin-top: 1.5rem }}
th, td {{ text-align: left; padding: .35rem .8rem; border-bottom: 1px solid #ddd; vertical-align: top }}
.hole td:nth-child(5), li.hole {{ color: #a40000 }}
.well td:nth-child(5) {{ color: #17632b }}
</style>
<h1>{title}</h1>
<ul>
{verdicts}
</ul>
<p>{note}</p>
<table>
<thead><tr><th>Resource</th><th>From</th><th>Until</th><th>Who</th><th>What</th><th>Tell</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</html>"""
