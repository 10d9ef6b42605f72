"""What the rest of the tree may ask of the wiring is what it offers, and no name of it is forgotten."""

from watchkey import wiring


def test_everything_that_is_offered_is_there_and_from_inside() -> None:
    assert sorted(wiring.__all__) == list(wiring.__all__)
    for name in wiring.__all__:
        assert getattr(wiring, name).__module__.startswith("watchkey.wiring."), name
