"""The remote engine against a server that says anything at all: only a well-formed yes is a yes, and nothing leaks."""

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.builders import NOW, question, shift
from tests.certificates import certificates
from tests.fakes.scripted_http import HANG, Scripted, answer, scripted
from watchkey.engines.opa import BODY_BYTES_MAX, UNKNOWN, Config, OpaEngine, build, told_of
from watchkey.model.access import Outcome, Verdict
from watchkey.model.errors import Refused
from watchkey.model.secret import Secret
from watchkey.rules.evidence import find_evidence
from watchkey.rules.policy_input import policy_document
from watchkey.wiring import SystemClock

CANARY = "canary-7f3a91"
_ASKED = question(shift())
DOCUMENT = policy_document(_ASKED, find_evidence(_ASKED))
YES = b'{"result":{"allow":true,"ttl":"60s","reasons":["on_call"]}}'


def engine(url: str, **changes: Any) -> OpaEngine:
    return build(Config(url=url, **({"timeout": timedelta(seconds=5)} | changes)), clock=SystemClock())


async def judged(url: str, **changes: Any) -> Verdict:
    opa = engine(url, **changes)
    try:
        return await opa.evaluate(DOCUMENT, now=NOW)
    finally:
        await opa.close()


def said(*answers: bytes, **changes: Any) -> tuple[Verdict, Scripted]:
    async def once() -> tuple[Verdict, Scripted]:
        async with scripted(answers) as server:
            return await judged(server.url, **changes), server

    return asyncio.run(once())


def test_a_yes_is_read_whole_and_the_question_is_what_opa_expects() -> None:
    verdict, server = said(answer(body=YES), token=Secret(CANARY))
    assert (verdict.outcome, verdict.ttl, verdict.reasons) == (Outcome.YES, timedelta(seconds=60), ("on_call",))
    head, body = server.requests[0].split(b"\r\n\r\n", 1)
    target = b"POST /v1/data/watchkey/decision?provenance=true&strict-builtin-errors=true HTTP/1.1"
    assert head.split(b"\r\n")[0] == target
    assert f"authorization: bearer {CANARY}".encode() in head.lower()
    assert b"content-type: application/json" in head.lower()
    assert json.loads(body) == {"input": json.loads(json.dumps(DOCUMENT))}


CONFLICT = {"code": "eval_conflict_error", "message": "two %s", "location": {"file": "a.rego", "row": 7}}
FAULT = json.dumps({"code": "internal_error", "message": "broke", "errors": [CONFLICT]}).encode()


