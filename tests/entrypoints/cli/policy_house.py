"""A short way to run `watchkey policy …` in tests."""

from pathlib import Path

from click.testing import CliRunner, Result

from watchkey.entrypoints.cli.main import watchkey

ROOT = Path(__file__).parents[3]
POLICIES = ROOT / "src/watchkey/policies"
CASES = ROOT / "tests/cases"
CONTRACTS = ROOT.parent / "shared/contracts"


def run(*words: str | Path, config: Path | None = None, given: str | None = None) -> Result:
    """Run the command; `config` is the file of `--config`, `given` what stands on standard input."""
    before = [] if config is None else ["--config", str(config)]
    return CliRunner().invoke(watchkey, [*before, "policy", *map(str, words)], input=given)
