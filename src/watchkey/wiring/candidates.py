"""A changed policy, compiled and tested beside the running one before it may take over."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

from watchkey.engines import rego
from watchkey.flows.check_policy import host_functions, rego_dialect
from watchkey.flows.swap_policy import Candidate
from watchkey.flows.test_policy import Case, Result, Status, rego_tests, run_case, run_rego_test
from watchkey.model.errors import Malformed
from watchkey.ports import Clock
from watchkey.rego import RegoErrors, compile_modules, freeze
from watchkey.rules.located import ConfigError
from watchkey.settings import PolicySettings, Settings
from watchkey.settings.cases import load_cases
from watchkey.wiring.cases import CaseBench
from watchkey.wiring.clocks import SystemClock
from watchkey.wiring.policies import policy_config, text_of


async def candidate(settings: Settings, name: str) -> Candidate:
    """A policy as its files are now, compiled and tested aside from the loop. Raises port errors."""
    return await asyncio.to_thread(_compiled_candidate, settings.policies.get(name))


def _compiled_candidate(policy: PolicySettings | None) -> Candidate:
    config = policy_config(policy)
    engine = rego.build(config)
    tests = () if policy is None else policy.tests
    return Candidate(
        policy_hash=engine.policy_hash,
        declared=engine.declared_revision,
        failures=tuple(_failures(config, tests)),
        engine=engine.numbered,
    )


def _failures(config: rego.Config, tests: Sequence[Path]) -> Iterator[str]:
    """What the tests of a policy say that do not pass. Raises `Malformed` when they cannot be run."""
    clock = SystemClock()
    results: list[Result] = []
    try:
        modules = {str(path): text_of(path) for path in tests if path.suffix == ".rego"}
        if modules:
            ready = compile_modules(
                {**config.modules, **modules},
                dialect=rego.dialects_of(config) | dict.fromkeys(modules, rego_dialect(config.dialect)),
                host_functions=host_functions(config.dialect),
            )
            data = freeze({**config.data, "policyparams": dict(config.parameters)})
            results += [run_rego_test(ready, test, data, clock) for test in rego_tests(ready.modules)]
        for path in tests:
            if path.suffix in {".yaml", ".yml"}:
                bench, cases = CaseBench(file := load_cases(path), config), file.cases
                results += asyncio.run(_case_results(bench, cases, clock))
    except RegoErrors as error:
        raise Malformed(f"its tests: {error}") from error
    except ConfigError as error:
        raise Malformed(f"its tests: {error}") from error
    yield from (f"{one.name}: {one.message}" for one in results if one.status in {Status.FAILED, Status.ERROR})


async def _case_results(bench: "CaseBench", cases: Sequence[Case], clock: Clock) -> list[Result]:
    return [await run_case(case, bench.ask, clock) for case in cases]
