"""`watchkey source`: try a source with the configured credentials, write the beginning of one, list the kinds."""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from watchkey import wiring
from watchkey.entrypoints.cli.login import SERVER, ask
from watchkey.entrypoints.cli.output import (
    EXIT_DENY,
    EXIT_OK,
    Globals,
    bad,
    emit,
    examples,
    good,
    json_option,
    pass_globals,
    printable,
    table,
)
from watchkey.entrypoints.cli.times import say_instant
from watchkey.model.errors import Refused
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.oncall import Scope, ScopeKind, Shift
from watchkey.rules.roster import GuardLimits, RosterIndex, index_roster
from watchkey.settings import Settings, load_settings

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""As the configuration wants a source's name."""
_NEXT_MAX: Final = 1
"""Coming shifts shown for each schedule or policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one read of one source showed."""

    index: RosterIndex
    requests: int | None
    """None: the source does not count, because it asks nobody."""
    notes: Sequence[str]
    now: datetime


@examples(
    ("watchkey source test pagerduty", "what would be seen, with the configured credentials"),
    ("watchkey source kinds", "what there is an adapter for"),
    ("watchkey source add rootly main", "the beginning of a section for watchkey.yaml"),
)
@click.group()
def source() -> None:
    """Try an on-call source; add one."""


@examples(
    ("watchkey source test pagerduty", "people, schedules, who is on call, what is missing"),
    ("watchkey source test pagerduty --json", "as JSON"),
)
@source.command()
@click.argument("name")
@json_option
@pass_globals
@click.pass_context
def test(ctx: click.Context, globals_: Globals, *, name: str, as_json: bool) -> None:
    """Read the source NAME once with the configured credentials, and print what Watchkey would see.

    Nothing is recorded and nobody gets in by it. Exit code 0 complete, 1 something is missing, 3 it could not be read.
    """
    settings = load_settings(globals_.config, source_configs=wiring.source_configs())
    if SourceName(name) not in settings.sources:
        known = ", ".join(sorted(settings.sources)) or "none"
        raise click.UsageError(f"there is no source {name!r} in {settings.file}; there is {known}", ctx)
    seen = asyncio.run(_read(settings, SourceName(name)))
    missing = tuple(_missing(settings, seen))
    emit(_json(settings, seen, missing), as_json=as_json, text=lambda: _words(settings, seen, missing))
    ctx.exit(EXIT_DENY if missing else EXIT_OK)


@examples(
    ("watchkey source accept pagerduty --server https://watchkey:8181", "look at a read that is held back"),
    ("watchkey source accept pagerduty --digest 3f2a… --server …", "let in exactly the read that was looked at"),
)
@source.command()
@click.argument("name")
@click.option("--digest", metavar="DIGEST", help="Let in the read of this digest, as it was shown before.")
@SERVER
@json_option
@click.pass_context
def accept(ctx: click.Context, *, name: str, digest: str | None, server: str, as_json: bool) -> None:
    """Let the running service believe a read of NAME that takes away too much at once.

    Without --digest it only shows who would lose what. With it, and only while that very read is the one that is held
    back, the read counts. The caller in WATCHKEY_TOKEN needs `admin: true`; the word is in the audit log. Exit code 0
    done, 1 shown and not done, or refused, 2 misuse, 3 no answer.
    """
    try:
        if digest is not None:
            done = asyncio.run(ask(server, "POST", "/v1/sources/accept", {"source": name, "digest": digest}))
            emit(done, as_json=as_json, text=f"{name}: the read counts; revision {done['revision']}")
            return
        held = asyncio.run(ask(server, "POST", "/v1/sources/held", {"source": name}))
    except Refused as error:
        click.echo(f"watchkey: {error}", err=True)
        ctx.exit(EXIT_DENY)
    emit(held, as_json=as_json, text=lambda: _held_words(name, held))
    ctx.exit(EXIT_DENY)


def _held_words(name: str, held: Mapping[str, Any]) -> str:
    rows = [
        (
            f"{one['name']} ({one['person']})",
            one["policy"] or one["schedule"] or "-",
            "?" if one["level"] is None else one["level"],
            "now" if one["now"] else "ahead",
        )
        for one in held["losses"]
    ]
    services = ", ".join(held["services"])
    size = f"{held['people']} people, {held['shifts']} shifts"
    parts = [
        printable(f"{held['why']}; read at {str(held['taken_at'])[:19]}Z with {size}"),
        table(("WHO", "PAGER", "LEVEL", "LOSES IT"), rows, empty="nobody who is on call loses a duty"),
        printable(f"services that page nobody, or others: {services}") if services else "",
        f"If so many really are gone: watchkey source accept {name} --digest {printable(held['digest'])}",
    ]
    return "\n\n".join(part for part in parts if part)


