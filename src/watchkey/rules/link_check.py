"""What is wrong with the links between subjects and people, today and since somebody last looked.

A link names a person by an immutable id, so a name that passes to somebody else opens nothing by itself; but whoever
edits the table by hand could give a leaver's name to a newcomer, and a changed address is how a takeover begins.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from watchkey.model.access import Link
from watchkey.model.ids import PersonId, SourceName, SubjectId
from watchkey.model.oncall import Person
from watchkey.rules.identity import Likeness, Links, canonical_email, find_alike, mixed_scripts
from watchkey.rules.roster import RosterIndex


class LinkTrouble(StrEnum):
    """What may be wrong with a link. Stable codes."""

    AMBIGUOUS = "ambiguous"
    """Not unique both ways, or told apart by look-alike letters only: all concerned are denied."""
    LOOK_ALIKE = "look_alike"
    """Two subjects, linked or in a group, that a reader takes for one another."""
    MIXED_SCRIPTS = "mixed_scripts"
    """A name that mixes alphabets as no language does."""
    GONE = "gone"
    """A leaver: the source does not list the person (any more)."""
    INACTIVE = "inactive"
    """A leaver: the account is deactivated, or nobody can tell that it is not."""
    SHARED_EMAIL = "shared_email"
    """Another person of the source has an address of this one."""
    EMAIL_CHANGED = "email_changed"
    """The person's addresses are not those of the last check."""
    PASSED_ON = "passed_on"
    """The subject was somebody else at the last check, or the person was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFinding:
    """One thing that somebody should look at."""

    trouble: LinkTrouble
    subjects: tuple[SubjectId, ...]
    what: str
    source: SourceName | None = None
    person: PersonId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenLink:
    """A link as somebody last found it in order. It stays when the link is taken out: then it is a tombstone."""

    subject: SubjectId
    source: SourceName
    person: PersonId
    emails: tuple[str, ...] = ()
    """In canonical form, sorted; empty when the source did not list the person."""
    is_retired: bool = False


_DENIED: Final = frozenset({Likeness.SAME_FORM, Likeness.LOOK_ALIKE})


def check_links(
    links: Sequence[Link],
    others: Iterable[SubjectId],
    rosters: Mapping[SourceName, RosterIndex],
    seen: Sequence[SeenLink],
) -> tuple[LinkFinding, ...]:
    """Find everything that is wrong. `others` are subjects known besides, e.g. those of groups.

    What concerns a source that is not among `rosters` is not looked at: nobody can tell.
    """
    found = [*_between_names(links, others), *history_findings(links, seen)]
    before = {(one.subject, one.source): one for one in seen}
    for link in links:
        index = rosters.get(link.source)
        if index is not None:
            found += _about_person(link, index, before.get((link.subject, link.source)))
    return tuple(found)


def _between_names(links: Sequence[Link], others: Iterable[SubjectId]) -> Iterator[LinkFinding]:
    problems = Links(links).problems
    for problem in problems:
        subjects = tuple(dict.fromkeys(link.subject for link in problem.links))
        yield LinkFinding(trouble=LinkTrouble.AMBIGUOUS, subjects=subjects, what=problem.why)
    told = {frozenset(link.subject for link in problem.links) for problem in problems}
    everybody = dict.fromkeys([*(link.subject for link in links), *others])
    for alike in find_alike(everybody):
        names = tuple(SubjectId(name) for name in alike.names)
        if alike.kind in _DENIED and frozenset(names) not in told:
            shown = ", ".join(ascii(name) for name in names)
            yield LinkFinding(
                trouble=LinkTrouble.LOOK_ALIKE, subjects=names, what=f"these look the same to a reader: {shown}"
            )
    for subject in everybody:
        if scripts := mixed_scripts(subject):
            what = f"{subject!a} mixes scripts: {', '.join(sorted(scripts))}"
            yield LinkFinding(trouble=LinkTrouble.MIXED_SCRIPTS, subjects=(subject,), what=what)


def history_findings(links: Sequence[Link], seen: Sequence[SeenLink]) -> tuple[LinkFinding, ...]:
    """Find names and people that have passed to somebody else since they were last found in order."""
    by_subject = {(one.subject, one.source): one for one in seen}
    by_person = {(one.person, one.source): one for one in seen}
    found: list[LinkFinding] = []
    for link in links:
        was = by_subject.get((link.subject, link.source))
        if was is not None and was.person != link.person:
            what = f"{link.subject} was {was.person} of {link.source} before, and is {link.person} now"
            found.append(_passed_on(link, what))
        had = by_person.get((link.person, link.source))
        if had is not None and had.subject != link.subject:
            what = f"{link.person} of {link.source} was {had.subject} before, and is {link.subject} now"
            found.append(_passed_on(link, what))
    return tuple(found)


def _passed_on(link: Link, what: str) -> LinkFinding:
    return LinkFinding(
        trouble=LinkTrouble.PASSED_ON, subjects=(link.subject,), source=link.source, person=link.person, what=what
    )


def _about_person(link: Link, index: RosterIndex, was: SeenLink | None) -> Iterator[LinkFinding]:
    person = index.person(link.person)

    def finding(trouble: LinkTrouble, what: str) -> LinkFinding:
        return LinkFinding(trouble=trouble, subjects=(link.subject,), source=link.source, person=link.person, what=what)

    if person is None:
        yield finding(
            LinkTrouble.GONE, f"{link.source} does not list {link.person}: deleted, or out of the configured scope"
        )
        return
    if person.active is not True:
        why = "is deactivated" if person.active is False else "may be deactivated, the source cannot tell"
        yield finding(LinkTrouble.INACTIVE, f"{person.name} ({link.person}) {why}")
    rivals = {
        other.id for email in emails_of(person) for other in index.people_by_email(email) if other.id != person.id
    }
    if rivals:
        yield finding(LinkTrouble.SHARED_EMAIL, f"{', '.join(sorted(rivals))} has an address of {link.person} too")
    if was is not None and was.person == link.person and was.emails and was.emails != emails_of(person):
        now = ", ".join(emails_of(person)) or "none"
        yield finding(LinkTrouble.EMAIL_CHANGED, f"the addresses were {', '.join(was.emails)} and are {now}")


def emails_of(person: Person) -> tuple[str, ...]:
    """The person's addresses in the form in which they are compared, sorted."""
    return tuple(sorted({canonical_email(email) for email in person.emails}))


