"""The native dialect: single and batch, who is on call, the roster; and what each kind of caller may see."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.builders import HOUR, NOW, SERVICE, index, shift
from tests.entrypoints.http.house import ASK, House, call
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.questions import Answered, Deciding
from watchkey.model.access import AccessRequest, Caller
from watchkey.model.audit import DecisionMade


def test_one_question_gets_one_decision_with_its_audit_entry(house: House) -> None:
    got = call(house, "POST", "/v1/decide", ASK)
    assert got.status == 200
    assert got.headers["content-type"] == "application/json"
    assert got.headers["cache-control"] == "no-store"
    assert (got.json["allow"], got.json["reason"], got.json["ttl_s"]) == (True, "on_call", 1800)
    event = house.audit.events[got.json["seq"]]
    assert isinstance(event, DecisionMade)
    assert event.decision.request.caller == "trusted"


def test_an_allow_again_has_less_time_left_and_no_new_entry(house: House) -> None:
    call(house, "POST", "/v1/decide", ASK)
    house.clock.advance(timedelta(minutes=5, milliseconds=1))
    got = call(house, "POST", "/v1/decide", ASK)
    assert (got.json["ttl_s"], got.json["seq"], len(house.audit.events)) == (1499, 0, 1)
    house.clock.advance(timedelta(minutes=25))
    assert call(house, "POST", "/v1/decide", ASK).json["allow"] is False


def test_a_batch_is_answered_in_its_order(house: House) -> None:
    names = ["alice", "bob", "carol", "alice", "nobody"]
    got = call(house, "POST", "/v1/decide", {"requests": [{**ASK, "subject": {"id": name}} for name in names]})
    reasons = [each["reason"] for each in got.json["decisions"]]
    assert reasons == ["on_call", "level_too_high", "not_on_call", "on_call", "not_linked"]


def test_a_batch_has_a_bound() -> None:
    with House(Limits(batch_max=2)).open() as house:
        assert call(house, "POST", "/v1/decide", {"requests": [ASK] * 2}).status == 200
        got = call(house, "POST", "/v1/decide", {"requests": [ASK] * 3})
        assert (got.status, got.json["error"]["code"], got.json["allow"]) == (400, "batch_too_large", False)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "truncated"),
        (b"{}", "subject"),
        (b"[]", "object"),
        ({**ASK, "subject": "alice"}, "$.subject"),
        ({**ASK, "subject": {"id": ""}}, "$.subject.id"),
        ({**ASK, "subject": {"id": "x" * 513}}, "$.subject.id"),
        ({**ASK, "subject": {"id": "alice", "role": "x"}}, "role"),
        ({**ASK, "privilege": 1}, "$.privilege"),
        ({**ASK, "resource": None}, "$.resource"),
        ({**ASK, "contxt": {}}, "contxt"),
        ({**ASK, "context": []}, "$.context"),
        ({"requests": []}, "$.requests"),
        ({"requests": [ASK, {}]}, "$.requests[1]"),
        ({"requests": [ASK], "subject": {}}, "subject"),
        (b'{"subject":{"id":"alice"},"privilege":"write","resource":"orders-db","resource":"billing-db"}', "twice"),
        (b'{"subject":{"id":"a\xff"},"privilege":"write","resource":"orders-db"}', "UTF-8"),
        (b'{"subject":{"id":"a"},"privilege":"write","resource":"orders-db","context":{"a":NaN}}', "malformed"),
        (b'{"context":' + b'{"a":' * 40 + b"1" + b"}" * 41, "32 levels"),
    ],
)
def test_a_malformed_question_is_told_what_is_wrong_and_asks_nothing(house: House, body: Any, says: str) -> None:
    got = call(house, "POST", "/v1/decide", body)
    assert (got.status, got.json["allow"], got.json["error"]["code"]) == (400, False, "malformed")
    assert says in got.json["error"]["message"]
    assert house.audit.events == []


def test_the_word_requests_inside_a_context_does_not_make_a_batch(house: House) -> None:
    assert call(house, "POST", "/v1/decide", {**ASK, "context": {"requests": [1]}}).json["allow"] is True


class Keeping:
    """Passes questions on and keeps them."""

    def __init__(self, inner: Deciding) -> None:
        self.inner = inner
        self.asked: list[AccessRequest] = []

    async def answer(self, request: AccessRequest, caller: Caller, /) -> Answered:
        self.asked.append(request)
        return await self.inner.answer(request, caller)


def test_equal_bytes_of_two_callers_are_two_questions() -> None:
    house = House()
    keeping = Keeping(house.request_access)
    house.request_access = keeping
    with house.open():
        for who in ("trusted", "plain", "nothing", "plain", "trusted"):
            call(house, "POST", "/v1/decide", ASK, who=who)
    assert [each.caller for each in keeping.asked] == ["trusted", "plain", "nothing", "plain", "trusted"]


def test_more_different_questions_than_are_remembered_are_all_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchkey.entrypoints.http.native._UNDERSTOOD_MAX", 2)
    with House().open() as house:
        for name in ("alice", "bob", "carol", "alice", "nobody", "alice"):
            got = call(house, "POST", "/v1/decide", {**ASK, "subject": {"id": name}})
            assert got.json["allow"] is (name == "alice")


def test_an_untrusted_caller_cannot_tell_one_no_from_another(house: House) -> None:
    refused = [
        {**ASK, "subject": {"id": "carol"}},
        {**ASK, "subject": {"id": "nobody"}},
        {**ASK, "resource": "no-such-db"},
        {**ASK, "resource": "billing-db"},
        {**ASK, "privilege": "no-such"},
    ]
    answers = [call(house, "POST", "/v1/decide", each, who="plain") for each in refused]
    for got in answers:
        assert (got.status, got.body) == (200, b'{"allow":false}')
        same = {name: value for name, value in got.headers.items() if name not in {"x-request-id", "date"}}
        assert same == {
            name: value for name, value in answers[0].headers.items() if name not in {"x-request-id", "date"}
        }


def test_groups_count_only_from_a_trusted_caller(house: House) -> None:
    for who in ("trusted", "plain"):
        call(house, "POST", "/v1/decide", {**ASK, "subject": {"id": "alice", "groups": ["dba"]}}, who=who)
    seen = [set(document["subject"]["groups"]) for document in house.engine.documents]
    assert seen == [{"dba"}, set()]


def test_who_is_on_call_for_a_resource_and_in_a_scope(house: House) -> None:
    by_resource = call(house, "GET", "/v1/on-call?resource=orders-db").json
    by_scope = call(house, "GET", f"/v1/on-call?scope={quote(str(SERVICE), safe='')}").json
    assert by_resource == by_scope
    (scope,) = by_resource["scopes"]
    assert [(each["name"], each["level"]) for each in scope["on_call"]] == [("alice", 1), ("bob", 2)]
    assert (scope["known"], scope["revision"], scope["age_s"]) == (True, 1, 0.0)


def test_on_call_at_another_instant_is_half_open(house: House) -> None:
    ends = NOW + HOUR / 2
    for at, names in ((ends - timedelta(microseconds=1), {"alice", "bob"}), (ends, set())):
        got = call(house, "GET", f"/v1/on-call?resource=orders-db&at={quote(at.isoformat())}").json
        assert {each["name"] for each in got["scopes"][0]["on_call"]} == names


def test_a_scope_of_which_nothing_is_known_says_so_instead_of_nobody(house: House) -> None:
    for scope in ("pager/service/no-such", "other/service/orders"):
        assert call(house, "GET", f"/v1/on-call?scope={scope}").json["scopes"][0]["known"] is False


@pytest.mark.parametrize(
    "query",
    [
        "",
        "resource=orders-db&scope=pager/service/orders",
        "resource=orders-db&resource=billing-db",
        "resource=orders-db&who=x",
        "resource=orders-db&at=noon",
        "resource=orders-db&at=2026-07-01T12:00:00",
        "resource=orders-db&at=0001-01-01T00:00:00%2B14:00",
        "scope=orders",
        "scope=pager/team/orders",
        "scope=pager/service/",
        "resource",
        "resource=%ff",
    ],
)
def test_a_malformed_on_call_question_is_told_so(house: House, query: str) -> None:
    got = call(house, "GET", f"/v1/on-call?{query}")
    assert (got.status, got.json["error"]["code"]) == (400, "malformed")


@pytest.mark.parametrize("path", ["/v1/on-call?resource=orders-db", "/v1/roster"])
def test_facts_about_people_are_for_trusted_callers(house: House, path: str) -> None:
    assert call(house, "GET", path, who="plain").status == 403
    assert call(house, "GET", path, who=None).status == 401


def test_a_narrow_caller_sees_its_own_resources_and_cannot_tell_what_else_there_is(house: House) -> None:
    assert call(house, "GET", "/v1/on-call?resource=orders-db", who="narrow").status == 200
    other = call(house, "GET", "/v1/on-call?resource=billing-db", who="narrow")
    nothing = call(house, "GET", "/v1/on-call?resource=no-such", who="narrow")
    assert (other.status, other.body) == (nothing.status, nothing.body)
    assert other.status == 404
    assert call(house, "GET", "/v1/on-call?scope=pager/service/orders", who="narrow").status == 200
    assert call(house, "GET", "/v1/on-call?scope=pager/service/other", who="narrow").status == 404


def test_the_roster_comes_in_pages_that_together_are_all_of_it(house: House) -> None:
    shifts = [shift("PALICE", starts_at=NOW + n * HOUR, ends_at=NOW + (n + 1) * HOUR) for n in range(30)]
    house.rosters.swap(index(*shifts), read_at=house.clock.monotonic())
    seen: list[str] = []
    after: int | None = 0
    while after is not None:
        page = call(house, "GET", f"/v1/roster?after={after}&limit=7").json
        assert page["revision"] == 2
        assert [person["id"] for person in page["people"]] == ["PALICE"]
        seen += [each["starts_at"] for each in page["shifts"]]
        after = page["next"]
    assert seen == [f"2026-07-0{1 + (12 + n) // 24}T{(12 + n) % 24:02}:00:00Z" for n in range(24)]


def test_a_narrow_caller_gets_the_shifts_of_its_own_scopes(house: House) -> None:
    shifts = [shift(), shift("PCAROL", policy="other-policy", schedule="other")]
    house.rosters.swap(index(*shifts), read_at=house.clock.monotonic())
    everything = call(house, "GET", "/v1/roster").json
    narrow = call(house, "GET", "/v1/roster", who="narrow").json
    assert {each["person"] for each in everything["shifts"]} == {"PALICE", "PCAROL"}
    assert {each["person"] for each in narrow["shifts"]} == {"PALICE"}
    assert {each["id"] for each in narrow["people"]} == {"PALICE"}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("source=no-such", 404),
        ("start=2026-07-02T00:00:00Z&end=2026-07-02T00:00:00Z", 400),
        ("start=2026-07-02T00:00:00Z&end=2026-09-02T00:00:00Z", 400),
        ("limit=5001", 400),
        ("limit=-1", 400),
        ("after=x", 400),
        ("after=99999999999", 400),
    ],
)
def test_a_malformed_roster_question_is_told_so(house: House, query: str, status: int) -> None:
    assert call(house, "GET", f"/v1/roster?{query}").status == status


def test_without_a_roster_there_is_none_to_show() -> None:
    with House(has_roster=False).open() as house:
        assert call(house, "GET", "/v1/roster").status == 404
        assert call(house, "POST", "/v1/decide", ASK).json["reason"] == "no_roster"
