"""Traps in what a policy answers: allows by default, times to live, old syntax."""

from collections.abc import Iterator, Sequence

from watchkey.flows.check_policy.findings import Finding, Severity
from watchkey.flows.check_policy.sight import Scene, Sight, field_of, nodes, plain
from watchkey.rego.ast import Const, Module, ObjectTerm


def answer_traps(sight: Sight, modules: Sequence[Module]) -> Iterator[Finding]:
    """Everything in this file."""
    for scene in sight.scenes:
        yield from _always(scene)
        yield from _constant_ttl(scene)
        yield from _no_reason(scene)
    for module in modules:
        yield from _old_syntax(module)


def _says_yes(scene: Scene) -> bool:
    value = scene.rule.value
    if isinstance(value, ObjectTerm):
        return any(plain(field_of(value, name)) is True for name in ("allow", "allowed"))
    return scene.rule.name in {"allow", "allowed"} and plain(value) is True


def _always(scene: Scene) -> Iterator[Finding]:
    rule = scene.rule
    if not _says_yes(scene) or (rule.body and not _is_trivial(scene)) or rule.args is not None or rule.key is not None:
        return
    how = "by default" if rule.default else "without any condition"
    yield Finding(
        rule="default-allow",
        severity=Severity.HIGH,
        location=scene.module.source.location(rule.at),
        message=f"this allows {how}: whatever else is forgotten or undefined lets everybody in",
        fix='deny by default, default decision := {"allow": false}, and allow only where a fact speaks for it',
    )


def _is_trivial(scene: Scene) -> bool:
    return all(isinstance(getattr(expr.node, "term", None), Const) for expr in scene.exprs)


def _constant_ttl(scene: Scene) -> Iterator[Finding]:
    for node in nodes([scene.exprs, scene.rule.value]):
        if isinstance(node, ObjectTerm) and plain(field_of(node, "allow")) is True:
            ttl = field_of(node, "ttl")
            if isinstance(ttl, Const):
                yield Finding(
                    rule="ttl-constant",
                    severity=Severity.LOW,
                    location=scene.place(ttl),
                    message="a constant time to live outlasts the shift; Watchkey cuts it at the shift's end, others "
                    "that ask this policy do not",
                    fix="answer input.resource.ttl_max_s, or what is left of the shift when that is less",
                )


def _no_reason(scene: Scene) -> Iterator[Finding]:
    for node in nodes([scene.exprs, scene.rule.value]):
        if not isinstance(node, ObjectTerm) or plain(field_of(node, "allow")) is not True:
            continue
        if all(field_of(node, name) is None for name in ("reason", "reasons", "evidence")):
            yield Finding(
                rule="no-reason",
                severity=Severity.LOW,
                location=scene.place(node),
                message="it allows and does not say why: nobody can tell later which rule let somebody in",
                fix='answer reasons as well, {"allow": true, "reasons": ["on_call"]}; they stand in the audit log',
            )


def _old_syntax(module: Module) -> Iterator[Finding]:
    if module.dialect != "v0":
        return
    for rule in module.rules:
        if rule.has_body and not rule.uses_if:
            yield Finding(
                rule="v0-syntax",
                severity=Severity.LOW,
                location=module.source.location(rule.at),
                message="this is Rego as before OPA 1.0, which OPA now refuses unless told otherwise",
                fix="write `if` before bodies and `contains` for sets; `opa fmt --v0-v1` does it",
            )
            return