def look_again(
    links: Sequence[Link], rosters: Mapping[SourceName, RosterIndex], seen: Sequence[SeenLink], *, accept: bool
) -> tuple[SeenLink, ...]:
    """What to remember until the next check.

    New links are remembered as they are; what has changed stays as it was until somebody accepts it, so that it is
    reported again. A link that is no longer there becomes a tombstone; it goes only when its subject and its person
    are accepted as somebody else.
    """
    before = {(one.subject, one.source): one for one in seen}
    after: dict[tuple[SubjectId, SourceName], SeenLink] = {}
    for link in links:
        was = before.get((link.subject, link.source))
        is_kept = was is not None and not accept and (was.person != link.person or bool(was.emails))
        now = was if was is not None and is_kept else _seen_now(link, rosters, was)
        after[link.subject, link.source] = replace(now, is_retired=False)
    people = {(link.person, link.source) for link in links}
    for key, was in before.items():
        if key not in after and not (accept and (was.person, was.source) in people):
            after[key] = replace(was, is_retired=True)
    return tuple(after[key] for key in sorted(after))


def _seen_now(link: Link, rosters: Mapping[SourceName, RosterIndex], was: SeenLink | None) -> SeenLink:
    index = rosters.get(link.source)
    person = None if index is None else index.person(link.person)
    if person is None:
        kept = was.emails if was is not None and was.person == link.person else ()
        return SeenLink(subject=link.subject, source=link.source, person=link.person, emails=kept)
    return SeenLink(subject=link.subject, source=link.source, person=link.person, emails=emails_of(person))
