"""``# METADATA`` blocks: reads their YAML and finds the package or rule that each describes."""

from __future__ import annotations

from typing import Any, Final

import yaml

from watchkey.rego.ast import Annotation, Module
from watchkey.rego.errors import RegoError, RegoErrors
from watchkey.rego.lexer import PARSE_ERROR, Comment
from watchkey.rego.source import Source

_SCOPES: Final = frozenset({"rule", "document", "package", "subpackages"})


def read_annotations(source: Source, comments: list[Comment]) -> list[Annotation]:
    """Every metadata block of a file; raises RegoErrors where the YAML is broken."""
    found: list[Annotation] = []
    index = 0
    while index < len(comments):
        comment = comments[index]
        index += 1
        if comment.text.strip() != "METADATA" or source.column_of(comment.start) != 1:
            continue
        lines: list[str] = []
        line = source.line_of(comment.start)
        while index < len(comments) and source.line_of(comments[index].start) == line + 1:
            if source.column_of(comments[index].start) != 1 or comments[index].text.strip() == "METADATA":
                break
            lines.append(comments[index].text)
            line += 1
            index += 1
        found.append(_annotation(source, comment.start, lines, line))
    return found


def _annotation(source: Source, at: int, lines: list[str], end_line: int) -> Annotation:
    try:
        content: Any = yaml.safe_load("\n".join(lines))
    except (yaml.YAMLError, ValueError, RecursionError):
        raise RegoErrors([source.error(PARSE_ERROR, "metadata block is not valid YAML", at)]) from None
    if content is None:
        raise RegoErrors([source.error(PARSE_ERROR, "expected METADATA block, found whitespace", at)])
    if not isinstance(content, dict):
        raise RegoErrors([source.error(PARSE_ERROR, "metadata block is not a YAML mapping", at)])
    scope = content.get("scope", "")
    if scope and scope not in _SCOPES:
        raise RegoErrors([source.error(PARSE_ERROR, f"invalid scope '{scope}' in metadata block", at)])
    return Annotation(str(scope), content, at, end_line)


def attach_annotations(found: list[Annotation], module: Module) -> list[Annotation]:
    """Give each block its default scope and the statement that follows it; raises RegoErrors where they do not fit."""
    starts = sorted([(module.package_at, "package"), *((rule.at, "rule") for rule in module.rules)])
    for annotation in found:
        following = next(((at, kind) for at, kind in starts if at > annotation.at), None)
        if following is None:
            if annotation.scope:
                raise RegoErrors([_misplaced(module, annotation, "")])
            annotation.scope = "rule"
            continue
        annotation.target, kind = following
        if not annotation.scope:
            annotation.scope = "document" if kind == "rule" and annotation.content.get("entrypoint") is True else kind
        if (kind == "package") != (annotation.scope in ("package", "subpackages")):
            raise RegoErrors([_misplaced(module, annotation, kind)])
    return found


def _misplaced(module: Module, annotation: Annotation, kind: str) -> RegoError:
    wanted = "package" if annotation.scope in ("package", "subpackages") else "rule"
    have = f" (have {kind})" if kind else ""
    message = f"annotation scope '{annotation.scope}' must be applied to {wanted}{have}"
    return module.source.error(PARSE_ERROR, message, annotation.at)
