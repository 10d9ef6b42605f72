import asyncio
import gzip
import ipaddress
import json
import logging
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tests.certificates import certificates
from tests.fakes.clock import START
from tests.fakes.hasty_clock import HastyClock
from tests.fakes.scripted_http import HANG, answer, scripted, scripted_aside
from watchkey.http_client import (
    Answer,
    HttpClient,
    Limits,
    LinkedPage,
    OffsetPage,
    OffsetPaging,
    Operation,
    PostClient,
    PostLimits,
    Tls,
    TooSlow,
)
from watchkey.model.errors import Malformed, PortError, Refused, Unavailable
from watchkey.model.secret import Secret

CANARY = "canary-7f3a91"
T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


class Rig:
    """A client against a scripted server, with a clock that does not wait."""

    def __init__(self, url: str, clock: HastyClock, limits: Limits | None = None, **options: Any) -> None:
        headers = {"Authorization": Secret(CANARY)}
        self.client = HttpClient(url, clock=clock, headers=headers, limits=limits, jitter=lambda: 0.0, **options)
        self.operation = self.client.operation()

    async def __aenter__(self) -> Operation:
        return self.operation

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()


def asked(
    *answers: bytes,
    limits: Limits | None = None,
    clock: HastyClock | None = None,
    path: str = "/things?key=canary-query",
) -> Answer | PortError:
    """One GET against these answers."""

    async def once() -> Answer | PortError:
        async with scripted(answers) as server, Rig(server.url, clock or HastyClock(), limits) as operation:
            try:
                return await operation.get(path)
            except PortError as error:
                return error

    return run(once())


@pytest.mark.parametrize(
    ("url", "is_fine"),
    [
        ("https://api.example.com", True),
        ("https://api.example.com/v2/", True),
        ("http://127.0.0.1:80", True),
        ("http://[::1]:80", True),
        ("http://localhost", True),
        ("http://api.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
        ("http://10.0.0.1", False),
        ("https://user:canary-7f3a91@api.example.com", False),
        ("https://api.example.com?key=canary-7f3a91", False),
        ("ftp://api.example.com", False),
        ("api.example.com", False),
        ("", False),
        ("https://", False),
    ],
)
def test_only_encrypted_or_loopback_urls_are_accepted(url: str, *, is_fine: bool) -> None:
    if is_fine:
        run(HttpClient(url, clock=HastyClock()).close())
        return
    with pytest.raises(Refused) as refusal:
        HttpClient(url, clock=HastyClock())
    assert CANARY not in str(refusal.value)


def test_an_unreadable_ca_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"nothing\.pem"):
        HttpClient("https://api.example.com", clock=HastyClock(), ca_file=str(tmp_path / "nothing.pem"))


def test_two_requests_share_one_connection_and_keep_the_base_path() -> None:
    async def twice() -> None:
        async with scripted([answer(body=b'{"a":1}')]) as server, Rig(server.url + "/base/", HastyClock()) as operation:
            assert (await operation.get("/x", [("q", "a b"), ("q[]", "&")])).json() == {"a": 1}
            await operation.get("/y")
            assert server.connections == 1
            assert server.requests[0].startswith(b"GET /base/x?q=a%20b&q%5B%5D=%26 HTTP/1.1\r\n") or server.requests[
                0
            ].startswith(b"GET /base/x?q=a+b&q%5B%5D=%26 HTTP/1.1\r\n")
            assert CANARY.encode() in server.requests[0]
            assert operation.requests == 2

    run(twice())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, Refused) for status in (301, 302, 307, 400, 401, 402, 403, 404, 405, 410, 422)),
        *((status, Unavailable) for status in (408, 425, 500, 502, 503, 504)),
    ],
)
def test_a_status_becomes_the_error_that_fits(status: int, kind: type[PortError]) -> None:
    error = asked(answer(status, CANARY.encode(), f"X-Any: {CANARY}\r\n"))
    assert type(error) is kind
    text = str(error)
    assert "GET http://127.0.0.1:" in text
    assert "/things" in text
    assert str(status) in text
    assert "canary" not in text


