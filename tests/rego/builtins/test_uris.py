"""uri.parse and uri.is_valid."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rego.builtins.calling import call, rego
from watchkey.rego.builtins.uris import split_url
from watchkey.rego.errors import BuiltinError
from watchkey.rego.values import FALSE, TRUE


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("HTTPS://u:p@Example.com:80/a%2Fb?x=1#f%20g",
         {"scheme": "https", "hostname": "Example.com", "port": "80", "path": "/a/b", "raw_path": "/a%2Fb",
          "raw_query": "x=1", "fragment": "f g"}),
        ("http://[::1]:8080", {"scheme": "http", "hostname": "::1", "port": "8080"}),
        ("mailto:a@b", {"scheme": "mailto"}),
        ("//host/p", {"hostname": "host", "path": "/p", "raw_path": "/p"}),
        ("a/b:c", {"path": "a/b:c", "raw_path": "a/b:c"}),
        ("https://e/a%21b", {"scheme": "https", "hostname": "e", "path": "/a!b", "raw_path": "/a!b"}),
        ("pg://h:80,h2:90/db", {"scheme": "pg", "hostname": "h:80,h2", "port": "90", "path": "/db", "raw_path": "/db"}),
        ("", {}),
        ("*", {"path": "*", "raw_path": "*"}),
    ],
)  # fmt: skip
def test_parts(text: str, wanted: Any) -> None:
    assert call("uri.parse", text) == rego(wanted)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("http://[::1", "missing ']' in host"),
        ("http://exa%6dple.com/", 'invalid URL escape "%6d"'),
        ("http://a<b@h/", "invalid userinfo"),
        ("http://h:\u0663/", "invalid port"),
        ("http://h:80:90/", "invalid port"),
        (":x", "missing protocol scheme"),
        ("1a:b", "first path segment in URL cannot contain colon"),
        ("http://h/%zz", 'invalid URL escape "%zz"'),
        ("http://h\n", "invalid control character in URL"),
        ("http://[1.2.3.4]/", "invalid IP-literal"),
        ("http://h#%zz", 'invalid URL escape "%zz"'),
        ("http://a b/", 'invalid character " " in host name'),
    ],
)
def test_what_is_no_uri(text: str, problem: str) -> None:
    assert call("uri.is_valid", text) is FALSE
    with pytest.raises(BuiltinError) as caught:
        call("uri.parse", text)
    assert problem in str(caught.value)


def test_validity() -> None:
    assert call("uri.is_valid", "http://foo]bar/") is TRUE
    assert call("uri.is_valid", "") is FALSE
    assert call("uri.is_valid", 1) is FALSE


def test_parts_that_only_certificates_show() -> None:
    url = split_url("https://u@h?")
    assert (url.has_user, url.empty_query, url.omits_host) == (True, True, False)
    assert split_url("file:///x").omits_host is False
    assert split_url("file:/x").omits_host is True


@given(st.text(max_size=30))
def test_any_text_is_a_uri_or_not(text: str) -> None:
    assert call("uri.is_valid", text) in (TRUE, FALSE)
