"""`python -m watchkey` is the program."""

import subprocess
import sys

from watchkey import __version__


def test_the_module_is_the_program() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "watchkey", "--version"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, f"watchkey {__version__}\n", "")


def test_importing_it_runs_nothing() -> None:
    result = subprocess.run(
        [sys.executable, "-c", "import watchkey.__main__"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