def test_the_environment_redirects_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert isinstance(asked(answer()), Answer)


def test_a_redirect_is_not_followed() -> None:
    async def once() -> None:
        async with scripted([answer(302, b"", "Location: /elsewhere\r\n")]) as server:
            async with Rig(server.url, HastyClock()) as operation:
                with pytest.raises(Refused, match="redirects are not followed"):
                    await operation.get("/x")
            assert len(server.requests) == 1

    run(once())


@pytest.mark.parametrize(
    ("headers", "at_least"),
    [
        ("ratelimit-reset: 7\r\n", 7.0),
        ("Retry-After: 11\r\n", 11.0),
        ("ratelimit-reset: 3\r\nRetry-After: 11\r\n", 11.0),
        ("Date: Wed, 01 Jul 2026 12:00:00 GMT\r\nRetry-After: Wed, 01 Jul 2026 12:00:20 GMT\r\n", 20.0),
        ("Retry-After: Wed, 01 Jul 2026 12:00:09 GMT\r\n", 9.0),
        ("", 0.25),
        ("ratelimit-reset: 0\r\n", 0.25),
        ("ratelimit-reset: -5\r\n", 0.25),
        ("ratelimit-reset: nan\r\n", 0.25),
        ("Retry-After: soon\r\n", 0.25),
        ("Retry-After: 1e999\r\n", 0.25),
    ],
)
def test_429_waits_as_long_as_it_was_told(headers: str, at_least: float) -> None:
    clock = HastyClock()
    result = asked(answer(429, b"", headers), answer(), clock=clock)
    assert isinstance(result, Answer)
    assert len(clock.slept) == 1
    assert at_least <= clock.slept[0] <= at_least * 1.5 + 0.5


def test_endless_429_is_no_busy_loop_and_ends_with_the_deadline() -> None:
    clock = HastyClock()
    error = asked(answer(429), clock=clock, limits=Limits(operation_seconds=60))
    assert isinstance(error, Unavailable)
    assert "60 s" in str(error)
    assert len(clock.slept) < 12
    assert sum(clock.slept) <= 60
    assert clock.slept == sorted(clock.slept)


def test_a_wait_beyond_the_deadline_is_not_begun_and_handed_on() -> None:
    clock = HastyClock()
    error = asked(answer(429, b"", "ratelimit-reset: 300\r\n"), clock=clock)
    assert isinstance(error, Unavailable)
    assert error.retry_after == 300
    assert clock.slept == []


@given(reset=st.integers(0, 40), jitter=st.floats(0, 1), attempt=st.integers(1, 6))
def test_no_pause_is_shorter_than_the_other_side_said(reset: int, jitter: float, attempt: int) -> None:
    async def pause() -> None:
        clock = HastyClock()
        client = HttpClient("http://127.0.0.1:1", clock=clock, jitter=lambda: jitter)
        operation = client.operation()
        await operation._pause(operation._call("GET", "/x", ()), attempt, Unavailable("x", retry_after=float(reset)))
        assert clock.slept[0] >= reset
        assert clock.slept[0] > 0
        await client.close()

    run(pause())


def test_failures_of_the_other_side_are_tried_again_but_not_for_ever() -> None:
    assert isinstance(asked(answer(503), answer(500), answer(body=b"[]")), Answer)
    clock = HastyClock()
    assert isinstance(asked(answer(503), clock=clock), Unavailable)
    assert len(clock.slept) == 3


def test_nobody_listening_is_unavailable() -> None:
    async def once() -> None:
        async with scripted([answer()]) as server:
            url = server.url
        async with Rig(url, HastyClock()) as operation:
            with pytest.raises(Unavailable, match=r"ConnectError.*reachable"):
                await operation.get("/x")
            assert operation.requests == 4

    run(once())


