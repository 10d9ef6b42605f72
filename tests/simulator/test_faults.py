from watchkey.simulator import Body, Faults


def test_faults_hit_only_what_they_are_meant_for() -> None:
    faults = Faults(status=503, only="/oncalls", skip=1, times=2)
    assert not faults.hits("/users")
    assert [faults.hits("/oncalls") for _ in range(4)] == [False, True, True, False]
    faults.clear()
    assert not faults.hits("/oncalls")
    faults.body = Body.HTML
    assert faults.hits("/anything")


def test_the_rate_limit_counts_until_it_is_refilled() -> None:
    faults = Faults()
    assert not any(faults.is_over_limit() for _ in range(100))
    faults.rate_limit = 2
    assert [faults.is_over_limit() for _ in range(3)] == [False, False, True]
    faults.refill()
    assert not faults.is_over_limit()
