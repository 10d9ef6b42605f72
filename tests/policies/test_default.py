"""The shipped policy's own tests pass in the embedded engine, and unchanged under a real OPA where there is one."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from watchkey.rego import RegoErrors, compile_modules

FOLDER = Path(__file__).parents[2] / "src/watchkey/policies"
MODULES = {path.name: path.read_text() for path in sorted(FOLDER.glob("*.rego"))}
NAMES = re.findall(r"^(test_\w+)", MODULES["default_test.rego"], re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_in_the_embedded_engine(name: str) -> None:
    result = compile_modules(MODULES, strict=True).query(f"data.watchkey_test.{name}").evaluate()
    assert result.defined
    assert result.json() is True


def test_each_line_of_it_is_tested() -> None:
    """Take each line of a rule's body out, one at a time: some test must notice."""
    source = MODULES["default.rego"]
    lines = [line for line in source.splitlines() if line.startswith("\t")]
    survived = {line.strip() for line in lines if not _is_noticed(source.replace(line + "\n", "", 1))}
    assert survived == set()


def _is_noticed(mutant: str) -> bool:
    try:
        policy = compile_modules(MODULES | {"default.rego": mutant})
    except RegoErrors:  # a mutant that does not compile is noticed
        return True
    results = [policy.query(f"data.watchkey_test.{name}").evaluate() for name in NAMES]
    return not all(result.defined and result.json() is True for result in results)


@pytest.mark.skipif(shutil.which("opa") is None, reason="no opa on PATH")
def test_under_a_real_opa() -> None:
    run = subprocess.run(["opa", "test", "-v", str(FOLDER)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"PASS: {len(NAMES)}/{len(NAMES)}" in run.stdout
