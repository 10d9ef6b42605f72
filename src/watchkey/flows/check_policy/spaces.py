"""White space that a reader does not see: blanks that Rego does not know, carriage returns, trailing blanks."""

from collections.abc import Iterator

from watchkey.flows.check_policy.findings import Finding, Severity
from watchkey.rego import normalise_spaces
from watchkey.rego.source import Source, is_odd_space


def space_findings(name: str, text: str) -> Iterator[Finding]:
    """One finding for each kind, at the first place, with how often it occurs."""
    yield from _finding(
        "odd-spaces",
        Source(name, text),
        [i for i, char in enumerate(text) if is_odd_space(char)],
        "not plain spaces, as text copied from a web page has them",
    )
    yield from _finding(
        "carriage-returns",
        Source(name, text),
        [i for i, char in enumerate(text) if char == "\r"],
        "carriage returns, which count in raw strings and in the policy's hash",
    )
    ends = [i for i in range(len(text)) if text[i] in " \t" and text[i + 1 : i + 2] in {"", "\n", "\r"}]
    yield from _finding("trailing-blanks", Source(name, text), ends, "lines that end with blanks")
    if text and not text.endswith("\n"):
        yield from _finding("last-line", Source(name, text), [len(text) - 1], "last lines without an end")


def _finding(rule: str, source: Source, places: list[int], what: str) -> Iterator[Finding]:
    if places:
        yield Finding(
            rule=rule,
            severity=Severity.LOW,
            location=source.location(places[0]),
            message=f"{len(places)} {what}; the first is here",
            fix="`watchkey policy fmt-check --normalise FILE` writes a copy without them",
        )


def normalised(text: str) -> str:
    """The text without any of these; in string literals too, since a pasted text does not tell what was meant."""
    lines = normalise_spaces(text)[0].replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip(" \t") for line in lines).rstrip("\n") + "\n"
