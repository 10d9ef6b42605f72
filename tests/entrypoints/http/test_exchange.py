"""An error answer says no to whoever reads only `allow`."""

import json

from watchkey.entrypoints.http.exchange import Fault, native_fault


def test_an_error_is_a_no_with_its_code_message_and_headers() -> None:
    response = native_fault(Fault(429, "too_many_requests", "later", headers=((b"retry-after", b"1"),)))
    assert response.status == 429
    assert json.loads(response.body) == {"allow": False, "error": {"code": "too_many_requests", "message": "later"}}
    assert response.headers == ((b"retry-after", b"1"),)
