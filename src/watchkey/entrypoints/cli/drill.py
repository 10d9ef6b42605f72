"""`watchkey drill outage`: the provider fails now; who would be let in, hour by hour, and when would nobody be."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

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
from watchkey.entrypoints.cli.times import say_distance, say_instant
from watchkey.flows.drill_outage import DrillOutage, Moment, Outage
from watchkey.model.access import Resource
from watchkey.model.ids import ResourceId, SourceName
from watchkey.rules.readiness import nothing_to_check
from watchkey.settings import Settings, load_settings
from watchkey.wiring import Stage, open_stage


@examples(("watchkey drill outage --hours 72", "what if the provider fails now, for three days"))
@click.group()
def drill() -> None:
    """Play through what must not surprise anybody."""


@examples(
    ("watchkey drill outage", "three days without any source"),
    ("watchkey drill outage --source pagerduty", "only this one is down, the others answer"),
    ("watchkey drill outage --hours 24 --resource orders-db --json", "in a build: exit code 1 when nobody is left"),
)
@drill.command()
@click.option("--hours", type=click.IntRange(1, 24 * 31), default=72, show_default=True, help="How long it lasts.")
@click.option("--source", "sources", multiple=True, metavar="SOURCE", help="Only this one is down; may be repeated.")
@click.option("--resource", "resources", multiple=True, metavar="RESOURCE", help="Only this one; may be repeated.")
@json_option
@pass_globals
@click.pass_context
def outage(
    ctx: click.Context,
    globals_: Globals,
    hours: int,
    sources: tuple[str, ...],
    resources: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Read the sources once, let them fail, and decide on through the hours as the service would.

    Exit code 0 somebody is always let in, 1 some resource ends up without anybody, 2 misuse, 3 a source could not be
    read to begin with.
    """
    settings = load_settings(globals_.config)
    chosen = _chosen(settings, resources)
    down = _down(settings, sources)
    stage, played = asyncio.run(_play(settings, chosen, down, timedelta(hours=hours)))
    report = Report(stage=stage, down=down, resources=chosen, played=played)
    emit(report.json(), as_json=as_json, text=report.words)
    ctx.exit(report.exit_code)


async def _play(
    settings: Settings, resources: Sequence[Resource], down: Sequence[SourceName], length: timedelta
) -> tuple[Stage, Outage]:
    stage = await open_stage(settings, down=down, lasting=length)
    for name, why in stage.failures.items():
        click.echo(f"watchkey: source {name} could not be read: {why}", err=True)
    flow = DrillOutage(
        clock=stage.clock,
        sync=stage.sync,
        explains=stage.request_access,
        rosters=stage.rosters,
        links=stage.request_access.directory.links,
        sources=stage.sources,
    )
    opened_by_shifts = [one for one in resources if not nothing_to_check(one)]
    return stage, await flow.play(opened_by_shifts, length)


def _chosen(settings: Settings, names: Sequence[str]) -> Sequence[Resource]:
    must_know(names, settings.resources, "resource")
    return [settings.resources[ResourceId(name)] for name in names] or list(settings.resources.values())


def _down(settings: Settings, names: Sequence[str]) -> Sequence[SourceName]:
    must_know(names, settings.sources, "source")
    return [SourceName(name) for name in names] or list(settings.sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was played."""

    stage: Stage
    down: Sequence[SourceName]
    resources: Sequence[Resource]
    played: Outage

    @property
    def exit_code(self) -> int:
        """A source that could not even be read makes the drill worthless: nobody can tell."""
        if self.stage.failures:
            return EXIT_UNKNOWN
        lost = any(self.played.first_without(resource.id) for resource in self._played())
        return EXIT_DENY if lost else EXIT_OK

    def _played(self) -> list[Resource]:
        return [one for one in self.resources if not nothing_to_check(one)]

    def words(self) -> str:
        """The verdict on each resource, then the hours."""
        start, end = self.played.starts_at, self.played.ends_at
        lines = [f"{', '.join(self.down) or 'nothing'} down from {self._say(start)} to {self._say(end)}:", ""]
        lines += [f"  {self._verdict(one)}" for one in self.resources]
        if self.stage.baseline:
            lines.append(f"  {faint('note: ' + printable(self.stage.baseline))}")
        return "\n".join([*lines, "", self._hours()])

    def _verdict(self, one: Resource) -> str:
        name = printable(one.id)
        if remark := nothing_to_check(one):
            return f"{faint('–')} {name}: {remark}"
        lost = self.played.first_without(one.id)
        if lost is None:
            return f"{good('✓')} {name}: always somebody"
        when = say_distance(lost.at, now=self.played.starts_at)
        return f"{bad('✗')} {name}: nobody from {self._say(lost.at)} ({when}): {lost.why}, {one.stale_mode} mode"

    def _hours(self) -> str:
        shown = {one.id: {moment.at: moment for moment in self.played.of(one.id)} for one in self._played()}
        rows = [
            (f"+{count} h", self._say(at), *(_holders(moments[at]) for moments in shown.values()))
            for count, at in enumerate(self.played.hours())
        ]
        return table(("", "AT", *shown), rows)

    def _say(self, instant: datetime) -> str:
        return say_instant(instant, now=self.played.starts_at, zone=self.stage.zone)

    def json(self) -> Mapping[str, Any]:
        """Every moment, for programs."""
        return {
            "down": self.down,
            "from": self.played.starts_at,
            "until": self.played.ends_at,
            "sources_unread": dict(self.stage.failures),
            "baseline": self.stage.baseline,
            "resources": [self._resource_json(one) for one in self.resources],
        }

    def _resource_json(self, one: Resource) -> Mapping[str, Any]:
        lost = self.played.first_without(one.id)
        return {
            "resource": one.id,
            "remark": nothing_to_check(one),
            "nobody_from": None if lost is None else lost.at,
            "why": None if lost is None else lost.why,
            "moments": [
                {"at": moment.at, "holders": moment.holders, "why": moment.why} for moment in self.played.of(one.id)
            ],
        }


def _holders(moment: Moment) -> str:
    if not moment.holders:
        return f"nobody ({moment.why})"
    return ", ".join(f"{one.name} ({'/'.join(one.privileges)})" for one in moment.holders)
