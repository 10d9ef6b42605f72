"""Whether two names may mean one person: it warns and proposes; what matches is an immutable id, never a name."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from watchkey.model.access import Link
from watchkey.model.ids import PersonId, SourceName, SubjectId
from watchkey.model.oncall import Person

# -- forms in which collisions show ------------------------------------------------------------------------------

_ACE: Final = "xn--"
"""Opens a domain label that is written in ASCII but means Unicode (RFC 5890)."""


def canonical_name(text: str) -> str:
    """Bring a subject or a name into the form in which collisions show: NFKC, case folded, without outer blanks.

    Applying it twice changes nothing: folding can undo NFKC and the other way round, so both run until neither does.
    """
    if text.isascii():
        return text.strip().casefold()
    while (folded := unicodedata.normalize("NFKC", text).casefold().strip()) != text:
        text = folded
    return text


def canonical_email(address: str) -> str:
    """Bring an address into its form of comparison: `canonical_name`, and domain labels in Unicode.

    The local part is folded too, although RFC 5321 lets a host tell cases apart: this form only proposes and warns.
    """
    name = canonical_name(address)
    local, at, domain = name.rpartition("@")
    if not at or _ACE not in domain:
        return name
    return f"{local}@{'.'.join(_decoded_label(label) for label in domain.split('.'))}"


def _decoded_label(label: str) -> str:
    if not label.startswith(_ACE):
        return label
    try:
        return canonical_name(label.removeprefix(_ACE).encode("ascii").decode("punycode"))
    except (UnicodeError, OverflowError):
        return label  # not an encoding of anything: it can only collide with itself


# Letters that print like a Latin one, after case folding; most name attacks need no more than these.
_LOOKS_LIKE: Final = str.maketrans(
    {
        **dict(zip("авеёкмнорстухіїјѕԁһӏԛԝɡ", "abeekmhopctyxiijsdhlqwg", strict=True)),
        **dict(zip("αβγεικνορτυχωϲϳ", "abyeiknoptuxwcj", strict=True)),
        **dict(zip("ıɩɑɪօսոհցզ", "iiaiounhgq", strict=True)),
        "\u0307": None,  # the dot that lower-casing a dotted capital I leaves behind
        "\u200b": None,
        "\u200c": None,
        "\u200d": None,
        "\u2060": None,
        "\u00ad": None,
    }
)
_PLUS_TAG: Final = re.compile(r"\+[^@]*(?=@|$)")


def _seen_form(name: str) -> str:
    """What a reader sees: the canonical form with look-alike letters made equal and invisible ones dropped."""
    return canonical_name(canonical_email(name).translate(_LOOKS_LIKE))


def _untagged_form(name: str) -> str:
    return _PLUS_TAG.sub("", _seen_form(name), count=1)


class Likeness(StrEnum):
    """In what two different names are alike, from nearest to farthest."""

    SAME_FORM = "same_form"
    """They differ by case, width, blanks at the ends, or the encoding of the domain."""
    LOOK_ALIKE = "look_alike"
    """They differ by letters that look the same, or by invisible ones."""
    PLUS_TAG = "plus_tag"
    """They differ by what follows a plus sign, which many mail hosts ignore."""


_FORMS: Final[Mapping[Likeness, Callable[[str], str]]] = {
    Likeness.SAME_FORM: canonical_email,
    Likeness.LOOK_ALIKE: _seen_form,
    Likeness.PLUS_TAG: _untagged_form,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AlikeNames:
    """Names that somebody may take for one another; at least two, in order."""

    kind: Likeness
    names: tuple[str, ...]


def find_alike(names: Iterable[str]) -> tuple[AlikeNames, ...]:
    """Find the names that are alike, each group under the nearest kind that holds it together."""
    distinct = sorted(set(names))
    found: dict[tuple[str, ...], Likeness] = {}
    for kind, form in _FORMS.items():
        groups: dict[str, list[str]] = defaultdict(list)
        for name in distinct:
            groups[form(name)].append(name)
        for group in groups.values():
            if len(group) > 1:
                found.setdefault(tuple(group), kind)
    return tuple(AlikeNames(kind=kind, names=group) for group, kind in found.items())


_TOGETHER: Final = (
    frozenset({"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "LATIN"}),
    frozenset({"CJK", "HANGUL", "LATIN"}),
    frozenset({"CJK", "BOPOMOFO", "LATIN"}),
)
"""Scripts that one word may mix in ordinary writing (UTS 39, highly restrictive)."""


def mixed_scripts(name: str) -> frozenset[str]:
    """Return the scripts that one word of the name mixes although no language does; empty when all is well."""
    for word in re.split(r"[^\w]+|_", unicodedata.normalize("NFKC", name)):
        scripts = frozenset(unicodedata.name(letter, "?").split()[0] for letter in word if letter.isalpha())
        if len(scripts) > 1 and not any(scripts <= together for together in _TOGETHER):
            return scripts
    return frozenset()


# -- the table of links ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Ambiguous:
    """A subject for whom the table has more than one answer; nobody concerned is let in."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkProblem:
    """Links that contradict each other; all subjects in them are denied."""

    why: str
    links: tuple[Link, ...]