@pytest.mark.parametrize(
    "reply",
    [
        HANG,
        b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
        b"HTTP/1.1 200 X\r\nContent-L",
    ],
    ids=["no answer", "slow body", "slow chunks", "slow head"],
)
def test_what_does_not_end_in_time_is_unavailable(reply: bytes) -> None:
    error = asked(reply, limits=Limits(request_seconds=0.05, attempts=2))
    assert isinstance(error, Unavailable)
    assert "0.05 s" in str(error) or "Timeout" in str(error)


def test_a_body_that_is_cut_off_is_unavailable_and_tried_again() -> None:
    cut = b"HTTP/1.1 200 X\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{"
    result = asked(cut, answer(body=b'{"whole":true}'))
    assert isinstance(result, Answer)
    assert result.json() == {"whole": True}


def test_bodies_are_bounded_also_when_they_are_compressed() -> None:
    limits = Limits(body_bytes=1000)
    assert isinstance(asked(answer(body=b" " * 1000), limits=limits), Answer)
    assert isinstance(asked(answer(body=b" " * 1001), limits=limits), Malformed)
    bomb = gzip.compress(b" " * 10_000_000)
    assert isinstance(asked(answer(body=bomb, headers="Content-Encoding: gzip\r\n"), limits=limits), Malformed)


def test_gzip_is_read_whole_or_not_at_all() -> None:
    packed = gzip.compress(b'{"a": [1, 2, 3]}')
    result = asked(answer(body=packed, headers="Content-Encoding: gzip\r\n"))
    assert isinstance(result, Answer)
    assert result.json() == {"a": [1, 2, 3]}
    for broken in (packed[:-9], b"no gzip"):
        assert isinstance(asked(answer(body=broken, headers="Content-Encoding: gzip\r\n")), Malformed)
    assert isinstance(asked(answer(body=packed, headers="Content-Encoding: br\r\n")), Malformed)


class Thing(msgspec.Struct):
    id: int


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>canary-7f3a91</html>", "HTML"),
        (b'{"canary-7f3a91": [1, 2', "cut-off JSON"),
        (b"", "nothing"),
        (b"canary-7f3a91", "something else"),
        (b'{"a":"\xff"}', "JSON"),
        (b"[" * 200_000, "nested deeper"),
        (b"[" * 70 + b"]" * 70, "nested deeper than 64"),
    ],
)
def test_what_is_not_json_is_malformed_and_not_quoted(body: bytes, words: str) -> None:
    result = asked(answer(body=body))
    assert isinstance(result, Answer)
    with pytest.raises(Malformed, match=words) as error:
        result.json()
    assert CANARY not in str(error.value)


def test_json_at_the_bound_of_depth_is_read() -> None:
    result = asked(answer(body=b"[" * 63 + b"1" + b"]" * 63))
    assert isinstance(result, Answer)
    assert json.dumps(result.json()).startswith("[[[")


def test_an_unknown_shape_names_the_path() -> None:
    result = asked(answer(body=b'[{"id": 1}, {"id": "canary-7f3a91"}]'))
    assert isinstance(result, Answer)
    with pytest.raises(Malformed, match=r"\$\[1\]\.id") as error:
        result.decode(list[Thing])
    assert CANARY not in str(error.value)


def test_the_budget_counts_every_request_and_the_whole_time() -> None:
    async def many() -> None:
        clock = HastyClock()
        async with scripted([answer()]) as server, Rig(server.url, clock, Limits(requests=3)) as operation:
            for _ in range(3):
                await operation.get("/x")
            with pytest.raises(Unavailable, match="3 requests"):
                await operation.get("/x")
            late = Rig(server.url, clock)
            clock.advance(timedelta(seconds=61))
            with pytest.raises(Unavailable, match="60 s"):
                await late.operation.get("/x")
            await late.client.close()
            assert len(server.requests) == 3

    run(many())


