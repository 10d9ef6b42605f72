"""The values of ``rego.metadata.chain()`` and ``rego.metadata.rule()``, known when a policy is compiled."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from watchkey.rego.ast import Annotation, Module
from watchkey.rego.resolve import ResolvedRule
from watchkey.rego.values import EMPTY_OBJECT, TRUE, Object, from_json

_AUTHOR: Final = re.compile(r"(?P<name>[^<]*?)\s*(?:<(?P<email>[^>]*)>)?\s*")
_PLAIN_FIELDS: Final = ("title", "description", "organizations", "custom", "labels", "schemas")


class Metadata:
    """The annotations of all modules."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self._modules = list(modules)

    def rule(self, rule: ResolvedRule) -> Object:
        """The annotation of a rule, empty where it has none."""
        found = self._of_rule(rule)
        return annotation_value(found[0]) if found else EMPTY_OBJECT

    def chain(self, rule: ResolvedRule) -> tuple[Object, ...]:
        """The annotations that apply to a rule, from the nearest outward; the first entry is the rule's own."""
        path = tuple(rule.prefix[1:])
        own = self._of_rule(rule)
        links = [_link(path, each) for each in reversed(own)] or [Object({"path": path})]
        links.extend(_link(path, each) for each in self._of_document(rule))
        package = rule.package
        links.extend(
            _link(package[1:], each) for module, each in self._scoped("package") if tuple(module.package) == package
        )
        outer = [
            (tuple(module.package), each)
            for module, each in self._scoped("subpackages")
            if package[: len(module.package)] == tuple(module.package)
        ]
        links.extend(_link(at[1:], each) for at, each in sorted(outer, key=lambda pair: -len(pair[0])))
        return tuple(links)

    def _of_rule(self, rule: ResolvedRule) -> list[Annotation]:
        if rule.module is None:
            return []
        return [each for each in rule.module.annotations if each.scope == "rule" and each.target == rule.at]

    def _of_document(self, rule: ResolvedRule) -> list[Annotation]:
        found: list[Annotation] = []
        for module, each in self._scoped("document"):
            if tuple(module.package) != rule.package:
                continue
            named = next((other.name for other in module.rules if other.at == each.target), "")
            if (*rule.package, named) == rule.prefix[: len(rule.package) + 1]:
                found.append(each)
        return found[:1]

    def _scoped(self, scope: str) -> list[tuple[Module, Annotation]]:
        return [(module, each) for module in self._modules for each in module.annotations if each.scope == scope]


def _link(path: tuple[Any, ...], annotation: Annotation) -> Object:
    return Object({"path": tuple(path), "annotations": annotation_value(annotation)})


def annotation_value(annotation: Annotation) -> Object:
    """An annotation as OPA shows it."""
    content = annotation.content
    shown: dict[str, Any] = {"scope": annotation.scope}
    for name in _PLAIN_FIELDS:
        if content.get(name):
            shown[name] = from_json(content[name])
    if content.get("entrypoint") is True:
        shown["entrypoint"] = TRUE
    if content.get("authors"):
        shown["authors"] = tuple([_author(each) for each in content["authors"]])
    if content.get("related_resources"):
        shown["related_resources"] = tuple([_resource(each) for each in content["related_resources"]])
    return Object(shown)


def _author(author: Any) -> Object:
    if isinstance(author, dict):
        return Object({key: str(author[key]) for key in ("name", "email") if author.get(key)})
    match = _AUTHOR.fullmatch(str(author).strip())
    fields = match.groupdict() if match is not None else {"name": str(author)}
    return Object({key: value for key, value in fields.items() if value})


def _resource(resource: Any) -> Object:
    if isinstance(resource, dict):
        return Object({key: str(resource[key]) for key in ("ref", "description") if resource.get(key)})
    return Object({"ref": str(resource)})
