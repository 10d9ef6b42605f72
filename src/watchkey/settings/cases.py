"""Reads a file of policy cases: a roster, resources as in the configuration, and the decision each request must get."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from watchkey.flows.test_policy import Case, Wanted
from watchkey.model.access import AccessRequest, Link, Reason, Resource, Subject
from watchkey.model.ids import CallerId, PersonId, PrivilegeName, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import EndKind, Provenance, Shift
from watchkey.rego import Location
from watchkey.rules.located import ConfigError, Located, Mark, load, nearest
from watchkey.settings.crosscheck import CrossCheck, merged
from watchkey.settings.load import policy_of, resource_of
from watchkey.settings.schema import tidy_schema
from watchkey.settings.sections import Surroundings, raise_all
from watchkey.settings.shape import (
    File,
    Level,
    Name,
    Pager,
    PolicySection,
    ResourceDefaults,
    ResourceSection,
    Section,
    Text,
)
from watchkey.settings.values import PolicySettings

SOURCE: Final = SourceName("roster")
"""The one source that the cases of a file know."""
CALLER: Final = CallerId("policy-test")
DEFAULT: Final = "default"
NO_ROSTER: Final = "none"


class CasePager(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose pager: exactly one of the three, by its id in the roster."""

    service: Text | None = None
    escalation_policy: Text | None = None
    schedule: Text | None = None