def test_a_post_is_sent_once_unless_it_may_be_repeated() -> None:
    async def post() -> None:
        async with scripted([answer(503)]) as server, Rig(server.url, HastyClock()) as operation:
            with pytest.raises(Unavailable):
                await operation.send("POST", "/x", body=b"abc", headers={"X-One": Secret("two")})
            assert len(server.requests) == 1
            assert server.requests[0].endswith(b"\r\n\r\nabc")
            assert b"X-One: two" in server.requests[0]
            with pytest.raises(Unavailable):
                await operation.send("POST", "/x", body=b"abc", may_retry=True)
            assert len(server.requests) == 5
            assert (await operation.send("POST", "/x", body=b"", accepted={503})).status == 503

    run(post())


def _row_page(found: Answer) -> OffsetPage[Any]:
    value = found.json()
    return OffsetPage(
        rows=value["rows"],
        more=value["more"],
        total=value.get("total"),
        limit=value.get("limit"),
        offset=value.get("offset"),
    )


def _page(rows: list[Any], more: object, **extra: Any) -> bytes:
    return answer(body=json.dumps({"rows": rows, "more": more, **extra}).encode())


def offset_rows(*answers: bytes, size: int = 2, cap: int = 10_000) -> tuple[list[Any] | PortError, int]:
    async def read() -> tuple[list[Any] | PortError, int]:
        paging = OffsetPaging(page=_row_page, key=lambda row: row, size=size, row_cap=cap)
        async with scripted(answers) as server, Rig(server.url, HastyClock()) as operation:
            try:
                rows: list[Any] | PortError = await operation.offset_rows("/rows", [("f", "1")], paging)
            except PortError as error:
                rows = error
            return rows, len(server.requests)

    return run(read())


def test_offset_paging_goes_to_the_end() -> None:
    assert offset_rows(_page([1, 2], True), _page([3, 4], True), _page([5], False)) == ([1, 2, 3, 4, 5], 3)
    assert offset_rows(_page([], False)) == ([], 1)


def test_a_row_that_comes_twice_makes_the_list_read_again() -> None:
    moved = (_page([1, 2], True), _page([2, 3], False))
    assert offset_rows(*moved, _page([0, 1], True), _page([2, 3], False)) == ([0, 1, 2, 3], 4)


def test_a_row_that_was_never_seen_shows_in_the_total() -> None:
    missed = (_page([1, 2], True, total=4), _page([4], False, total=3))
    assert offset_rows(*missed, _page([1, 3], True, total=3), _page([4], False, total=3)) == ([1, 3, 4], 4)


def test_a_list_that_never_stands_still_is_unavailable() -> None:
    rows, _ = offset_rows(
        *(_page([1, 2], True), _page([2, 3], False)), *(_page([0, 1], True), _page([1, 2], True), _page([3], False))
    )
    assert isinstance(rows, Unavailable)
    assert "changed twice" in str(rows)


def test_a_list_that_holds_something_twice_is_believed_the_second_time() -> None:
    doubled = (_page([1, 2], True, total=4), _page([2, 3], False, total=4))
    assert offset_rows(*doubled, *doubled) == ([1, 2, 3], 4)


def test_a_count_that_is_never_right_is_not_believed() -> None:
    wrong = (_page([1, 2], True, total=9), _page([3], False, total=9))
    assert isinstance(offset_rows(*wrong, *wrong)[0], Unavailable)


def test_a_clamped_page_size_skips_nothing() -> None:
    pages = [_page([i], i < 3, limit=1, offset=i - 1) for i in (1, 2, 3)]
    assert offset_rows(*pages) == ([1, 2, 3], 3)


@pytest.mark.parametrize(
    ("pages", "words"),
    [
        ([_page([1, 2], True)], "more than 4 rows"),
        ([_page([], True)], "gives none"),
        ([_page([1, 2], True, offset=0), _page([1, 2], True, offset=0)], "answered page 0 when 2"),
    ],
)
def test_lists_that_cannot_be_read_whole_are_malformed(pages: list[bytes], words: str) -> None:
    rows, _ = offset_rows(*pages, cap=4)
    assert isinstance(rows, Malformed)
    assert words in str(rows)


