"""The writer of Python text: loops, bodies that end with their first success, deep nesting split into functions."""

from __future__ import annotations

from typing import Any

from watchkey.rego.emit import Emitter, Unit
from watchkey.rego.values import FALSE, TRUE


def run(write: Any, *args: Any) -> Any:
    emitter = Emitter(Unit())
    with emitter.function("f(xs)"):
        emitter.line("out = []")
        write(emitter)
        emitter.line("return out")
    namespace = {**emitter.unit.namespace, "UNDEF": object(), "TRUE": TRUE, "FALSE": FALSE}
    exec("\n".join(emitter.unit.lines), namespace)  # noqa: S102 - the text under test
    assert len(emitter.unit.lines) == len(emitter.unit.places)
    return namespace["f"](*args)


def loops(emitter: Emitter, count: int, *, once: bool) -> None:
    with emitter.body(once=once):
        names = []
        for _ in range(count):
            emitter.split_if_deep()
            name = emitter.temporary()
            emitter.loop(name, "xs")
            emitter.bound[name] = name
            names.append(name)
        emitter.fail_if(f"{names[0]} == 1")
        emitter.line(f"out.append(({', '.join(names)},))")


def test_all_solutions_and_the_first() -> None:
    assert run(lambda emitter: loops(emitter, 2, once=False), [1, 2]) == [(2, 1), (2, 2)]
    assert run(lambda emitter: loops(emitter, 2, once=True), [1, 2]) == [(2, 1)]


def test_more_loops_than_python_can_nest() -> None:
    assert run(lambda emitter: loops(emitter, 30, once=True), [2, 3]) == [(2,) * 30]
    assert len(run(lambda emitter: loops(emitter, 25, once=False), [2])) == 1


def test_isolated_results_at_any_depth() -> None:
    def write(emitter: Emitter, depth: int = 0) -> None:
        def inner(name: str) -> None:
            with emitter.body(once=False):
                emitter.loop(f"v{depth}", "xs")
                emitter.line(f"out.append(v{depth})")
                if depth < 14:
                    write(emitter, depth + 1)
                emitter.line(f"{name} = v{depth}")

        emitter.isolated("0", inner)

    assert run(write, [7]) == [7] * 15


def test_constants() -> None:
    unit = Unit()
    assert unit.constant("é\ud800") == "'\\xe9\\ud800'"
    assert (unit.constant(None), unit.constant(TRUE), unit.constant(5)) == ("None", "TRUE", "5")
    assert unit.constant((1,)) == unit.constant((1,)) != unit.constant((TRUE,))
    assert unit.constant(10**30).startswith("C")
