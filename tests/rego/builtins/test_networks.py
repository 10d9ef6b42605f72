"""net.cidr_*: membership, overlap, expansion, merging."""

from __future__ import annotations

from ipaddress import IPv4Network, collapse_addresses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rego.builtins.calling import Context, call, rego
from watchkey.rego.builtins import registered
from watchkey.rego.errors import BuiltinError, LimitExceeded, OperandError
from watchkey.rego.values import FALSE, TRUE


@pytest.mark.parametrize(
    ("outer", "inner", "wanted"),
    [
        ("10.0.0.0/8", "10.1.2.3", TRUE),
        ("10.0.0.0/8", "11.0.0.0", FALSE),
        ("10.0.0.0/8", "10.0.0.0/7", FALSE),
        ("10.1.2.3/8", "10.255.0.0/16", TRUE),
        ("::/0", "::1", TRUE),
        ("::/0", "1.2.3.4", FALSE),
        ("0.0.0.0/0", "::1", FALSE),
        ("10.0.0.0/8", "::ffff:10.1.2.3", TRUE),
        ("::ffff:10.0.0.0/104", "10.1.2.3", TRUE),
        ("::/80", "::/80", TRUE),
        ("2001:db8::/32", "2001:db8:1::/48", TRUE),
    ],
)
def test_contains(outer: Any, inner: Any, wanted: Any) -> None:
    assert call("net.cidr_contains", outer, inner) is wanted
    assert call("net.cidr_overlap", outer, inner) is wanted


@pytest.mark.parametrize(
    "text", ["", "x", "10.0.0.0", "10.0.0/8", "010.0.0.0/8", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "fe80::1%eth0/64",
             "10.0.0.0/\uff18", "10.0.0.0/8/9", " 10.0.0.0/8"]
)  # fmt: skip
def test_blocks_that_are_not(text: str) -> None:
    assert call("net.cidr_is_valid", text) is FALSE
    with pytest.raises(BuiltinError, match="invalid CIDR address"):
        call("net.cidr_contains", text, "10.0.0.1")


def test_leading_zeros_of_a_length_do_not_matter() -> None:
    assert call("net.cidr_is_valid", "10.0.0.0/" + "0" * 5000 + "8") is TRUE


def test_what_is_neither_address_nor_block() -> None:
    with pytest.raises(BuiltinError, match="not a valid textual representation of an IP address or CIDR: nope"):
        call("net.cidr_contains", "10.0.0.0/8", "nope")


def test_validity_of_what_is_no_text_is_false_not_an_error() -> None:
    assert call("net.cidr_is_valid", 1) is FALSE


def test_intersects() -> None:
    assert call("net.cidr_intersects", "192.168.1.0/25", "192.168.1.64/26") is TRUE
    assert call("net.cidr_intersects", "192.168.1.0/25", "192.168.1.128/25") is FALSE
    assert call("net.cidr_intersects", "::/0", "0.0.0.0/0") is FALSE


def test_matches_name_elements_by_index_key_or_value() -> None:
    assert call("net.cidr_contains_matches", ["1.1.2.0/24", "1.1.1.0/24"], ["1.1.1.1"]) == rego({(1, 0)})
    assert call("net.cidr_contains_matches", {"k": ["1.1.1.1/24", 1]}, "1.1.1.9") == rego({("k", "1.1.1.9")})
    pair = ("1.1.1.0/24", "bar")
    assert call("net.cidr_contains_matches", {pair}, {"1.1.1.1"}) == rego({(pair, "1.1.1.1")})


@pytest.mark.parametrize("element", [1, [], None])
def test_matches_refuse_elements(element: Any) -> None:
    with pytest.raises(BuiltinError, match="operand 2: element must be string or non-empty array"):
        call("net.cidr_contains_matches", "1.1.1.0/24", [element])


def test_matches_refuse_a_tuple_that_does_not_start_with_a_text() -> None:
    with pytest.raises(OperandError, match="operand 1 must be string but got number"):
        call("net.cidr_contains_matches", [[1]], ["1.1.1.1"])


def test_expand() -> None:
    wanted = {f"172.16.100.{last}" for last in (252, 253, 254, 255)}
    assert call("net.cidr_expand", "172.16.100.255/30") == rego(wanted)
    assert call("net.cidr_expand", "2001:db8::/127") == rego({"2001:db8::", "2001:db8::1"})
    assert call("net.cidr_expand", "255.255.255.255/32") == rego({"255.255.255.255"})


@pytest.mark.parametrize("block", ["0.0.0.0/0", "::/0", "10.0.0.0/8"])
def test_expansion_is_bounded(block: Any) -> None:
    with pytest.raises(LimitExceeded):
        call("net.cidr_expand", block)


@pytest.mark.parametrize(
    ("blocks", "wanted"),
    [
        (["192.0.2.112/31", "192.0.2.116/31", "192.0.2.118/31"], {"192.0.2.112/31", "192.0.2.116/30"}),
        (["192.0.128.0", "192.0.129.0"], {"192.0.128.0/23"}),
        (["200.1.1.1"], {"200.1.1.1/24"}),
        (["0.0.0.0/1", "128.0.0.0/1"], {"0.0.0.0/0"}),
        (["::/1", "8000::/1"], {"::/0"}),
        (["255.255.255.255/32", "::1:0:0:0/96"], {"255.255.255.255/32", "::1:0:0:0/96"}),
        ([], set()),
    ],
)
def test_merge(blocks: Any, wanted: Any) -> None:
    assert call("net.cidr_merge", blocks) == rego(wanted)


@given(st.lists(st.tuples(st.integers(0xC0000200, 0xC000023F), st.integers(24, 32)), max_size=8))
def test_merge_covers_the_same_addresses_with_the_fewest_blocks(pairs: Any) -> None:
    networks = [IPv4Network((number, prefix), strict=False) for number, prefix in pairs]
    merged = call("net.cidr_merge", [str(network) for network in networks])
    assert {str(network) for network in collapse_addresses(networks)} == set(merged)


def test_merge_refuses() -> None:
    with pytest.raises(BuiltinError, match="IPv6 invalid: needs prefix length"):
        call("net.cidr_merge", ["2001:db8::1"])
    with pytest.raises(BuiltinError, match="element must be string"):
        call("net.cidr_merge", [1])


def test_many_pairs_end_in_the_budget() -> None:
    blocks = ["10.0.0.0/8"] * 2000
    with pytest.raises(LimitExceeded):
        call("net.cidr_contains_matches", blocks, ["10.0.0.1"] * 2000, ctx=Context(steps=100_000))


def test_looking_up_names_is_for_the_host() -> None:
    assert registered()["net.lookup_ip_addr"].function is None
