"""OPA's Data API as its clients know it; the expected bytes are what an OPA 1.x server sends."""

import gzip
import json
import shutil
import socket
import subprocess
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.entrypoints.http.house import ASK, House, call

INPUT = {"input": ASK}
WARNING = {"code": "api_usage_warning", "message": "'input' key missing from the request"}


def test_allow_is_a_boolean_in_a_result_on_one_line(house: House) -> None:
    got = call(house, "POST", "/v1/data/watchkey/allow", INPUT, who="plain")
    assert (got.status, got.body) == (200, b'{"result":true}\n')
    carol = {"input": {**ASK, "subject": "carol"}}
    assert call(house, "POST", "/v1/data/watchkey/allow", carol, who="plain").body == b'{"result":false}\n'


def test_the_decision_is_the_native_one_and_names_its_audit_entry(house: House) -> None:
    native = call(house, "POST", "/v1/decide", ASK).json
    got = call(house, "POST", "/v1/data/watchkey/decision", INPUT).json
    assert got == {"decision_id": "0", "result": native}


@pytest.mark.parametrize(
    ("path", "pick"),
    [
        ("/v1/data", lambda d: {"watchkey": {"allow": True, "decision": d}}),
        ("/v1/data/", lambda d: {"watchkey": {"allow": True, "decision": d}}),
        ("/v1/data/watchkey", lambda d: {"allow": True, "decision": d}),
        ("/v1/data//watchkey//allow/", lambda _: True),
        ("/v1/data/watch%6bey/allow", lambda _: True),
        ("/v1/data/watchkey/decision/reason", lambda d: d["reason"]),
        ("/v1/data/watchkey/decision/evidence/0/level", lambda _: 1),
    ],
)
def test_a_path_walks_into_the_document(house: House, path: str, pick: Any) -> None:
    native = call(house, "POST", "/v1/decide", ASK).json
    assert call(house, "POST", path, INPUT).json["result"] == pick(native)


@pytest.mark.parametrize(
    "path",
    [
        "nope",
        "watchkey/nope",
        "watchkey/allow/x",
        "watchkey/decision/evidence/9",
        "watchkey/decision/evidence/-1",
        "watchkey/decision/evidence/%C2%B2",
        "watchkey%2Fallow",
        "../data/watchkey/allow",
        "watchkey/../watchkey/allow",
        "%2e%2e/%2e%2e/etc/passwd",
        "WATCHKEY/allow",
    ],
)
def test_an_undefined_path_is_200_without_result(house: House, path: str) -> None:
    got = call(house, "POST", f"/v1/data/{path}", INPUT, who="plain")
    assert (got.status, got.body) == (200, b"{}\n")


@pytest.mark.parametrize("body", [b"", b" \n", b"{}", b'{"input":null}', b'{"input": null }', b'{"inputs":{}}'])
def test_a_missing_input_is_a_no_with_opas_warning(house: House, body: bytes) -> None:
    got = call(house, "POST", "/v1/data/watchkey/allow", body, who="plain")
    assert (got.status, got.json) == (200, {"result": False, "warning": WARNING})


def test_a_get_takes_its_input_from_the_query_and_never_warns(house: House) -> None:
    asked = quote(json.dumps(ASK))
    assert call(house, "GET", f"/v1/data/watchkey/allow?input={asked}", who="plain").body == b'{"result":true}\n'
    assert call(house, "GET", "/v1/data/watchkey/allow", who="plain").body == b'{"result":false}\n'


@pytest.mark.parametrize("value", [{}, "x", 1, [], {**ASK, "subject": 1}, {**ASK, "resource": ""}])
def test_an_input_that_is_no_question_is_a_no(house: House, value: Any) -> None:
    got = call(house, "POST", "/v1/data/watchkey/allow", {"input": value}, who="plain")
    assert (got.status, got.body) == (200, b'{"result":false}\n')
    detail = call(house, "POST", "/v1/data/watchkey/decision", {"input": value}).json["result"]
    assert (detail["allow"], detail["error"]["code"]) == (False, "malformed")


def test_other_keys_beside_the_question_do_not_matter(house: House) -> None:
    asked = {"input": {**ASK, "request": {"http": {}}}, "more": 1}
    assert call(house, "POST", "/v1/data/watchkey/allow", asked, who="plain").json == {"result": True}


@pytest.mark.parametrize(
    ("method", "path", "body", "begins"),
    [
        ("POST", "watchkey/allow", b'{"input":', "body contains malformed input document: "),
        ("POST", "watchkey/allow", b"[1]", "body contains malformed input document: "),
        ("POST", "watchkey/allow", b'{"input":{"a":NaN}}', "body contains malformed input document: "),
        ("POST", "watchkey/allow", b'{"input":{},"input":{}}', "body contains malformed input document: "),
        ("GET", "watchkey/allow?input=%7B", b"", "parameter contains malformed input document: "),
        ("GET", "watchkey/allow?input=%FF", b"", "parameter contains malformed input document: "),
        ("POST", "watchkey/al%22low", b"{}", "invalid path"),
        ("POST", "watchkey/%FF", b"{}", "invalid path"),
    ],
)
def test_errors_have_opas_shape_indented_by_two(house: House, method: str, path: str, body: bytes, begins: str) -> None:
    got = call(house, method, f"/v1/data/{path}", body)
    assert got.status == 400
    assert got.body == (json.dumps(got.json, indent=2) + "\n").encode()
    assert list(got.json) == ["code", "message"]
    assert got.json["code"] == "invalid_parameter"
    assert got.json["message"].startswith(begins)


