"""Buckets fill with time, callers do not starve each other, and who holds an allow stays in the lane."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.entrypoints.http.limits import Limits, Quotas, TokenBucket
from watchkey.model.ids import CallerId


@given(
    st.floats(min_value=0.1, max_value=100),
    st.integers(min_value=1, max_value=50),
    st.lists(st.floats(min_value=0, max_value=3), max_size=60),
)
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate(rate: float, burst: int, gaps: list[float]) -> None:
    bucket, now, taken = TokenBucket(rate=rate, burst=burst, now=0.0), 0.0, 0
    for gap in gaps:
        now += gap
        taken += bucket.take(now)
        assert taken <= burst + now * rate + 1e-6


def test_an_empty_bucket_says_how_long_to_wait_and_keeps_its_word() -> None:
    bucket = TokenBucket(rate=0.5, burst=1, now=0.0)
    assert bucket.take(0.0)
    assert not bucket.take(0.0)
    assert bucket.wait_for() == pytest.approx(2.0)
    assert not bucket.take(1.9)
    assert bucket.take(2.0)


def test_time_that_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(rate=1000, burst=1, now=10.0)
    assert bucket.take(10.0)
    assert not bucket.take(5.0)


def test_each_caller_has_its_own_quota() -> None:
    quotas = Quotas(Limits(quota_per_s=1, quota_burst=2))
    noisy, quiet = CallerId("noisy"), CallerId("quiet")
    assert [quotas.bucket(noisy, 0.0).take(0.0) for _ in range(4)] == [True, True, False, False]
    assert quotas.bucket(quiet, 0.0).take(0.0)


@pytest.mark.parametrize(
    "section", [{"body_bytes": 10}, {"head_s": 0}, {"quota_burst": 0}, {"depth_max": 1000}, {"bodybytes": 2048}]
)
def test_a_section_that_makes_no_sense_is_refused(section: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(section, Limits)