def _linked(found: Answer) -> LinkedPage[Any]:
    value = found.json()
    return LinkedPage(rows=value["rows"], next=value["next"])


def _link(rows: list[int], following: str | None) -> bytes:
    return answer(body=json.dumps({"rows": rows, "next": following}).encode())


def test_linked_and_cursor_pages_are_read_to_the_end() -> None:
    async def read() -> None:
        async with scripted([_link([1], "/rows?page=2"), _link([2], None)]) as server:
            async with Rig(server.url, HastyClock()) as operation:
                assert await operation.linked_rows("/rows", [("page", "1")], _linked, key=lambda row: row) == [1, 2]
            assert b"GET /rows?page=2 " in server.requests[1]
        async with scripted([_link([1], "abc="), _link([2], None)]) as server:
            async with Rig(server.url, HastyClock()) as operation:
                rows = await operation.cursor_rows(
                    "/rows", [("f", "1")], _linked, key=lambda row: row, cursor_name="after"
                )
            assert rows == [1, 2]
            assert b"GET /rows?f=1&after=abc%3D " in server.requests[1]

    run(read())


@pytest.mark.parametrize(
    "following", ["https://evil.example.com/rows", "//evil.example.com/rows", "http://127.0.0.1:1/rows", "/rows?page=1"]
)
def test_links_to_elsewhere_or_in_a_circle_are_malformed(following: str) -> None:
    async def read() -> None:
        async with scripted([_link([1], following)]) as server, Rig(server.url, HastyClock()) as operation:
            with pytest.raises(Malformed):
                await operation.linked_rows("/rows", [("page", "1")], _linked, key=lambda row: row)
            with pytest.raises(Malformed):
                await operation.cursor_rows("/rows", [], _linked, key=lambda row: row)

    run(read())


def test_graphql_data_and_errors() -> None:
    good = answer(body=b'{"data": {"id": 7}}')
    bad = answer(body=b'{"data": null, "errors": [{"message": "canary-7f3a91"}]}')
    wrong = answer(body=b'{"data": {"id": "x"}}')

    async def ask() -> None:
        async with scripted([good, bad, wrong]) as server, Rig(server.url, HastyClock()) as operation:
            assert (await operation.graphql("/graphql", "query {id}", {"a": 1}, Thing)).id == 7
            assert b'{"query":"query {id}","variables":{"a":1}}' in server.requests[0]
            with pytest.raises(Refused, match=r"1 GraphQL error") as error:
                await operation.graphql("/graphql", "query {id}", {}, Thing)
            assert CANARY not in str(error.value)
            with pytest.raises(Malformed, match="data"):
                await operation.graphql("/graphql", "query {id}", {}, Thing)

    run(ask())


def test_a_stream_gives_all_bytes_and_stops_at_the_bound() -> None:
    async def read() -> None:
        body = b"0123456789" * 10_000
        async with scripted([answer(body=body)]) as server, Rig(server.url, HastyClock()) as operation:
            assert b"".join([piece async for piece in operation.stream("/feed")]) == body
        small = Limits(body_bytes=99_999)
        answers = [answer(body=body), answer(404)]
        async with scripted(answers) as server, Rig(server.url, HastyClock(), small) as operation:
            with pytest.raises(Malformed, match="99999 bytes"):
                [piece async for piece in operation.stream("/feed")]
            with pytest.raises(Refused, match="404"):
                [piece async for piece in operation.stream("/feed")]

    run(read())


def test_a_path_that_is_a_credential_is_never_named() -> None:
    async def read() -> None:
        async with scripted([answer(404)]) as server, Rig(server.url, HastyClock(), hide_path=True) as operation:
            with pytest.raises(Refused) as error:
                await operation.get(f"/private-{CANARY}/basic.ics")
            assert CANARY not in str(error.value)

    run(read())


