"""`watchkey link`: which subject is which person. Proposals come from addresses; what counts is what a person confirms.

The configuration file stays the only table of links. `confirm` prints the lines for it, or puts them in with --write;
a running service takes them at its next start.
"""

import asyncio
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
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
    good,
    json_option,
    pass_globals,
    printable,
    table,
)
from watchkey.model.access import Link
from watchkey.model.errors import Malformed, Refused, Unavailable
from watchkey.model.ids import PersonId, SourceName, SubjectId
from watchkey.rules.identity import Links, Proposal, mixed_scripts, propose_links
from watchkey.rules.link_check import LinkFinding, LinkTrouble, SeenLink, check_links, history_findings, look_again
from watchkey.rules.located import ConfigError
from watchkey.rules.roster import RosterIndex
from watchkey.settings import Settings, find, load_settings
from watchkey.settings.link_lines import link_lines, with_link
from watchkey.wiring import open_desk

MEMORY: Final = "links-seen.json"
"""What `link check` found last time; beside the audit log unless --memory says otherwise."""

_MEMORY: Final = click.option(
    "--memory",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help=f"What the last check found; {MEMORY} beside the audit log when not given.",
)


@examples(
    ("watchkey link propose", "for subjects that the configuration knows and that are linked to nobody"),
    ("watchkey link confirm alice@example.com pagerduty PXYZ123 --write", "put one link into the configuration"),
    ("watchkey link check", "each night: exit code 1 when somebody should look"),
)
@click.group()
def link() -> None:
    """Which subject is which person of a source."""


@examples(("watchkey link list", "every subject with the person behind it"))
@link.command("list")
@json_option
@pass_globals
@click.pass_context
def list_(ctx: click.Context, globals_: Globals, *, as_json: bool) -> None:
    """List the links of the configuration with the people behind them. Exit code 0, 3 when a source does not answer."""
    book = asyncio.run(_book(load_settings(globals_.config)))
    rows = list(book.rows())
    headers = ("SUBJECT", "SOURCE", "PERSON", "NAME", "ADDRESSES", "ACTIVE")
    emit(
        [dict(zip(("subject", "source", "person", "name", "emails", "active"), row, strict=True)) for row in rows],
        as_json=as_json,
        text=lambda: table(headers, [[_cell(value) for value in row] for row in rows], empty="no links"),
    )
    ctx.exit(book.exit_code(has_finding=False))


@examples(
    ("watchkey link propose --subject alice@example.com", "one subject"),
    ("idp-export | watchkey link propose --from -", "subjects from a list, one a line"),
    ("watchkey link propose --everybody", "where a subject is the person's own address"),
)
@link.command()
@click.option("--subject", "subjects", multiple=True, metavar="SUBJECT", help="This one; may be repeated.")
@click.option(
    "--from", "listed", type=click.File("r", encoding="utf-8"), metavar="FILE", help="One a line; - is stdin."
)
@click.option("--everybody", is_flag=True, help="Each person's first address, as if that were the subject.")
@click.option("--source", "only", metavar="SOURCE", help="Only people of this source.")
@json_option
@pass_globals
@click.pass_context
def propose(
    ctx: click.Context,
    globals_: Globals,
    subjects: tuple[str, ...],
    listed: Any,
    only: str | None,
    *,
    everybody: bool,
    as_json: bool,
) -> None:
    """Propose links by e-mail address. A proposal opens nothing; `link confirm` says what to put where.

    Without a choice: the subjects that the configuration names (in links and groups) and that are linked to nobody in
    a source. Exit code 0, 3 when a source does not answer.
    """
    book = asyncio.run(_book(load_settings(globals_.config), only))
    lines = [line.strip() for line in listed or ()]
    named = [SubjectId(one) for one in (*subjects, *(line for line in lines if line))]
    proposals = list(book.proposals(named, everybody=everybody))
    emit([_proposal_json(source, one) for source, one in proposals], as_json=as_json, text=lambda: _offers(proposals))
    ctx.exit(book.exit_code(has_finding=False))