async def _read(settings: Settings, name: SourceName) -> Seen:
    clock = wiring.SystemClock()
    found = wiring.build_source(settings, name, clock)
    try:
        now = clock.now()
        index = index_roster(await found.fetch(now=now, window=settings.sync.window))
    finally:
        await found.close()
    return Seen(
        index=index,
        requests=getattr(found, "requests", None),
        notes=tuple(getattr(found, "notes", ())),
        now=now,
    )


def _linked(settings: Settings, source_name: SourceName) -> Mapping[str, str]:
    """Person -> subject, as the configuration has it."""
    return {link.person: link.subject for link in settings.links if link.source == source_name}


def _missing(settings: Settings, seen: Seen) -> Iterator[str]:
    """What a person should look at: pagers that are not there, holders who are nobody here, links that lead nowhere."""
    index, source_name = seen.index, seen.index.source
    skew, skew_max = index.roster.clock_skew.total_seconds(), GuardLimits().skew_max.total_seconds()
    if abs(skew) > skew_max:
        yield f"the source's clock is {skew:+.0f} s from ours, at most {skew_max:.0f} s are believed: no resource opens"
    linked = _linked(settings, source_name)
    for resource in settings.resources.values():
        for i, scope in enumerate((*resource.scopes, *resource.second_scopes)):
            if scope.source == source_name and not index.knows(scope):
                part = "is opened by" if i < len(resource.scopes) else "needs the agreement of"
                yield f"resource {resource.id} {part} {scope}, which the source does not know"
    for person, subject in linked.items():
        if index.person(PersonId(person)) is None:
            yield f"{subject} is linked to {person}, whom the source does not know"
    for person in dict.fromkeys(shift.person for shift in index.roster.shifts if shift.covers(seen.now)):
        known = index.person(person)
        name = person if known is None else known.name
        if person not in linked:
            yield f"{name} ({person}) is on call now and linked to nobody: no resource opens"
        elif known is None or known.active is not True:
            yield f"{name} ({person}) is on call now and not known to be active: no resource opens"


def _scopes(seen: Seen) -> Iterator[tuple[Scope, str]]:
    roster = seen.index.roster
    for policy in roster.policies:
        yield Scope(roster.source, ScopeKind.ESCALATION_POLICY, policy.id), policy.name
    for schedule in roster.schedules:
        yield Scope(roster.source, ScopeKind.SCHEDULE, schedule.id), schedule.name


def _turns(seen: Seen, scope: Scope) -> tuple[Sequence[Shift], Sequence[Shift]]:
    """Who is on call there now, and who begins next."""
    now = seen.index.on_call(scope, seen.now)
    coming = [
        shift
        for shift in seen.index.shifts(scope, seen.now, seen.index.roster.window_ends_at)
        if shift.starts_at is not None and shift.starts_at > seen.now
    ]
    return now, coming[:_NEXT_MAX]


def _json(settings: Settings, seen: Seen, missing: Sequence[str]) -> Mapping[str, Any]:
    roster = seen.index.roster
    linked = _linked(settings, roster.source)
    scopes = []
    for scope, name in _scopes(seen):
        now, coming = _turns(seen, scope)
        scopes.append({"kind": scope.kind, "id": scope.id, "name": name, "now": now, "next": coming})
    return {
        "source": roster.source,
        "taken_at": roster.taken_at,
        "window_ends_at": roster.window_ends_at,
        "clock_skew_seconds": roster.clock_skew.total_seconds(),
        "requests": seen.requests,
        "people": [
            {"id": p.id, "name": p.name, "emails": p.emails, "active": p.active, "subject": linked.get(p.id)}
            for p in roster.people
        ],
        "services": roster.services,
        "on_call": scopes,
        "incidents": roster.incidents,
        "notes": seen.notes,
        "missing": missing,
    }


