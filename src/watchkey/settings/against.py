"""The configuration against the world: does each pager and person that it names exist in the roster that was read?"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from watchkey.model.ids import SourceName
from watchkey.model.oncall import EscalationPolicy, Roster, Schedule, Scope, ScopeKind, Service
from watchkey.rules.located import ConfigError, nearest
from watchkey.rules.roster import RosterIndex
from watchkey.settings.values import Settings

_Named = Service | EscalationPolicy | Schedule


def check_against(settings: Settings, rosters: Mapping[SourceName, RosterIndex]) -> tuple[ConfigError, ...]:
    """Every pager and every linked person that the source does not know, in the order of the file.

    A source without a roster is passed over: nothing can be said about it. People like to write an object's name
    where its id belongs; the error then gives the id.
    """
    found = [*_pagers(settings, rosters), *_people(settings, rosters)]
    return tuple(sorted(found, key=lambda error: (error.line, error.column)))


def _pagers(settings: Settings, rosters: Mapping[SourceName, RosterIndex]) -> Iterator[ConfigError]:
    for name, resource in settings.resources.items():
        named = [(("opened_by", i), scope) for i, scope in enumerate(resource.scopes)]
        more = [(("second_source", "pagers", i), scope) for i, scope in enumerate(resource.second_scopes)]
        for place, scope in [*named, *more]:
            index = rosters.get(scope.source)
            if index is None or index.knows(scope):
                continue
            path = ("resources", name, *place, scope.kind.value)
            yield settings.root.error(path, _unknown(scope, index), suggestion=_nearest(scope, index.roster))


_WORDS: Final = {
    ScopeKind.SERVICE: ("a", "service"),
    ScopeKind.ESCALATION_POLICY: ("an", "escalation policy"),
    ScopeKind.SCHEDULE: ("a", "schedule"),
}


def _unknown(scope: Scope, index: RosterIndex) -> str:
    message = f"{scope.source!r} has no {_WORDS[scope.kind][1]} {scope.id!r}"
    for kind in ScopeKind:
        if index.knows(Scope(scope.source, kind, scope.id)):
            return f"{message}; that is {' '.join(_WORDS[kind])}"
    return message


def _objects(kind: ScopeKind, roster: Roster) -> Iterable[_Named]:
    match kind:
        case ScopeKind.SERVICE:
            return roster.services
        case ScopeKind.ESCALATION_POLICY:
            return roster.policies
        case ScopeKind.SCHEDULE:
            return roster.schedules


def _nearest(scope: Scope, roster: Roster) -> str | None:
    objects = list(_objects(scope.kind, roster))
    by_name = {one.name.casefold(): one for one in objects}
    if (named := by_name.get(scope.id.casefold())) is not None:
        return f"{named.id} (the id of {named.name!r})"
    if (near := nearest(scope.id, (one.id for one in objects))) is not None:
        return near
    alike = nearest(scope.id, by_name)
    return f"{by_name[alike].id} (the id of {by_name[alike].name!r})" if alike else None


def _people(settings: Settings, rosters: Mapping[SourceName, RosterIndex]) -> Iterator[ConfigError]:
    for link in settings.links:
        index = rosters.get(link.source)
        if index is None or index.person(link.person) is not None:
            continue
        ids = {person.id: person.id for person in index.roster.people}
        by_word = ids | {word: person.id for person in index.roster.people for word in (person.name, *person.emails)}
        near = by_word.get(link.person) or nearest(link.person, by_word)
        message = f"{link.source!r} has no person {link.person!r}"
        yield settings.root.error(
            ("links", link.subject, link.source), message, suggestion=by_word.get(near or "", near)
        )


def check_files(settings: Settings) -> tuple[ConfigError, ...]:
    """What is wrong with the signing key's file, which only the service reads, when it starts."""
    key, path = settings.storage.key_file, ("storage", "key_file")
    try:
        mode = key.stat().st_mode & 0o777
    except OSError as error:
        return (settings.root.error(path, f"{key}: {error.strerror}", expected="the key that `watchkey init` makes"),)
    if mode & 0o077:
        return (settings.root.error(path, f"{key} has mode {mode:04o}, so others can sign", expected="chmod 600"),)
    return ()
