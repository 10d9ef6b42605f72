"""uuid.* and rand.intn."""

from __future__ import annotations

import re

import pytest

from tests.rego.builtins.calling import Context, call, is_undefined, rego
from watchkey.rego.builtins import registered
from watchkey.rego.errors import OperandError

V4 = {"version": 4, "variant": "RFC4122"}


@pytest.mark.parametrize(
    "text",
    [
        "00000000-0000-4000-8000-000000000000",
        "{00000000-0000-4000-8000-000000000000}",
        "(00000000-0000-4000-8000-000000000000)",
        "URN:uuid:00000000-0000-4000-8000-000000000000",
        "00000000000040008000000000000000",
    ],
)
def test_every_spelling(text: str) -> None:
    assert call("uuid.parse", text) == rego(V4)


def test_time_and_node_of_version_1() -> None:
    found = call("uuid.parse", "000003e8-48b9-11ee-b200-325096b39f47")
    assert found["nodeid"] == "32-50-96-b3-9f-47"
    assert found["macvariables"] == "local:unicast"
    assert found["clocksequence"] == 0x3200
    assert "id" not in found


def test_the_start_of_unix_time_in_version_1() -> None:
    assert call("uuid.parse", "13814000-1dd2-11b2-8000-000000000000")["time"] == 0


def test_domain_and_id_of_version_2() -> None:
    found = call("uuid.parse", "000003e8-48b9-21ee-b200-325096b39f47")
    assert (found["id"], found["domain"]) == (1000, "Person")
    assert call("uuid.parse", "000003e8-48b9-21ee-b209-325096b39f47")["domain"] == "Domain9"


@pytest.mark.parametrize(
    ("octet", "variant"), [("0", "Reserved"), ("c", "Microsoft"), ("e", "Future"), ("b", "RFC4122")]
)
def test_variants(octet: str, variant: str) -> None:
    assert call("uuid.parse", f"00000000-0000-4000-{octet}000-000000000000")["variant"] == variant


@pytest.mark.parametrize(
    "text", ["", "x", "00000000-0000-4000-8000-00000000000g", "00000000+0000-4000-8000-000000000000"]
)
def test_what_is_no_uuid_is_undefined(text: str) -> None:
    assert is_undefined(call("uuid.parse", text))


def test_uuids_follow_from_seed_and_key() -> None:
    first = call("uuid.rfc4122", "a")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first)
    assert call("uuid.rfc4122", "a") == first
    assert call("uuid.rfc4122", "b") != first
    other = Context()
    other.seed = b"other"
    assert call("uuid.rfc4122", "a", ctx=other) != first


def test_numbers_are_within_their_range() -> None:
    drawn = {call("rand.intn", str(key), 3) for key in range(60)}
    assert drawn == {0, 1, 2}
    assert call("rand.intn", "k", -3) in (0, 1, 2)
    assert call("rand.intn", "k", 0) == 0


def test_numbers_want_an_integer() -> None:
    with pytest.raises(OperandError, match="operand 2 must be integer number"):
        call("rand.intn", "k", 1.5)


@pytest.mark.parametrize("name", ["uuid.rfc4122", "rand.intn"])
def test_what_is_drawn_needs_a_seed(name: str) -> None:
    assert registered()[name].needs_seed