def test_nothing_secret_reaches_the_logs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        asked(answer(), path=f"/private-{CANARY}?key={CANARY}")
    assert CANARY not in caplog.text


@pytest.mark.parametrize(
    ("dates", "skew"),
    [
        (["12:00:00"], 0.0),
        (["11:59:59"], 0.0),
        (["12:01:00"], 60.0),
        (["11:58:59"], -60.0),
        (["12:00:00", "11:59:59"], 0.0),
        (["junk"], 0.0),
        ([None], 0.0),
    ],
)
def test_clock_skew_is_the_smallest_that_agrees_with_all_answers(dates: list[str | None], skew: float) -> None:
    async def read() -> None:
        replies = [answer(headers=f"Date: Wed, 01 Jul 2026 {date} GMT\r\n" if date else "") for date in dates]
        async with scripted(replies) as server, Rig(server.url, HastyClock(START)) as operation:
            for _ in replies:
                await operation.get("/x")
            assert operation.clock_skew == timedelta(seconds=skew)

    run(read())


def _certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "ca.pem", folder / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return context, pem


def test_a_certificate_is_trusted_only_when_its_authority_is_given(tmp_path: Path) -> None:
    context, pem = _certificate(tmp_path)

    async def ask() -> None:
        async with scripted([answer(body=b"[1]")], tls=context) as server:
            async with Rig(server.url, HastyClock(), ca_file=str(pem)) as operation:
                assert (await operation.get("/x")).json() == [1]
            async with Rig(server.url, HastyClock()) as operation:
                with pytest.raises(Refused, match="ca_file"):
                    await operation.get("/x")
                assert operation.requests == 1

    run(ask())


# --- one exchange, whatever comes back -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 429, 500, 503])
def test_an_exchange_gives_any_status_with_its_body_and_sends_once(status: int) -> None:
    async def ask() -> None:
        async with scripted([answer(status, b"" if status == 204 else b"told")]) as server:
            async with Rig(server.url, HastyClock()) as operation:
                found = await operation.exchange("POST", "/x", [("a", "b")], body=b"{}")
                assert (found.status, found.body) == (status, b"" if status == 204 else b"told")
            assert server.targets == ["/x?a=b"]

    run(ask())


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (HANG, TooSlow),
        (b"HTTP/1.1 500 X\r\nContent-Length: 9\r\nConnection: close\r\n\r\nx", Unavailable),
        (answer(500, b"x" * 101), Malformed),
    ],
)
def test_an_exchange_that_fails_says_how(reply: bytes, kind: type[PortError]) -> None:
    async def ask() -> None:
        limits = Limits(body_bytes=100, request_seconds=0.2)
        async with scripted([reply]) as server, Rig(server.url, HastyClock(), limits) as operation:
            with pytest.raises(kind) as failure:
                await operation.exchange("POST", "/x", body=b"{}")
            assert type(failure.value) is kind

    run(ask())


def test_a_second_exchange_has_what_the_first_left_of_the_time() -> None:
    async def ask() -> None:
        clock = HastyClock()
        async with scripted([answer()]) as server, Rig(server.url, clock, Limits(operation_seconds=1.0)) as operation:
            await operation.exchange("POST", "/x", body=b"{}")
            await clock.sleep(1.0)
            with pytest.raises(TooSlow):
                await operation.exchange("POST", "/x", body=b"{}")

    run(ask())


# --- one URL, many times a second ----------------------------------------------------------------------------------


@asynccontextmanager
async def posting(url: str, path: str = "/x", **options: Any) -> AsyncIterator[PostClient]:
    client = PostClient(url, path, **options)
    try:
        yield client
    finally:
        await client.close()


