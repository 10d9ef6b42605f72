"""`watchkey sessions`: its table. The whole way is in tests/live/test_whole_service.py."""

from watchkey.entrypoints.cli.sessions import _words

SESSION = {
    "id": "s1", "subject": "alice", "resource": "orders-db", "ends_at": "2026-07-01T18:00:00.5Z",
    "client": "10.0.0.1:5",
    "application": "psql\x1b[31m", "transaction": "T",
    "running": "SELECT\n  1", "fact": "alice is primary",
}  # fmt: skip


def test_one_line_says_who_what_until_when_and_why() -> None:
    text = _words({"sessions": [SESSION], "endings": []})
    assert "alice" in text
    assert "2026-07-01 18:00:00" in text
    assert "SELECT 1" in text
    assert "\x1b" not in text


def test_a_shared_account_comes_with_its_risks() -> None:
    assert "shared account" not in _words({"sessions": [SESSION], "endings": []})
    assert f"{SESSION['resource']} has a shared account" in _words({"sessions": [{**SESSION, "is_shared": True}]})


def test_nobody_and_what_is_stuck() -> None:
    ending = {"lease": "l1", "subject": "bob", "resource": "orders-db", "state": "stuck", "blocked_by": "1 object(s)"}
    text = _words({"sessions": [], "endings": [ending]})
    assert "nobody is in" in text
    assert "stuck" in text
    assert "1 object(s)" in text