@pytest.mark.parametrize(
    ("given", "outcome", "detail"),
    [
        # Opa's own words
        (answer(body=b"{}"), Outcome.UNDEFINED, ""),
        (answer(body=b'{"decision_id":"1","provenance":{}}'), Outcome.UNDEFINED, ""),
        (answer(body=b'{"warning":{"code":"api_usage_warning"},"result":{"allow":true}}'), Outcome.FAILED, "api_usage"),
        (answer(body=b'{"warning":null,"result":{"allow":true}}'), Outcome.FAILED, "warning"),
        (answer(body=b'{"errors":[],"result":{"allow":true}}'), Outcome.FAILED, "error beside"),
        (answer(body=b'{"code":"internal_error","result":{"allow":true}}'), Outcome.FAILED, "error beside"),
        (answer(500, FAULT), Outcome.FAILED, "eval_conflict_error at a.rego:7: two"),
        (answer(400, b'{"code":"invalid_parameter","message":"no"}'), Outcome.FAILED, "invalid_parameter"),
        (answer(401, b'{"code":"unauthorized"}'), Outcome.FAILED, "does not accept the token"),
        (answer(403, b""), Outcome.FAILED, "does not accept the token"),
        (answer(404, b"404 page not found"), Outcome.FAILED, "check url"),
        (answer(500, b"oops"), Outcome.FAILED, "answered 500"),
        (answer(500, b'{"code":1,"errors":"x"}'), Outcome.FAILED, "answered 500"),
        # wrong shapes
        (answer(body=b'{"result":true}'), Outcome.MALFORMED, "a boolean"),
        (answer(body=b'{"result":null}'), Outcome.MALFORMED, "nothing"),
        (answer(body=b'{"result":{"allow":"true"}}'), Outcome.MALFORMED, "a text"),
        (answer(body=b'{"result":{}}'), Outcome.MALFORMED, "nothing"),
        (answer(body=b'{"result":{"allow":true,"ttl":"-1s"}}'), Outcome.MALFORMED, "ttl"),
        (answer(body=b'{"result":{"allow":true,"reasons":{"a":1}}}'), Outcome.MALFORMED, "reasons"),
        (answer(body=b'{"result":{"allow":true,"reasons":null}}'), Outcome.MALFORMED, "reasons"),
        (answer(body=b'{"Result":{"allow":true}}'), Outcome.UNDEFINED, ""),
        (answer(body=b'[{"result":{"allow":true}}]'), Outcome.MALFORMED, "an array"),
        (answer(body=b"true"), Outcome.MALFORMED, "a boolean"),
        (answer(body=b'{"allow":true}'), Outcome.UNDEFINED, ""),
        # not JSON, or JSON that two readers read differently
        (answer(body=b"<html>login</html>"), Outcome.MALFORMED, "HTML"),
        (answer(body=b""), Outcome.MALFORMED, "nothing"),
        (answer(body=YES[:-1]), Outcome.MALFORMED, "broken"),
        (answer(body=YES + YES), Outcome.MALFORMED, "broken"),
        (answer(body=b'{"result":{"allow":false,"allow":true}}'), Outcome.MALFORMED, "two ways"),
        (answer(body=b'{"result":{"allow":false},"result":{"allow":true}}'), Outcome.MALFORMED, "two ways"),
        (answer(body=b'{"result":{"allow":true,"ttl":NaN}}'), Outcome.MALFORMED, "broken"),
        (answer(body=b'{"result":{"allow":true,"ttl":' + b"9" * 5000 + b"}}"), Outcome.MALFORMED, ""),
        (answer(body=b'{"result":{"allow":true,"reasons":["\\ud800"]}}'), Outcome.MALFORMED, ""),
        (answer(body=b'{"result":{"allow":true,"reasons":["\xff"]}}'), Outcome.MALFORMED, ""),
        (answer(body=b'{"result":' * 5000 + b"1" + b"}" * 5000), Outcome.MALFORMED, "nested"),
        # bodies out of bounds
        (answer(body=b" " * BODY_BYTES_MAX + YES), Outcome.MALFORMED, "more than"),
        (answer(500, b" " * BODY_BYTES_MAX + YES), Outcome.MALFORMED, "more than"),
        (answer(body=b"junk", headers="Content-Encoding: gzip\r\n"), Outcome.MALFORMED, "not asked for"),
        (answer(body=YES, headers="Content-Encoding: br\r\n"), Outcome.MALFORMED, "not asked for"),
        # not HTTP, or more than one answer
        (b"SSH-2.0-OpenSSH\r\nConnection: close", Outcome.MALFORMED, "no HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(body=YES), Outcome.MALFORMED, "answered 100"),
        (answer(body=b"{}") + answer(body=YES), Outcome.MALFORMED, "twice"),
        (answer(body=YES, headers="Content-Length: 2\r\n"), Outcome.MALFORMED, "no HTTP"),
        (answer(body=YES, headers="Transfer-Encoding: chunked\r\n"), Outcome.MALFORMED, "no HTTP"),
        (b"HTTP/1.1 200 X\r\nX: " + b"x" * 70_000, Outcome.MALFORMED, "bytes of headers"),
        # other statuses
        (answer(201, YES), Outcome.MALFORMED, "201"),
        (answer(206, YES), Outcome.MALFORMED, "206"),
        (answer(302, YES, "Location: http://127.0.0.1:1/\r\n"), Outcome.FAILED, "redirects are not followed"),
        (answer(307, YES, "Location: /v1/data/other\r\n"), Outcome.FAILED, "redirects are not followed"),
        (answer(429, YES), Outcome.UNREACHABLE, "429"),
    ],
)  # fmt: skip
def test_anything_else_is_a_denial_with_its_own_reason(given: bytes, outcome: Outcome, detail: str) -> None:
    verdict, server = said(given)
    assert verdict.outcome is outcome
    assert detail in verdict.detail
    assert (verdict.ttl, verdict.reasons) == (None, ())
    assert len(server.requests) == 1, "an answer is never asked for again"


# --- time and second tries -----------------------------------------------------------------------------------------

CUT = b'HTTP/1.1 200 X\r\nContent-Length: 500\r\nConnection: close\r\n\r\n{"result":{"allow":true}'
GONE = b"HTTP/1.1 200 X\r\nConnection: close\r\n"
"""The connection closes in the middle of the headers."""


def test_nobody_there_is_unreachable() -> None:
    async def once() -> Verdict:
        async with scripted([answer()]) as server:
            url = server.url
        return await judged(url)

    verdict = asyncio.run(once())
    assert verdict.outcome is Outcome.UNREACHABLE
    assert "is the host reachable" in verdict.detail


@pytest.mark.parametrize("broken", [CUT, GONE, answer(502, b"x"), answer(503, b"x"), answer(504, b"<html>")])
def test_what_cannot_have_been_opas_word_is_tried_once_more(broken: bytes) -> None:
    verdict, server = said(broken, answer(body=YES))
    assert (verdict.outcome, len(server.requests)) == (Outcome.YES, 2)
    verdict, server = said(broken, broken, answer(body=YES))
    assert (verdict.outcome, len(server.requests)) == (Outcome.UNREACHABLE, 2)
    assert server.requests[0].split(b"\r\n\r\n")[1] == server.requests[1].split(b"\r\n\r\n")[1]


@pytest.mark.parametrize("slow", [HANG, b"HTTP/1.1 200 X\r\nContent-Length: 500\r\n\r\n{"])
@pytest.mark.parametrize("before", [(), (GONE,)])
def test_an_answer_that_does_not_come_is_over_budget_and_not_asked_for_again(
    slow: bytes, before: Sequence[bytes]
) -> None:
    verdict, server = said(*before, slow, answer(body=YES), timeout=timedelta(milliseconds=300))
    assert verdict.outcome is Outcome.OVER_BUDGET
    assert "no complete answer within 0.3 s" in verdict.detail
    assert len(server.requests) == 1 + len(before)


def test_connections_are_kept_or_closed_as_told() -> None:
    async def connections(*, is_kept_open: bool) -> int:
        async with scripted([answer(body=YES)]) as server:
            opa = engine(server.url, is_kept_open=is_kept_open)
            for _ in range(5):
                assert (await opa.evaluate(DOCUMENT, now=NOW)).outcome is Outcome.YES
            if is_kept_open:
                await opa.close()
            return server.connections

    assert asyncio.run(connections(is_kept_open=True)) == 1
    assert asyncio.run(connections(is_kept_open=False)) == 5


def test_many_ask_at_once() -> None:
    async def ask() -> list[Outcome]:
        async with scripted([answer(body=YES)]) as server:
            opa = engine(server.url)
            verdicts = await asyncio.gather(*(opa.evaluate(DOCUMENT, now=NOW) for _ in range(200)))
            await opa.close()
            return [verdict.outcome for verdict in verdicts]

    assert asyncio.run(ask()) == [Outcome.YES] * 200


def test_a_document_that_is_no_json_is_a_denial() -> None:
    async def ask() -> Verdict:
        async with scripted([answer(body=YES)]) as server:
            opa = engine(server.url)
            verdict = await opa.evaluate({"now": object()}, now=NOW)
            await opa.close()
            return verdict

    verdict = asyncio.run(ask())
    assert (verdict.outcome, verdict.detail) == (Outcome.FAILED, "the engine broke (TypeError)")


# --- which policy spoke --------------------------------------------------------------------------------------------


def provenance(**bundles: Any) -> Mapping[str, Any]:
    return {"provenance": {"version": "1.22.2", "bundles": bundles}}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (provenance(authz={"revision": "7"}), "opa:authz@7"),
        (provenance(b={"revision": "x"}, a={"revision": "y"}), "opa:a@y,b@x"),
        (provenance(authz={"revision": ""}), "opa:authz@unknown"),
        (provenance(authz={}), "opa:authz@unknown"),
        (provenance(authz=7), "opa:authz@unknown"),
        (provenance(), UNKNOWN),
        ({}, UNKNOWN),
        ({"provenance": None}, UNKNOWN),
        ({"provenance": {"bundles": [1]}}, UNKNOWN),
    ],
)
def test_what_opa_tells_of_its_bundles(body: Mapping[str, Any], told: str) -> None:
    assert told_of(body) == told