def test_a_question_is_one_request_and_connections_are_kept() -> None:
    async def ask() -> None:
        headers = {"Authorization": Secret(f"Bearer {CANARY}")}
        async with scripted([answer(body=b'{"a":1}')]) as server:
            options: dict[str, Any] = {"params": [("q", "a b")], "headers": headers}
            async with posting(server.url + "/base/", "/x/y", **options) as client:
                for _ in range(3):
                    found = await client.ask(b'{"b":2}', seconds=5)
                    assert (found.status, found.json()) == (200, {"a": 1})
                assert client.what == f"POST {server.url}/base/x/y"
            head, body = server.requests[0].split(b"\r\n\r\n")
            lines = head.split(b"\r\n")
            assert lines[0] in {b"POST /base/x/y?q=a%20b HTTP/1.1", b"POST /base/x/y?q=a+b HTTP/1.1"}
            assert f"Host: {server.url.removeprefix('http://')}".encode() in lines
            assert f"Authorization: Bearer {CANARY}".encode() in lines
            assert b"Content-Length: 7" in lines
            assert body == b'{"b":2}'
            assert (server.connections, len(set(server.requests))) == (1, 1)

    run(ask())


def test_what_is_not_kept_or_must_be_fresh_is_a_connection_of_its_own() -> None:
    async def connections(*, is_kept_open: bool, is_fresh: bool) -> int:
        limits = PostLimits(is_kept_open=is_kept_open)
        async with scripted([answer()]) as server, posting(server.url, limits=limits) as client:
            for _ in range(3):
                await client.ask(b"", seconds=5, is_fresh=is_fresh)
            return server.connections

    assert run(connections(is_kept_open=True, is_fresh=True)) == 3
    assert run(connections(is_kept_open=False, is_fresh=False)) == 3


def test_no_more_connections_than_allowed_and_who_waits_waits_within_his_time() -> None:
    async def ask() -> None:
        limits = PostLimits(connections=2)
        async with scripted([answer()]) as server, posting(server.url, limits=limits) as client:
            await asyncio.gather(*(client.ask(b"", seconds=5) for _ in range(20)))
            assert server.connections == 2
        async with scripted([HANG]) as server, posting(server.url, limits=limits) as client:
            found = await asyncio.gather(*(client.ask(b"", seconds=0.3) for _ in range(4)), return_exceptions=True)
            assert [type(one) for one in found] == [TooSlow] * 4
            assert server.connections == 2

    run(ask())


@pytest.mark.parametrize("status", [200, 204, 302, 404, 500, 503])
def test_any_status_is_an_answer_and_nothing_is_followed_or_repeated(status: int) -> None:
    async def ask() -> None:
        given = answer(status, b"" if status == 204 else b"told", "Location: /y\r\n")
        async with scripted([given]) as server, posting(server.url) as client:
            found = await client.ask(b"", seconds=5)
            assert (found.status, found.headers["location"], server.targets) == (status, "/y", ["/x"])

    run(ask())


CHUNKED = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (CHUNKED, "{}"),
        (b"HTTP/1.1 200 X\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", "{}"),
        (b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n{}", Unavailable),
        (b"HTTP/1.1 200 X\r\nContent-Length: 3\r\nConnection: close\r\n\r\n{}", Unavailable),
        (CHUNKED[:-2], Unavailable),
        (HANG, TooSlow),
        (answer(body=b"x" * 101), Malformed),
        (CHUNKED[:-12] + b"ff\r\n" + b"x" * 255 + b"\r\n0\r\n\r\n", Malformed),
        (b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", Malformed),
        (b"HTTP/1.1 200 X\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", Malformed),
        (b"HTTP/9.9 200 X\r\n\r\n", Malformed),
        (b"HTTP/1.1 200 X\r\na: " + b"x" * 40_000 + b"\r\n\r\n", Malformed),
    ],
)
def test_only_a_whole_answer_is_one(reply: bytes, outcome: str | type[PortError]) -> None:
    async def ask() -> None:
        async with scripted([reply]) as server, posting(server.url, limits=PostLimits(body_bytes=100)) as client:
            try:
                found: object = (await client.ask(b"", seconds=0.5)).body.decode()
            except PortError as error:
                found = type(error)
            assert found == outcome

    run(ask())


