"""JUnit XML of any result, hostile names included."""

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from watchkey.entrypoints.cli.policy_junit import junit_xml
from watchkey.flows.test_policy import Result, Status
from watchkey.rego import Location

results = st.lists(
    st.builds(
        Result,
        name=st.text(max_size=20),
        location=st.builds(
            Location, file=st.sampled_from(["a.rego", "b.yaml"]), line=st.integers(1, 9), column=st.just(1)
        ),
        status=st.sampled_from(Status),
        message=st.text(max_size=20),
        prints=st.lists(st.text(max_size=20), max_size=2).map(tuple),
        seconds=st.floats(0, 5),
    ),
    max_size=6,
)


@given(results)
def test_it_can_be_read_and_its_numbers_are_right(given_results: list[Result]) -> None:
    root = ET.fromstring(junit_xml(given_results).encode())  # noqa: S314 -- our own
    cases = list(root.iter("testcase"))
    assert len(cases) == len(given_results) == int(root.attrib["tests"])
    for tag, status in (("failure", Status.FAILED), ("error", Status.ERROR), ("skipped", Status.SKIPPED)):
        wanted = sum(result.status is status for result in given_results)
        assert len(list(root.iter(tag))) == wanted
        assert sum(int(suite.attrib[f"{tag}s" if tag != "skipped" else tag]) for suite in root) == wanted


def test_a_failure_says_where_and_why() -> None:
    place = Location(file="a.rego", line=7, column=1)
    result = Result(name="n", location=place, status=Status.FAILED, message="it is\x00 false", prints=("p",))
    (case,) = ET.fromstring(junit_xml([result])).iter("testcase")  # noqa: S314 -- our own
    assert (case.attrib["file"], case.attrib["line"]) == ("a.rego", "7")
    failure, output = case.find("failure"), case.find("system-out")
    assert failure is not None
    assert output is not None
    assert (failure.attrib["message"], output.text) == ("it is\ufffd false", "p")