def _words(settings: Settings, seen: Seen, missing: Sequence[str]) -> str:
    roster = seen.index.roster
    linked = _linked(settings, roster.source)
    cost = "asked nobody" if seen.requests is None else f"{seen.requests} request(s)"
    rows = [
        (scope.kind.value, scope.id, name, _holders(seen, now), _coming(seen, coming, settings.zone))
        for scope, name in _scopes(seen)
        for now, coming in [_turns(seen, scope)]
    ]
    people = [
        (p.id, p.name, ", ".join(p.emails), _activity(active=p.active), linked.get(p.id, "-")) for p in roster.people
    ]
    parts = [
        f"{roster.source}: read completely, {cost}; until {say_instant(roster.window_ends_at, now=seen.now)}",
        table(("kind", "id", "name", "now", "next"), rows, empty="no schedules and no policies"),
        table(("person", "name", "e-mail", "active", "linked to"), people, empty="no people"),
        f"{len(roster.services)} service(s), {len(roster.incidents)} open incident(s)",
    ]
    parts += [f"note: {printable(note)}" for note in seen.notes]
    parts += [f"{bad('missing')}: {printable(each)}" for each in missing]
    if not missing:
        parts.append(good("nothing is missing"))
    return "\n\n".join(parts[:4]) + "\n" + "\n".join(parts[4:])


