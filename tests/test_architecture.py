"""The house stands: the core imports only what is on its list, each module has its test, each reason its sentence."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "watchkey"
CORE = ("model", "rules", "wire", "rego")

# import-linter forbids what it names; this list allows what the core may have. None of it reads a clock, a file,
# a socket or a random number by itself, and ruff's banned-api catches the calls that would.
ALLOWED_IN_CORE = {
    "__future__", "abc", "ast", "base64", "binascii", "bisect", "calendar", "codecs", "collections", "contextlib",
    "copy", "dataclasses", "datetime", "decimal", "difflib", "enum", "fractions", "functools", "hashlib", "heapq",
    "hmac", "html", "importlib", "ipaddress", "itertools", "json", "keyword", "math", "numbers", "operator", "re",
    "string", "struct", "sys", "textwrap", "types", "typing", "unicodedata", "urllib", "weakref", "zlib", "zoneinfo",
    # Kept libraries that compute and do nothing else.
    "cryptography", "graphql", "msgspec", "pgparse", "re2", "yaml",
}  # fmt: skip


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize(
    "path", [path for path in modules() if path.relative_to(PACKAGE).parts[0] in CORE], ids=lambda path: path.stem
)
def test_the_core_imports_only_what_is_on_the_list(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            top = name.split(".")[0]
            assert top == "watchkey" or top in ALLOWED_IN_CORE, f"{path}:{node.lineno} imports {name}"
            assert top != "urllib" or name == "urllib.parse", f"{path}:{node.lineno} imports {name}"


def test_each_module_has_a_test_file_of_its_name() -> None:
    tests = {path.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    missing = []
    for path in modules():
        relative = path.relative_to(PACKAGE)
        if path.name == "__init__.py" and len(path.read_text().split("import")) == 1:
            continue  # a docstring only
        name = relative.parent.name if path.name == "__init__.py" else relative.stem
        folder = relative.parent.parent if path.name == "__init__.py" else relative.parent
        wanted = {(folder / f"test_{name}.py").as_posix(), (relative.parent / f"test_{name}.py").as_posix()}
        if not wanted & tests:
            missing.append(relative.as_posix())
    assert missing == [], "each of these modules needs tests/<same folder>/test_<name>.py"


def test_each_module_says_what_it_is_for() -> None:
    silent = [path.name for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_the_import_contracts_hold() -> None:
    run = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def test_the_lock_files_pin_with_hashes_and_name_no_host() -> None:
    for name in ("run.txt", "dev.txt", "bench.txt"):
        text = (ROOT / "requirements" / name).read_text()
        requirements = [line for line in text.splitlines() if line and line[0].isalnum()]
        assert requirements
        assert all("==" in line for line in requirements)
        assert text.count("--hash=sha256:") >= len(requirements)
        assert "://" not in text
        assert "--index" not in text


def test_runtime_dependencies_are_in_the_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = {line.split("==")[0] for line in (ROOT / "requirements/run.txt").read_text().splitlines() if "==" in line}
    wanted = {requirement.split(">=")[0].split(";")[0].strip() for requirement in project["dependencies"]}
    assert wanted <= locked