@examples(
    ("watchkey link confirm alice@example.com pagerduty PXYZ123", "check it, and print the lines"),
    ("watchkey link confirm alice@example.com pagerduty PXYZ123 --write", "and put them into the file"),
)
@link.command()
@click.argument("subject")
@click.argument("source")
@click.argument("person")
@click.option("--write", is_flag=True, help="Put the link into the configuration file; everything else in it stays.")
@_MEMORY
@json_option
@pass_globals
@click.pass_context
def confirm(  # noqa: PLR0913 -- one argument an option
    ctx: click.Context,
    globals_: Globals,
    subject: str,
    source: str,
    person: str,
    memory: Path | None,
    *,
    write: bool,
    as_json: bool,
) -> None:
    """Make SUBJECT the PERSON of SOURCE, by the source's own id of the person.

    Exit code 0, 1 when something speaks against it, 2 misuse, 3 when the source does not answer.
    """
    settings = load_settings(globals_.config)
    wanted = Link(subject=SubjectId(subject), source=SourceName(source), person=PersonId(person))
    book = asyncio.run(_book(settings, source))
    objections = list(book.objections(wanted, _recall(memory or _memory_of(settings))))
    said = {"subject": subject, "source": source, "person": person, "objections": objections, "written": False}
    if objections and as_json:
        emit(said, as_json=True, text="")
        ctx.exit(book.exit_code(has_finding=True))
    if objections:
        click.echo("\n".join(f"{bad('no')}  {printable(why)}" for why in objections), err=True)
        ctx.exit(book.exit_code(has_finding=True))
    if not write:
        lines = f"# {settings.file}: {book.name_of(wanted)}\n{link_lines(wanted)}"
        emit(said, as_json=as_json, text=lines.rstrip("\n"))
        return
    file = find(globals_.config)
    changed = write_link(file, wanted)
    what = f"{printable(subject)} is {printable(book.name_of(wanted))} ({printable(person)}) of {source}"
    after = "; a running service takes it at its next start" if changed else " already"
    emit(said | {"written": True}, as_json=as_json, text=f"{good('ok')}  {what} in {file}{after}")


@examples(
    ("watchkey link check", "what is wrong now, and what has changed since the last check"),
    ("watchkey link check --accept", "these addresses and names are right: remember them"),
)
@link.command()
@click.option("--accept", is_flag=True, help="Somebody has looked: what is there now is what to compare with.")
@_MEMORY
@json_option
@pass_globals
@click.pass_context
def check(ctx: click.Context, globals_: Globals, memory: Path | None, *, accept: bool, as_json: bool) -> None:
    """Find links that contradict each other, leavers, changed addresses, look-alikes, names that passed on.

    Exit code 0 all is well, 1 a finding, 2 misuse, 3 when a source does not answer and nothing was found elsewhere.
    """
    try:
        settings = load_settings(globals_.config)
    except ConfigError as error:
        if any(not one.path.startswith("links") for one in error.all):
            raise
        _tell(contradictions(error), as_json=as_json)
        ctx.exit(EXIT_DENY)
    book = asyncio.run(_book(settings))
    file = memory or _memory_of(settings)
    seen = _recall(file)
    if accept:
        seen = look_again(settings.links, book.rosters, seen, accept=True)
    found = check_links(settings.links, tuple(settings.groups), book.rosters, seen)
    _remember(file, look_again(settings.links, book.rosters, seen, accept=False))
    _tell(found, as_json=as_json)
    ctx.exit(book.exit_code(has_finding=bool(found)))


# --- what is known -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """The links of the configuration and the rosters of their sources, read once."""

    settings: Settings
    rosters: Mapping[SourceName, RosterIndex]
    failures: Mapping[SourceName, str]

    def exit_code(self, *, has_finding: bool) -> int:
        """A finding outweighs a source that could not be read."""
        if has_finding:
            return EXIT_DENY
        return EXIT_UNKNOWN if self.failures else EXIT_OK

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Each link with the person behind it."""
        for one in self.settings.links:
            index = self.rosters.get(one.source)
            person = None if index is None else index.person(one.person)
            if person is None:
                yield one.subject, one.source, one.person, None, (), None
            else:
                yield one.subject, one.source, one.person, person.name, person.emails, person.active

    def name_of(self, wanted: Link) -> str:
        """The person's name, or the id."""
        index = self.rosters.get(wanted.source)
        person = None if index is None else index.person(wanted.person)
        return wanted.person if person is None else person.name

    def proposals(self, named: Sequence[SubjectId], *, everybody: bool) -> Iterator[tuple[SourceName, Proposal]]:
        """Proposals for each source, for whoever is linked to nobody there."""
        links = Links(self.settings.links)
        for source, index in self.rosters.items():
            subjects = list(named)
            if everybody:
                people = [one for one in index.roster.people if one.emails and one.active is not False]
                subjects += [SubjectId(one.emails[0]) for one in people if links.linked_to(one.id, source) is None]
            if not subjects:
                subjects = [*(one.subject for one in self.settings.links), *self.settings.groups]
            open_ones = [one for one in subjects if links.person_of(one, source) is None]
            for proposal in propose_links(open_ones, index):
                yield source, _unless_taken(proposal, links)

    def objections(self, wanted: Link, seen: Sequence[SeenLink]) -> Iterator[str]:
        """Everything that speaks against a new link."""
        if wanted.source not in self.settings.sources:
            known = ", ".join(sorted(self.settings.sources)) or "none"
            raise Refused(f"there is no source {wanted.source!r} in {self.settings.file}; there is {known}")
        index = self.rosters.get(wanted.source)
        if index is None:
            raise Unavailable(f"{wanted.source} could not be read, so nobody can tell who {wanted.person} is")
        person = index.person(wanted.person)
        if person is None:
            yield f"{wanted.source} has no person with the id {wanted.person}"
        elif person.active is not True:
            yield f"{person.name} ({person.id}) is not known to be active in {wanted.source}"
        for problem in Links([*self.settings.links, wanted]).problems:
            if wanted in problem.links:
                yield problem.why
        if scripts := mixed_scripts(wanted.subject):
            yield f"{wanted.subject!a} mixes scripts: {', '.join(sorted(scripts))}"
        if printable(wanted.subject) != wanted.subject:
            yield f"{wanted.subject!a} has characters that nobody sees"
        for finding in history_findings([wanted], seen):
            yield f"{finding.what}; `watchkey link check --accept` once somebody has looked into it"