def _activity(*, active: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[active]


def _holders(seen: Seen, shifts: Sequence[Shift]) -> str:
    return ", ".join(f"{_name(seen, shift)} ({_level(shift)})" for shift in shifts) or "nobody"


def _coming(seen: Seen, shifts: Sequence[Shift], zone: tzinfo) -> str:
    return ", ".join(
        f"{_name(seen, shift)} ({_level(shift)}) {say_instant(shift.starts_at, now=seen.now, zone=zone)}"
        for shift in shifts
    )


def _name(seen: Seen, shift: Shift) -> str:
    person = seen.index.person(shift.person)
    return shift.person if person is None else person.name


def _level(shift: Shift) -> str:
    return "no level" if shift.level is None else f"level {shift.level}"


@examples(("watchkey source kinds", ""), ("watchkey source kinds --json", "as JSON"))
@source.command()
@json_option
def kinds(*, as_json: bool) -> None:
    """List the kinds of sources there are, and the keys that each one must have."""
    found = {
        kind: [field.name for field in msgspec.structs.fields(config) if field.required]
        for kind, config in wiring.source_configs().items()
    }
    emit(found, as_json=as_json, text=lambda: table(("kind", "required keys"), _rows(found)))


def _rows(found: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    for kind, keys in found.items():
        yield kind, ", ".join(keys)


@examples(
    ("watchkey source add rootly main >> sources.yaml", "a section for a kind that there is"),
    ("watchkey source add acme main --adapter .", "files for a kind that there is not, in a checkout of Watchkey"),
)
@source.command()
@click.argument("kind")
@click.argument("name")
@click.option(
    "--adapter",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="CHECKOUT",
    help="Write the beginning of an adapter for a new KIND into this checkout of Watchkey.",
)
def add(*, kind: str, name: str, adapter: Path | None) -> None:
    """Print the beginning of a section for watchkey.yaml; with --adapter, write the files of a new kind."""
    if adapter is not None:
        click.echo("\n".join(str(path) for path in write_adapter(adapter, kind)))
        return
    configs = wiring.source_configs()
    if kind not in configs:
        known = ", ".join(configs)
        raise click.UsageError(f"there is no kind {kind!r}; there is {known}. For a new one, see --adapter")
    if re.fullmatch(_NAME, name) is None:
        raise click.UsageError(f"{name!r} is no name for a source: letters, digits, and . _ - behind the first")
    click.echo(section(kind, name, configs[kind]))


def section(kind: str, name: str, config: type[msgspec.Struct]) -> str:
    """The beginning of a section: what is required is there, what is optional stands as a comment."""
    lines = ["sources:", f"  {name}:", f"    kind: {kind}"]
    for field in msgspec.structs.fields(config):
        if field.required:
            is_secret = "Secret" in str(field.type)
            value = f"{{env: {name.upper().replace('-', '_')}_{field.name.upper()}}}" if is_secret else "CHANGE ME"
            lines.append(f"    {field.name}: {value}")
        else:
            lines.append(f"    # {field.name}:")
    return "\n".join(lines)


def write_adapter(checkout: Path, kind: str) -> tuple[Path, ...]:
    """Write an adapter that reads one list of shifts, its case and its test. Raises `Refused`; overwrites nothing."""
    if not kind.isidentifier() or not kind.islower() or not kind.isascii():
        raise Refused(f"a kind is a Python module's name in lower case, and {kind!r} is none")
    files = {
        checkout / "src/watchkey/sources" / f"{kind}.py": _ADAPTER,
        checkout / "tests/contracts/vendors" / f"{kind}.py": _CASE,
        checkout / "tests/sources" / f"test_{kind}.py": _TEST,
    }
    for path in files:
        if path.exists():
            raise Refused(f"{path} is there already, and nothing is overwritten")
        if not path.parent.is_dir():
            raise Refused(f"{checkout} is no checkout of Watchkey: there is no {path.parent}")
    for path, text in files.items():
        path.write_text(text.replace("KIND", kind), encoding="utf-8")
    return tuple(files)


_ADAPTER: Final = '''\
"""KIND: say here what it tells, and what it does not."""

from functools import partial
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from watchkey.http_client import HttpSource, HttpSourceConfig, Operation, Provider
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.rules.gathering import Gathered, Id, Instant, refuse_missing

_HOST: Final = "https://api.example.com"


class Config(HttpSourceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a source of kind `KIND`."""

    token: Annotated[Secret, Meta(description="A token that reads and nothing else.")]
    schedules: Annotated[
        tuple[Id, ...], Meta(max_length=200, description="Read these schedules only, by id; empty: all.")
    ] = ()


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:
    """Make the source; no connection is opened yet. Raises `Refused` when the URL or the CA file is not acceptable."""
    headers = {"Authorization": Secret(f"Bearer {config.token.reveal()}")}
    return HttpSource(config, Provider(base_url=_HOST, headers=headers), partial(_read, config), name=name, clock=clock)


# What the provider sends, as far as it is used. A key without a default must be there.


class _User(msgspec.Struct, frozen=True):
    id: Id
    name: str
    email: str | None = None


class _Shift(msgspec.Struct, frozen=True):
    user_id: Id
    start: Instant
    end: Instant


class _Schedule(msgspec.Struct, frozen=True):
    id: Id
    name: str
    shifts: list[_Shift]


async def _read(config: Config, operation: Operation, gathered: Gathered) -> None:
    """Read everything or raise; what refers before what is referred to."""
    for schedule in (await operation.get("/schedules")).decode(list[_Schedule]):
        gathered.schedule(schedule.id, schedule.name)
        if not config.schedules or schedule.id in config.schedules:
            for shift in schedule.shifts:
                gathered.turn(gathered.mention(shift.user_id), schedule.id, shift.start, shift.end)
    refuse_missing("KIND", "schedules", set(config.schedules) - gathered.schedules.keys())
    for user in (await operation.get("/users")).decode(list[_User]):
        gathered.person(user.id, user.name, [user.email], active=True)
'''

_CASE: Final = '''\
"""KIND: its answers, written by hand after the documented shapes."""

from collections.abc import Callable
from typing import Any

from tests.contracts.answers import NOT_FOUND, json, split
from tests.contracts.source_case import CANARY, REQUEST_TIMEOUT, SourceCase
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.sources import KIND

SHIFTS = [
    {"user_id": "u1", "start": "2026-07-01T07:00:00Z", "end": "2026-07-01T16:00:00Z"},
    {"user_id": "u2", "start": "2026-07-01T16:00:00Z", "end": "2026-07-02T07:00:00Z"},
]
WORLD: dict[str, Any] = {
    "/schedules": [{"id": "s1", "name": "Primary", "shifts": SHIFTS}],
    "/users": [{"id": f"u{n}", "name": f"Person {n}", "email": f"u{n}@example.com"} for n in (1, 2)],
}


def build(url: str, clock: Clock, name: SourceName, **more: Any) -> Source:
    config = KIND.Config(token=Secret(CANARY), base_url=url, request_timeout=REQUEST_TIMEOUT, **more)
    return KIND.build(config, name=name, clock=clock)


def reply(world: dict[str, Any]) -> Callable[[str], bytes]:
    def answer(target: str) -> bytes:
        path = split(target)[0]
        return json(world[path]) if path in world else NOT_FOUND

    return answer


CASE = SourceCase(
    build=build,
    reply=reply(WORLD),
    empty=reply(WORLD | {"/schedules": []}),
    holders=frozenset({("u1", None)}),
    build_unknown=lambda url, clock, name: build(url, clock, name, schedules=("SGONE",)),
    is_paged=False,
)
'''

_TEST: Final = '''\
"""KIND: what is its own; what all sources have in common is in the contract suite."""

from tests.contracts.vendors.KIND import WORLD, build, reply
from tests.sources.reading import read


def test_who_has_left_is_inactive() -> None:
    roster, _, _ = read(build, reply(WORLD | {"/users": WORLD["/users"][1:]}))
    assert {person.id: person.active for person in roster.people} == {"u1": False, "u2": True}
'''