def test_an_answer_to_no_question_is_never_taken_for_the_next_one() -> None:
    async def ask() -> None:
        questions: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while head := await reader.readuntil(b"\r\n\r\n"):
                questions.append(head)
                writer.write(answer(body=b"%d" % len(questions)))
                await writer.drain()
                await asyncio.sleep(0.05)
                writer.write(answer(body=b"stray"))
                await writer.drain()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with posting(url) as client:
            assert (await client.ask(b"", seconds=5)).body == b"1"
            await asyncio.sleep(0.2)
            assert (await client.ask(b"", seconds=5)).body == b"2"
        server.close()
        await asyncio.sleep(0.1)

    run(ask())


def test_a_question_that_is_given_up_takes_its_connection_with_it() -> None:
    async def ask() -> None:
        late = answer(body=b"late")
        async with scripted([HANG, late]) as server, posting(server.url) as client:
            with pytest.raises(TooSlow):
                await client.ask(b"1", seconds=0.1)
            asking = asyncio.create_task(client.ask(b"2", seconds=5))
            assert (await asking).body == b"late"
            assert server.connections == 2

    run(ask())


def test_a_client_that_keeps_nothing_may_be_used_in_one_loop_after_the_other() -> None:
    with scripted_aside([answer(), answer()]) as url:
        client = PostClient(url, "/x", limits=PostLimits(is_kept_open=False))
        for _ in range(3):
            assert asyncio.run(client.ask(b"", seconds=5)).status == 200


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "\x00", "ü"])
def test_a_header_that_would_be_two_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(Refused, match="header Authorization") as refusal:
        PostClient("https://api.example.com", "/x", headers={"Authorization": Secret(CANARY + value)})
    assert CANARY not in str(refusal.value)


def test_urls_in_the_open_are_refused_here_too() -> None:
    with pytest.raises(Refused, match="not encrypted"):
        PostClient("http://api.example.com", "/x")


def test_nobody_there_is_unavailable() -> None:
    async def ask() -> None:
        async with scripted([answer()]) as server:
            url = server.url
        async with posting(url) as client:
            with pytest.raises(Unavailable, match="is the host reachable"):
                await client.ask(b"", seconds=5)

    run(ask())


def test_tls_is_verified_and_our_own_certificate_is_shown(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=made.authority)
    context.load_cert_chain(made.server, made.server_key)
    context.verify_mode = ssl.CERT_REQUIRED
    ours = (str(made.client), str(made.client_key))

    async def ask(tls: Tls, host: str = "127.0.0.1") -> int:
        async with scripted([answer()], tls=context) as server:
            client = PostClient(server.url.replace("127.0.0.1", host), "/x", tls=tls)
            try:
                return (await client.ask(b"", seconds=5)).status
            finally:
                await client.close()

    assert run(ask(Tls(ca_file=str(made.authority), client_certificate=ours))) == 200
    with pytest.raises(Unavailable):
        run(ask(Tls(ca_file=str(made.authority))))
    with pytest.raises(Refused, match="the certificate is not trusted"):
        run(ask(Tls(client_certificate=ours)))
    with pytest.raises(Refused, match="the certificate is not trusted"):
        run(ask(Tls(ca_file=str(made.authority), client_certificate=ours), host="localhost"))
    for key in (made.server_key, tmp_path / "none.key"):
        with pytest.raises(Refused, match="belong together"):
            PostClient("https://127.0.0.1", "/x", tls=Tls(client_certificate=(str(made.client), str(key))))
    with pytest.raises(Refused, match=r"none\.pem"):
        PostClient("https://127.0.0.1", "/x", tls=Tls(ca_file=str(tmp_path / "none.pem")))