@pytest.mark.parametrize("revision", ["x" * 300, "a\nb", "\x1b[31m"])
def test_what_cannot_stand_in_a_line_stands_as_its_hash(revision: str) -> None:
    told = told_of(provenance(authz={"revision": revision}))
    assert told.startswith("opa:sha256-")
    assert len(told) == len("opa:sha256-") + 64
    assert told != told_of(provenance(authz={"revision": revision + "x"}))


def test_a_verdict_names_the_bundles_and_a_new_revision_is_noticed() -> None:
    def body(revision: str) -> bytes:
        return json.dumps({"result": {"allow": True}, **provenance(authz={"revision": revision})}).encode()

    async def ask() -> list[str]:
        async with scripted(
            [answer(body=body("1")), answer(body=body("1")), answer(body=body("2")), answer(500)]
        ) as server:
            opa = engine(server.url).numbered(3)
            found = [opa.policy_hash]
            for _ in range(4):
                verdict = await opa.evaluate(DOCUMENT, now=NOW)
                assert verdict.policy_revision == 3
                found += [verdict.policy_hash, opa.policy_hash]
            await opa.close()
            return found

    start, *found = asyncio.run(ask())
    verdicts, hashes = found[::2], found[1::2]
    assert verdicts == ["opa:authz@1", "opa:authz@1", "opa:authz@2", UNKNOWN]
    assert hashes[0] == hashes[1] != start
    # After an answer that told nothing, what was told last still holds.
    assert hashes[2] == hashes[3] != hashes[1]