class CaseResource(ResourceDefaults, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A resource, as in the configuration; its pagers need no source, because there is one."""

    kind: Text = "postgres"
    opened_by: tuple[CasePager, ...] = ()


class ShiftEntry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One more shift, as a provider may tell it: without level, without end, of any grade."""

    person: Text
    policy: Text | None = None
    schedule: Text | None = None
    level: Level | None = None
    starts: Annotated[datetime | None, Meta(description="Left out: since ever.")] = msgspec.field(
        name="from", default=None
    )
    ends: Annotated[datetime | None, Meta(description="Left out: see `end`.")] = msgspec.field(name="to", default=None)
    end: Annotated[EndKind, Meta(description="What a missing end means.")] = EndKind.EXACT
    provenance: Provenance = Provenance.ROTA


class CaseEntry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request, and what must come of it."""

    name: Annotated[Text, Meta(description="What is shown, as a sentence.")]
    ask: Annotated[Text, Meta(description="`SUBJECT PRIVILEGE RESOURCE`, as `watchkey check` takes it.")]
    want: Literal["allow", "deny"]
    reason: Annotated[Reason | None, Meta(description="The reason that the decision must have.")] = None
    until: Annotated[datetime | None, Meta(description="The end that the allow must have.")] = None
    says: Annotated[str, Meta(description="What must stand in the sentence for people.")] = ""
    at: Annotated[datetime | None, Meta(description="When; left out: the file's `at`.")] = None
    roster: Annotated[
        Name | None, Meta(description="One of `rosters`, or `none`: nothing was ever read. Left out: `roster`.")
    ] = None
    read_ago: Annotated[
        timedelta, Meta(description="How long before that instant the roster was last read completely.")
    ] = timedelta(0)
    taken_at: Annotated[datetime | None, Meta(description="What the roster says of its own time, if that differs.")] = (
        None
    )
    shifts: Annotated[tuple[ShiftEntry, ...], Meta(description="Shifts besides those of the roster.")] = ()
    groups: Annotated[tuple[Text, ...], Meta(description="Groups that the identity provider tells of.")] = ()
    context: Annotated[Mapping[str, Any], Meta(description="What the caller tells besides.")] = {}
    parameters: Annotated[Mapping[str, Any], Meta(description="Parameters of the policy for this case.")] = {}


class CasesDocument(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of cases. Relative paths start at its folder; instants are RFC 3339, durations `90s`, `15m`, `12h`."""

    policy: Annotated[PolicySection | None, Meta(description="Left out: the policy that ships.")] = None
    roster: Annotated[Any, Meta(description="As a roster file has it, or the path of one.")] = None
    rosters: Annotated[Mapping[Name, Any], Meta(description="More of them, by name.")] = {}
    defaults: Annotated[ResourceDefaults, Meta(description="What resources have in common.")] = ResourceDefaults()
    resources: Mapping[Name, CaseResource]
    links: Annotated[
        Mapping[Text, Text], Meta(description="Subject -> person. Left out: each person is the subject of that name.")
    ] = {}
    groups: Annotated[Mapping[Text, tuple[Text, ...]], Meta(description="Name -> subjects.")] = {}
    at: Annotated[datetime | None, Meta(description="The instant of cases that name none.")] = None
    cases: Annotated[tuple[CaseEntry, ...], Meta(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFile:
    """A file of cases that was read and checked, its rosters still as they are written."""

    file: Path
    policy: PolicySettings | None
    rosters: Mapping[str, Located]
    resources: Mapping[ResourceId, Resource]
    links: tuple[Link, ...] | None
    """None: each person is the subject of the same name."""
    groups: Mapping[SubjectId, frozenset[str]]
    cases: tuple[Case, ...]
    zone: ZoneInfo


def load_cases(path: Path) -> CaseFile:
    """Read a file of cases. Raises `ConfigError` with everything that is wrong."""
    root = _load(path)
    document = root.convert(CasesDocument, hooks={datetime: _instant})
    surroundings = Surroundings(directory=path.parent)
    reader = _Reader(root, document, surroundings)
    raise_all(list(reader.errors()))
    return reader.value(path)


def cases_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of such a file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Watchkey policy cases",
        **tidy_schema(CasesDocument),
    }


def _load(path: Path) -> Located:
    try:
        return load(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path), mark=Mark(1, 1)) from None


def _instant(value: Any) -> datetime:
    try:
        read = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        read = None
    if read is None or read.tzinfo is None:
        raise ValueError("not an instant; expected a date and time with its offset, such as 2026-07-01T12:00:00Z")
    return read.astimezone(UTC)


class _Reader:
    """Checks one document and makes values of it."""

    def __init__(self, root: Located, document: CasesDocument, surroundings: Surroundings) -> None:
        self.root = root
        self.document = document
        self.surroundings = surroundings
        self.rosters: dict[str, Located] = {}

    def errors(self) -> Iterator[ConfigError]:
        """Everything that is wrong; the resources are checked as those of a configuration."""
        yield from CrossCheck(self._as_configuration(), self.root).errors()
        policy = self.document.policy
        if policy is not None and (policy.engine == "opa" or not (policy.files or policy.bundle)):
            yield self.root.error(
                ("policy",), "cases are answered by a policy that is here", expected="files or bundle: the policy's own"
            )
        yield from self._roster_errors()
        for i, case in enumerate(self.document.cases):
            yield from self._case_errors(i, case)

    def _as_configuration(self) -> File:
        return File(
            sources={SOURCE: {"kind": "roster_file"}},
            defaults=self.document.defaults,
            resources={name: _section(one) for name, one in self.document.resources.items()},
        )

    def _roster_errors(self) -> Iterator[ConfigError]:
        places: list[tuple[str, tuple[str, ...]]] = [(name, ("rosters", name)) for name in self.document.rosters]
        if self.document.roster is not None:
            places.append((DEFAULT, ("roster",)))
        for name, place in places:
            located = self.root.at(*place)
            try:
                self.rosters[name] = (
                    _load(self.surroundings.path(located.data)) if isinstance(located.data, str) else located
                )
            except ConfigError as error:
                yield error

    def _case_errors(self, i: int, case: CaseEntry) -> Iterator[ConfigError]:
        words = case.ask.split()
        if len(words) != 3:
            yield self.root.error(("cases", i, "ask"), "this is no question", expected="SUBJECT PRIVILEGE RESOURCE")
        if case.at is None and self.document.at is None:
            yield self.root.error(("cases", i), "at is missing", expected="an instant, here or for the whole file")
        name = case.roster or DEFAULT
        if name not in {*self.rosters, NO_ROSTER}:
            yield self.root.error(
                ("cases", i, "roster"),
                f"there is no roster {name!r}",
                expected="one of `rosters`, or `none`",
                suggestion=nearest(name, self.rosters),
            )

    def value(self, path: Path) -> CaseFile:
        """The values of a document without errors."""
        document = self.document
        groups: dict[SubjectId, set[str]] = {}
        for group, subjects in document.groups.items():
            for subject in subjects:
                groups.setdefault(SubjectId(subject), set()).add(group)
        return CaseFile(
            file=path,
            policy=None if document.policy is None else policy_of(path.name, document.policy, self.surroundings),
            rosters=self.rosters,
            resources={
                ResourceId(name): resource_of(
                    name, merged(_section(one), self.root.at("resources", name).data, document.defaults)
                )
                for name, one in document.resources.items()
            },
            links=None
            if not document.links
            else tuple(
                Link(subject=SubjectId(subject), source=SOURCE, person=PersonId(person))
                for subject, person in document.links.items()
            ),
            groups={subject: frozenset(names) for subject, names in groups.items()},
            cases=tuple(self._case(i, one) for i, one in enumerate(document.cases)),
            zone=ZoneInfo("UTC"),
        )

    def _case(self, i: int, entry: CaseEntry) -> Case:
        subject, privilege, resource = entry.ask.split()
        mark = self.root.mark("cases", i)
        at = entry.at or self.document.at
        if at is None:
            raise self.root.error(("cases", i), "at is missing")
        return Case(
            name=entry.name,
            location=Location(file=self.root.filename, line=mark.line, column=mark.column),
            request=AccessRequest(
                subject=Subject(id=SubjectId(subject), groups=frozenset(entry.groups)),
                privilege=PrivilegeName(privilege),
                resource=ResourceId(resource),
                caller=CALLER,
                context=entry.context,
            ),
            at=at,
            wanted=Wanted(is_allow=entry.want == "allow", reason=entry.reason, until=entry.until, sentence=entry.says),
            roster=None if entry.roster == NO_ROSTER else entry.roster or DEFAULT,
            read_ago=entry.read_ago,
            taken_at=entry.taken_at,
            more_shifts=tuple(_shift(one) for one in entry.shifts),
            parameters=entry.parameters,
        )


def _section(resource: CaseResource) -> ResourceSection:
    pagers = tuple(
        Pager(source=SOURCE, service=one.service, escalation_policy=one.escalation_policy, schedule=one.schedule)
        for one in resource.opened_by
    )
    fields = {name: getattr(resource, name) for name in ResourceDefaults.__struct_fields__}
    return ResourceSection(**fields, kind=resource.kind, opened_by=pagers)


def _shift(entry: ShiftEntry) -> Shift:
    return Shift(
        person=PersonId(entry.person),
        policy=entry.policy,
        schedule=entry.schedule,
        level=entry.level,
        starts_at=entry.starts,
        ends_at=entry.ends,
        end_kind=entry.end,
        provenance=entry.provenance,
    )
