"""Test results as JUnit XML, which build servers read."""

import re
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree as ET

from watchkey.flows.test_policy import Result, Status

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document may hold, escaped or not."""


def junit_xml(results: Sequence[Result]) -> str:
    """One suite for each file, in the order of the results."""
    root = ET.Element("testsuites", _counts(results))
    for file in dict.fromkeys(result.location.file for result in results):
        inside = [result for result in results if result.location.file == file]
        suite = ET.SubElement(root, "testsuite", {"name": _clean(file), **_counts(inside)})
        for result in inside:
            _case(suite, result)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(results: Sequence[Result]) -> dict[str, str]:
    def count(status: Status) -> str:
        return str(sum(result.status is status for result in results))

    return {
        "tests": str(len(results)),
        "failures": count(Status.FAILED),
        "errors": count(Status.ERROR),
        "skipped": count(Status.SKIPPED),
        "time": f"{sum(result.seconds for result in results):.6f}",
    }


def _case(suite: ET.Element, result: Result) -> None:
    fields = {
        "name": _clean(result.name),
        "classname": _clean(result.location.file),
        "file": _clean(result.location.file),
        "line": str(result.location.line),
        "time": f"{result.seconds:.6f}",
    }
    case = ET.SubElement(suite, "testcase", fields)
    tag = {Status.FAILED: "failure", Status.ERROR: "error", Status.SKIPPED: "skipped"}.get(result.status)
    if tag is not None:
        ET.SubElement(case, tag, {"message": _clean(result.message)})
    if result.prints:
        ET.SubElement(case, "system-out").text = _clean("\n".join(result.prints))


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