def test_where_is_asked_what_has_a_hash_without_its_secrets() -> None:
    base = engine("http://127.0.0.1:1")
    others = [
        engine("http://127.0.0.1:2"),
        engine("http://127.0.0.1:1", path="other"),
        engine("http://127.0.0.1:1", strict_errors=False),
    ]
    assert len({one.asked_hash for one in (base, *others)}) == 4
    same = engine("http://127.0.0.1:1", token=Secret(CANARY), timeout=timedelta(seconds=1))
    assert same.asked_hash == base.asked_hash
    assert base.asked == "http://127.0.0.1:1/v1/data/watchkey/decision"


# --- who may answer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://opa.example.com", "ftp://127.0.0.1", "", f"https://user:{CANARY}@opa.example"])
def test_an_opa_in_the_open_is_refused(url: str) -> None:
    with pytest.raises(Refused) as refusal:
        engine(url)
    assert CANARY not in str(refusal.value)


def test_no_secret_is_in_any_outcome() -> None:
    for given in (answer(401), answer(500, b"x"), answer(302), GONE):
        verdict, _ = said(given, token=Secret(CANARY))
        assert CANARY not in repr(verdict)


def test_tls_is_verified_and_shows_a_certificate_of_our_own(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=made.authority)
    context.load_cert_chain(made.server, made.server_key)
    context.verify_mode = ssl.CERT_REQUIRED

    async def ask(**changes: Any) -> Verdict:
        async with scripted([answer(body=YES)], tls=context) as server:
            return await judged(server.url, **changes)

    ours = {"certificate_file": str(made.client), "key_file": str(made.client_key)}
    assert asyncio.run(ask(ca_file=str(made.authority), **ours)).outcome is Outcome.YES
    assert asyncio.run(ask(ca_file=str(made.authority))).outcome is Outcome.UNREACHABLE
    stranger = asyncio.run(ask(**ours))
    assert stranger.outcome is Outcome.UNREACHABLE
    assert "the certificate is not trusted" in stranger.detail


def test_files_of_tls_that_cannot_be_used_are_refused_by_name(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    with pytest.raises(Refused, match="belong together"):
        engine("https://127.0.0.1:1", certificate_file=str(made.client), key_file=str(made.server_key))
    with pytest.raises(Refused, match=r"none\.pem"):
        engine("https://127.0.0.1:1", ca_file=str(tmp_path / "none.pem"))
