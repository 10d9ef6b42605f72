"""Traps in how a policy reads the facts: levels, times, scope, permanent on-calls, people, types."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from watchkey.flows.check_policy.findings import Finding, Severity
from watchkey.flows.check_policy.sight import Scene, Sight, nodes, operator, plain, small_and_large
from watchkey.rego.ast import Array, Call, Const, ObjectTerm, Ref, SetTerm, Unify, Var

_LEVELS: Final = frozenset({"level", "escalation_level"})
_MAILS: Final = frozenset({"email", "emails", "mail", "e_mail", "mails"})
_LISTS: Final = frozenset({"users", "oncalls", "on_call", "responding", "incidents", "responders", "schedules"})
_TEXT_TIMES: Final = frozenset({"now", "starts_at", "until", "since", "start", "end"})
_VALUES: Final = (Const, Array, ObjectTerm, SetTerm)
_FOLDING: Final = frozenset({"lower", "upper"})


def fact_traps(sight: Sight) -> Iterator[Finding]:
    """Everything in this file, over all scenes."""
    for scene in sight.scenes:
        for call, is_negated in scene.comparisons():
            yield from _levels(scene, call, is_negated=is_negated)
            yield from _types(sight, scene, call)
            yield from _times(scene, call)
        yield from _mails(scene)
        yield from _first_only(scene)
    yield from _permanent(sight)
    yield from _no_responders(sight)
    yield from _no_provenance(sight)
    yield from _one_answer(sight)


def _is_level(scene: Scene, term: Any) -> bool:
    path = scene.path(term)
    return len(path) > 1 and path[-1] in _LEVELS


def _levels(scene: Scene, call: Call, *, is_negated: bool) -> Iterator[Finding]:
    sides = small_and_large(call)
    if sides is None:
        return
    small, large = sides
    if is_negated and (_is_level(scene, small) or _is_level(scene, large)):
        yield Finding(
            rule="level-negated",
            severity=Severity.HIGH,
            location=scene.place(call),
            message="`not` in front of a comparison of levels lets everybody in whose level is missing",
            fix="say what must hold: is_number(level) and level <= max_level, without `not`",
        )
    elif _is_level(scene, large) and not _is_level(scene, small):
        yield Finding(
            rule="level-floor",
            severity=Severity.HIGH,
            location=scene.place(call),
            message="this makes the escalation level a floor; level 1 is paged first, so a floor of 1 means nothing, "
            "and one of 2 shuts out the primary and lets the back-ups and managers in",
            fix="turn it round into a ceiling, level <= max_level, and call the parameter max_level instead of min_…",
        )


def _types(sight: Sight, scene: Scene, call: Call) -> Iterator[Finding]:
    sides = small_and_large(call)
    if sides is None:
        return
    small, large = sides
    odd = next((side for side in sides if isinstance(side, _VALUES) and not _is_number(side)), None)
    if odd is not None and not (isinstance(plain(odd), str) and not any(_is_level(scene, side) for side in sides)):
        yield _cross_type(scene, call, f"{_kind(odd)} is compared by order")
        return
    loose = [side for side in (small, large) if _is_loose(sight, scene, side)]
    if loose:
        what = "level" if any(_is_level(scene, side) for side in loose) else "parameter"
        yield _cross_type(scene, call, f"nothing makes sure that this {what} is a number")


def _cross_type(scene: Scene, call: Call, message: str) -> Finding:
    return Finding(
        rule="cross-type",
        severity=Severity.MEDIUM,
        location=scene.place(call),
        message=f"{message}; in Rego null is below every number and text above, so such a value decides by its type",
        fix="put is_number(…) of each side before the comparison, so that anything else is undefined and denies",
    )


def _is_number(side: Any) -> bool:
    value = plain(side)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_loose(sight: Sight, scene: Scene, side: Any) -> bool:
    """Whether a side may be of any type: an unguarded level, or a parameter, also one behind a rule of its name."""
    if not isinstance(side, Ref | Var) or scene.guarded(side):
        return False
    if _is_level(scene, side) or scene.path(side)[:2] == ("data", "policyparams"):
        return True
    name = side.name if isinstance(side, Var) else None
    return any(
        one.rule.name == name and one.rule.args is None and one.rule.value is not None and _is_parameter(one)
        for one in sight.scenes
    )


def _is_parameter(scene: Scene) -> bool:
    value = scene.rule.value
    return scene.path(value)[:2] == ("data", "policyparams") and not scene.guarded(value)


def _kind(side: Any) -> str:
    if not isinstance(side, Const):
        return "a collection"
    value = plain(side)
    if value is None:
        return "null"
    return "a boolean" if isinstance(value, bool) else "a text" if isinstance(value, str) else "a collection"


def _times(scene: Scene, call: Call) -> Iterator[Finding]:
    sides = small_and_large(call)
    if sides is None:
        return
    small, large = (scene.path(side) for side in sides)
    if any(len(path) > 1 and path[-1] in _TEXT_TIMES for path in (small, large)):
        yield Finding(
            rule="text-time",
            severity=Severity.MEDIUM,
            location=scene.place(call),
            message="instants are compared as text; two spellings of one instant (Z, +00:00, fractions) differ",
            fix="compare the fields that end in _ns, or time.parse_rfc3339_ns(…) of both sides",
        )
    elif call.target in {"lte", "gte"} and large[-1:] == ("until_ns",) and small[-1:] == ("now_ns",):
        yield Finding(
            rule="closed-end",
            severity=Severity.LOW,
            location=scene.place(call),
            message="the last instant counts twice: a shift is half-open, its end belongs to the next one",
            fix="write input.now_ns < shift.until_ns",
        )


def _mails(scene: Scene) -> Iterator[Finding]:
    for node in nodes([scene.exprs, scene.rule.value]):
        sides: list[Any] = []
        if isinstance(node, Unify) and not node.assign:
            sides = [node.left, node.right]
        elif isinstance(node, Call) and (node.target == "equal" or node.target.startswith("internal.member")):
            sides = list(node.args)
        folded = [isinstance(side, Call) and operator(side) in _FOLDING for side in sides]
        bare = [side.args[0] if is_folded else side for side, is_folded in zip(sides, folded, strict=True)]
        if not any(len(path := scene.path(side)) > 1 and _MAILS.intersection(path[-2:]) for side in bare):
            continue
        place = scene.place(node if isinstance(node, Call) else sides[0])
        yield Finding(
            rule="mail-identity",
            severity=Severity.MEDIUM,
            location=place,
            message="an e-mail address is taken as identity; people can change their own, and so lend a shift",
            fix="compare ids: input.subject.id is linked to the person's immutable id under `links`",
        )
        if not all(folded):
            yield Finding(
                rule="mail-case",
                severity=Severity.MEDIUM,
                location=place,
                message="e-mail addresses are compared with regard to case; Ann@ and ann@ are one mailbox",
                fix="compare lower(…) of both sides, and only to propose a link, never to decide",
            )


def _first_only(scene: Scene) -> Iterator[Finding]:
    seen: set[str] = set()
    for node in nodes([scene.exprs, scene.rule.value]):
        if not isinstance(node, Ref):
            continue
        path = scene.path(node)
        for name, step in pairwise(path):
            place = scene.place(node)
            if name in _LISTS and isinstance(step, int) and str(place) not in seen:
                seen.add(str(place))
                yield Finding(
                    rule="first-only",
                    severity=Severity.MEDIUM,
                    location=place,
                    message=f"only one of the {name} is looked at; a search is fuzzy and its order nobody's promise",
                    fix=f"look at all of them: some one in {name}, and compare the exact id",
                )


def _permanent(sight: Sight) -> Iterator[Finding]:
    used = next(sight.on_call_uses(), None)
    if used is None or sight.reads_any("end", "end_kind", "until", "until_ns", "provenance", "ends_at"):
        return
    scene, node = used
    yield Finding(
        rule="permanent-on-call",
        severity=Severity.HIGH,
        location=scene.place(node),
        message="the end of a shift is never looked at: a person named directly on a level is on call for ever, which "
        "is standing access",
        fix='refuse entries without an end (end_kind "permanent", or end null); Watchkey does so unless `opens` says '
        "otherwise",
    )


def _no_responders(sight: Sight) -> Iterator[Finding]:
    used = next(sight.on_call_uses(), None)
    if used is None or sight.reads_any("responding", "incidents", "incident", "responders"):
        return
    scene, node = used
    yield Finding(
        rule="no-responders",
        severity=Severity.LOW,
        location=scene.place(node),
        message="only who is on call gets in; a responder to an open incident of the service does not",
        fix="let input.responding count as well, in the roles of input.resource.incident_roles, if that is meant",
    )


def _no_provenance(sight: Sight) -> Iterator[Finding]:
    used = next(sight.on_call_uses(), None)
    if used is None or sight.reads_any("provenance", "opens"):
        return
    scene, node = used
    yield Finding(
        rule="no-provenance",
        severity=Severity.MEDIUM,
        location=scene.place(node),
        message="where a shift comes from is never looked at: an override that its holder made for himself minutes ago "
        "counts like the published rota; Watchkey's own `opens` still holds, others that ask this policy have nothing",
        fix="let the grade decide: input.privilege in input.resource.opens[shift.provenance]",
    )


def _one_answer(sight: Sight) -> Iterator[Finding]:
    used = next(sight.on_call_uses(), None)
    if used is None or sight.reads_any("privilege", "resource"):
        return
    scene, node = used
    yield Finding(
        rule="one-answer",
        severity=Severity.LOW,
        location=scene.place(node),
        message="neither what is asked for nor where is looked at: reading a test database and writing to production "
        "get the same answer",
        fix="look at input.privilege and input.resource, or say so: a comment `# watchkey: allow one-answer: why`",
    )