def _unless_taken(proposal: Proposal, links: Links) -> Proposal:
    if proposal.link is None or (taken := links.linked_to(proposal.link.person, proposal.link.source)) is None:
        return proposal
    why = f"{proposal.link.person} is linked already{f', to {taken}' if isinstance(taken, str) else ''}"
    return Proposal(subject=proposal.subject, link=None, why_not=why, candidates=proposal.candidates)


async def _book(settings: Settings, only: str | None = None) -> Book:
    if only is not None and only not in settings.sources:
        known = ", ".join(sorted(settings.sources)) or "none"
        raise click.BadParameter(f"there is no source {only!r}; there is {known}")
    desk = await open_desk(settings)
    for name, why in desk.failures.items():
        click.echo(f"watchkey: source {name} could not be read: {why}", err=True)
    held = {name: one.index for name, one in desk.rosters.held().items() if only in (None, name)}
    failures = {name: why for name, why in desk.failures.items() if only in (None, name)}
    return Book(settings=settings, rosters=held, failures=failures)


def contradictions(error: ConfigError) -> tuple[LinkFinding, ...]:
    """The errors of a file whose links contradict each other, as findings."""
    return tuple(
        LinkFinding(trouble=LinkTrouble.AMBIGUOUS, subjects=(), what=f"{one.file}:{one.line}: {one.message}")
        for one in error.all
    )


# --- words ---------------------------------------------------------------------------------------------------------


def _cell(value: Any) -> str:
    match value:
        case None:
            return "?"
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ", ".join(str(one) for one in value)
        case _:
            return str(value)


def _proposal_json(source: SourceName, one: Proposal) -> Mapping[str, Any]:
    person = None if one.link is None else one.link.person
    return {"subject": one.subject, "source": source, "person": person, "why_not": one.why_not or None}


def _offers(proposals: Sequence[tuple[SourceName, Proposal]]) -> str:
    rows = [
        (one.subject, source, one.candidates[0].id, one.candidates[0].name)
        for source, one in proposals
        if one.link is not None
    ]
    lines = [table(("SUBJECT", "SOURCE", "PERSON", "NAME"), rows, empty="nothing to propose")]
    refused = [(one.subject, source, one.why_not) for source, one in proposals if one.link is None]
    if refused:
        lines += ["", table(("SUBJECT", "SOURCE", "WHY NOT"), refused)]
    if rows:
        lines += ["", "To confirm one: watchkey link confirm SUBJECT SOURCE PERSON --write"]
    return "\n".join(lines)


def _tell(found: Sequence[LinkFinding], *, as_json: bool) -> None:
    rows = [(one.trouble, ", ".join(one.subjects), one.what) for one in found]
    text = table(("FINDING", "SUBJECT", "WHAT"), rows) if rows else f"{good('ok')}  all links are in order"
    emit([msgspec.to_builtins(one) for one in found], as_json=as_json, text=text)


# --- files -----------------------------------------------------------------------------------------------------------


def write_link(file: Path, wanted: Link) -> bool:
    """Put the link into the file, whole or not at all; whether that changed anything.

    The new text must be a right configuration, and the file must not have changed meanwhile. Raises `ConfigError`,
    `Refused`.
    """
    place = file.resolve()
    before = place.read_bytes()
    text = with_link(before.decode(), str(file), wanted)
    after = text.encode()
    if after == before:
        return False
    with _beside(place, after) as fresh:
        load_settings(fresh, are_secrets_read=False)
        if place.read_bytes() != before:
            raise Refused(f"{file} was changed meanwhile; nothing was written")
        fresh.chmod(stat.S_IMODE(place.stat().st_mode))
        fresh.replace(place)
    return True


@contextmanager
def _beside(place: Path, content: bytes) -> Iterator[Path]:
    """A new file with that content in the same folder, on disk; removed at the end unless it was moved."""
    descriptor, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)


def _memory_of(settings: Settings) -> Path:
    return settings.storage.path.with_name(MEMORY)


def _recall(file: Path) -> tuple[SeenLink, ...]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=tuple[SeenLink, ...])
    except FileNotFoundError:
        return ()
    except msgspec.DecodeError as error:
        raise Malformed(
            f"{file} is not what `watchkey link check` wrote: {error}; move it away to begin anew"
        ) from None


def _remember(file: Path, seen: Sequence[SeenLink]) -> None:
    content = msgspec.json.format(msgspec.json.encode(seen), indent=1) + b"\n"
    if file.exists() and file.read_bytes() == content:
        return
    with _beside(file, content) as fresh:
        fresh.replace(file)
