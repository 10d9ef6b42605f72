"""Three errors, three reactions."""

import pytest

from watchkey.model.errors import Malformed, PortError, Refused, Unavailable


def test_all_three_are_port_errors_and_none_is_another() -> None:
    assert all(issubclass(kind, PortError) for kind in (Unavailable, Refused, Malformed))
    with pytest.raises(Refused):
        raise Refused("no")
    assert not isinstance(Refused("no"), Unavailable | Malformed)


def test_unavailable_says_when_to_come_back() -> None:
    assert Unavailable("busy").retry_after is None
    assert Unavailable("busy", retry_after=3.0).retry_after == 3.0
    assert str(Unavailable("PagerDuty answered 503")) == "PagerDuty answered 503"