def test_who_is_not_known_gets_opas_unauthorized(house: House) -> None:
    got = call(house, "POST", "/v1/data/watchkey/allow", INPUT, who=None)
    assert (got.status, got.json["code"]) == (401, "unauthorized")


def test_a_wrong_method_gets_an_empty_405(house: House) -> None:
    for method in ("PUT", "PATCH", "DELETE"):
        got = call(house, method, "/v1/data/watchkey/allow")
        assert (got.status, got.body) == (405, b"")
        assert got.headers["allow"] == "GET, HEAD, POST"


def test_the_content_type_is_not_enforced_since_pam_opa_sends_a_forms(house: House) -> None:
    for content_type in ("application/x-www-form-urlencoded", "text/plain", ""):
        got = call(house, "POST", "/v1/data/watchkey/allow", INPUT, who="plain", headers={"content-type": content_type})
        assert got.json == {"result": True}
    yaml = call(house, "POST", "/v1/data/watchkey/allow", INPUT, headers={"content-type": "application/x-yaml"})
    assert yaml.status == 400


def test_a_gzip_body_is_unpacked_within_bounds(house: House) -> None:
    def send(body: bytes) -> int:
        got = call(house, "POST", "/v1/data/watchkey/allow", body, headers={"content-encoding": "gzip"})
        return got.status

    packed = gzip.compress(json.dumps(INPUT).encode())
    assert send(packed) == 200
    assert send(packed[:-10]) == 400
    assert send(b"not gzip") == 400
    assert send(gzip.compress(b" " * 50_000_000)) == 400
    assert call(house, "POST", "/v1/data/x", b"{}", headers={"content-encoding": "br"}).status == 400


def test_pretty_provenance_and_metrics(house: House) -> None:
    pretty = call(house, "POST", "/v1/data/watchkey/allow?pretty", INPUT, who="plain")
    assert pretty.body == b'{\n  "result": true\n}\n'
    got = call(house, "POST", "/v1/data/watchkey/allow?provenance=TRUE&metrics&explain=full", INPUT).json
    assert set(got) == {"decision_id", "metrics", "provenance", "result"}
    assert got["metrics"]["timer_server_handler_ns"] > 0
    assert set(got["provenance"]) == {"version", "build_commit", "build_timestamp", "build_hostname"}


def test_an_untrusted_caller_learns_no_reason_no_entry_and_no_time(house: House) -> None:
    for subject, resource in (("carol", "orders-db"), ("alice", "billing-db"), ("alice", "no-such")):
        asked = {"input": {**ASK, "subject": subject, "resource": resource}}
        got = call(house, "POST", "/v1/data/watchkey/decision?metrics", asked, who="plain")
        assert got.body == b'{"result":{"allow":false}}\n'


POLICY = """package watchkey
import rego.v1
default allow := false
"""


@pytest.mark.skipif(shutil.which("opa") is None, reason="no opa on PATH to compare with")
def test_a_real_opa_answers_alike(house: House, tmp_path: Path) -> None:
    policy = tmp_path / "policy.rego"
    policy.write_text(POLICY)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    command = ["opa", "run", "--server", "--addr", f"127.0.0.1:{port}", "--log-level", "error", str(policy)]
    opa = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        asked = [
            ("POST", "/v1/data/watchkey/allow", b'{"input":{"a":1}}'),
            ("POST", "/v1/data/watchkey/allow", b""),
            ("POST", "/v1/data/watchkey/allow", b"{}"),
            ("POST", "/v1/data/nope", b'{"input":null}'),
            ("POST", "/v1/data/nope", b'{"input":1}'),
            ("GET", "/v1/data/watchkey/allow?input=%7B%7D", b""),
            ("GET", "/v1/data/watchkey/allow?pretty", b""),
        ]
        refused = [("POST", "/v1/data/watchkey/allow", b'{"input":'), ("GET", "/v1/data/watchkey/allow?input=%7B", b"")]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            _wait_for(client)
            for method, path, body in asked:
                theirs = client.request(method, path, content=body)
                ours = call(house, method, path, body, who="plain")
                assert (ours.status, ours.body) == (theirs.status_code, theirs.content), (method, path, body)
            for method, path, body in refused:
                theirs, ours = client.request(method, path, content=body), call(house, method, path, body)
                assert ours.status == theirs.status_code
                assert ours.json["code"] == theirs.json()["code"]
                assert ours.json["message"].partition(":")[0] == theirs.json()["message"].partition(":")[0]
    finally:
        opa.terminate()
        opa.wait(10)


def _wait_for(client: httpx.Client) -> None:
    for _ in range(100):
        try:
            client.get("/health")
        except httpx.TransportError:
            sleep(0.1)
        else:
            return
    raise AssertionError("opa did not start")