class Links:
    """Which subject is which person, per source. Unique both ways: what is not is `Ambiguous`, never a guess.

    A subject is found by its exact text only. Subjects of one source whose texts are told apart by case, width or
    look-alike letters are a contradiction too, unless they mean different sources.
    """

    __slots__ = ("_ambiguous", "_by_form", "_persons", "_subjects", "problems")

    def __init__(self, links: Iterable[Link] = ()) -> None:
        distinct = tuple(dict.fromkeys(links))
        self.problems: tuple[LinkProblem, ...] = tuple(_problems(distinct))
        self._persons: Final = {(link.subject, link.source): link.person for link in distinct}
        self._subjects: Final = {(link.person, link.source): link.subject for link in distinct}
        self._by_form: Final = {_seen_form(link.subject): link.subject for link in distinct}
        self._ambiguous: Final = {
            (link.subject, link.source): Ambiguous(why=problem.why)
            for problem in self.problems
            for link in problem.links
        }

    @property
    def linked(self) -> Iterable[tuple[SubjectId, SourceName]]:
        """Every subject and source that stand in the table together, clear or not."""
        return self._persons

    def person_of(self, subject: SubjectId, source: SourceName) -> PersonId | Ambiguous | None:
        """Return the person that the subject is in the source; None when nobody has linked them."""
        key = (subject, source)
        return self._ambiguous.get(key) or self._persons.get(key)

    def looks_like(self, subject: SubjectId) -> SubjectId | None:
        """Return another linked subject that a reader takes this one for; None when there is none."""
        found = self._by_form.get(_seen_form(subject))
        return None if found == subject else found

    def subject_of(self, person: PersonId, source: SourceName) -> SubjectId | None:
        """Return the one subject that is this person; None when there is none, or when it is ambiguous."""
        found = self.linked_to(person, source)
        return None if isinstance(found, Ambiguous) else found

    def linked_to(self, person: PersonId, source: SourceName) -> SubjectId | Ambiguous | None:
        """Return who this person is: the one subject, None when there is none, and why when it is not clear who."""
        subject = self._subjects.get((person, source))
        return None if subject is None else self._ambiguous.get((subject, source), subject)


def _problems(links: tuple[Link, ...]) -> Iterable[LinkProblem]:
    by_subject: dict[tuple[SourceName, str], list[Link]] = defaultdict(list)
    by_person: dict[tuple[SourceName, PersonId], list[Link]] = defaultdict(list)
    by_form: dict[tuple[SourceName, str], list[Link]] = defaultdict(list)
    for link in links:
        by_subject[link.source, link.subject].append(link)
        by_person[link.source, link.person].append(link)
        by_form[link.source, _seen_form(link.subject)].append(link)
    for (source, subject), group in by_subject.items():
        if len(group) > 1:
            persons = ", ".join(sorted(link.person for link in group))
            yield LinkProblem(why=f"{subject!r} is linked to several people in {source}: {persons}", links=tuple(group))
    for (source, person), group in by_person.items():
        if len(group) > 1:
            subjects = ", ".join(sorted(repr(link.subject) for link in group))
            why = f"{person!r} in {source} is linked to several subjects: {subjects}"
            yield LinkProblem(why=why, links=tuple(group))
    for (source, _), group in by_form.items():
        if len({link.subject for link in group}) > 1:
            subjects = ", ".join(sorted(ascii(link.subject) for link in group))
            why = f"subjects linked in {source} look the same: {subjects}"
            yield LinkProblem(why=why, links=tuple(group))


# -- proposals ---------------------------------------------------------------------------------------------------


class PeopleByEmail(Protocol):
    """What a proposal needs of a roster; `RosterIndex` has it."""

    @property
    def source(self) -> SourceName:
        """The source that was read."""
        ...

    def people_by_email(self, canonical: str) -> tuple[Person, ...]:
        """Everybody with an address of that canonical form."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A link that somebody may confirm, or why there is none to confirm."""

    subject: SubjectId
    link: Link | None
    why_not: str = ""
    candidates: tuple[Person, ...] = ()


def propose_links(subjects: Iterable[SubjectId], index: PeopleByEmail) -> tuple[Proposal, ...]:
    """Propose a link for each subject that has the address of exactly one person, whom no other subject here is like.

    A proposal opens nothing: only a confirmed link in the table does.
    """
    distinct = tuple(dict.fromkeys(subjects))
    rivals: dict[str, list[SubjectId]] = defaultdict(list)
    claims: dict[PersonId, list[SubjectId]] = defaultdict(list)
    for subject in distinct:
        rivals[_seen_form(subject)].append(subject)
        for person in index.people_by_email(canonical_email(subject)):
            claims[person.id].append(subject)
    return tuple(_proposal(subject, index, rivals[_seen_form(subject)], claims) for subject in distinct)


def _proposal(
    subject: SubjectId, index: PeopleByEmail, rivals: list[SubjectId], claims: Mapping[PersonId, list[SubjectId]]
) -> Proposal:
    candidates = index.people_by_email(canonical_email(subject))
    if not candidates:
        why_not = f"nobody in {index.source} has this address"
    elif len(candidates) > 1:
        why_not = f"several people in {index.source} have this address: {', '.join(one.id for one in candidates)}"
    elif candidates[0].active is not True:
        why_not = f"{candidates[0].id} is not known to be active in {index.source}"
    elif len(claims[candidates[0].id]) > 1 or len(rivals) > 1:
        others = sorted({*claims[candidates[0].id], *rivals} - {subject})
        why_not = f"other subjects may be the same: {', '.join(ascii(one) for one in others)}"
    elif scripts := mixed_scripts(subject):
        why_not = f"the name mixes scripts: {', '.join(sorted(scripts))}"
    else:
        link = Link(subject=subject, source=index.source, person=candidates[0].id)
        return Proposal(subject=subject, link=link, candidates=candidates)
    return Proposal(subject=subject, link=None, why_not=why_not, candidates=candidates)
