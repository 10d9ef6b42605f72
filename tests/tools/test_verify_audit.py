"""The auditor's one-file verifier: agrees with `watchkey audit verify` on exports and proofs, good and bad."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audit_cases import KEY, make_log, note_at
from watchkey.rules.checkpoint import Proof, SigningKey, format_proof
from watchkey.rules.merkle import hash_leaf, inclusion_proof, root_of

TOOL = Path(__file__).parents[2] / "tools" / "verify_audit.py"
PUBLIC = str(KEY.verifying)
SIZE = 23
LOG = make_log(SIZE, signed=(SIZE,))
BODIES = [entry.body for entry in LOG.entries]
NOTE = LOG.notes[0].note
THIEF = SigningKey(KEY.name, bytes(32))


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    # -I: neither the project nor the working directory can be imported, as on an auditor's machine.
    return subprocess.run([sys.executable, "-I", TOOL, *words], capture_output=True, text=True, check=False, timeout=60)


def export(tmp_path: Path, bodies: list[bytes], *notes: str) -> Path:
    file = tmp_path / "audit.jsonl"
    lines = [*bodies, *(b'{"checkpoint":' + json.dumps(note, ensure_ascii=False).encode() + b"}" for note in notes)]
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return file


def proof_of(index: int) -> Proof:
    leaves = [hash_leaf(body) for body in BODIES]
    return Proof(index, BODIES[index], inclusion_proof(index, SIZE, lambda low, high: root_of(leaves[low:high])), NOTE)


def test_it_needs_nothing_but_the_standard_library_and_cryptography() -> None:
    tree = ast.parse(TOOL.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {f"{node.module}" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    tops = {name.split(".")[0] for name in names}
    assert tops - set(sys.stdlib_module_names) == {"cryptography"}
    assert len(TOOL.read_text(encoding="utf-8").splitlines()) < 300


def test_a_good_export(tmp_path: Path) -> None:
    result = run("export", export(tmp_path, BODIES, NOTE), "--key", PUBLIC)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"ok: {SIZE} entries of example.com/audit, root ")


def careful(body: bytes) -> bytes:
    return body.replace(b"alice", b"mallo")


FORGED = [BODIES[0], careful(BODIES[1]), *BODIES[2:]]
FORGED_NOTE = note_at(make_log(SIZE, signed=(), key=THIEF).entries, SIZE, THIEF)


@pytest.mark.parametrize(
    ("bodies", "notes", "code", "said"),
    [
        (FORGED, [NOTE], 2, "the first 23 entries are not those that were signed"),
        (BODIES[:5] + BODIES[6:], [NOTE], 4, "entries 5 to 5 are missing"),
        (BODIES[1:], [NOTE], 4, "entries 0 to 0 are missing"),
        (BODIES[:-2], [NOTE], 3, "entries 21 to 22 are missing at the end"),
        ([*BODIES[:4], BODIES[3], *BODIES[4:]], [NOTE], 2, "entry 3 stands where entry 4 belongs"),
        ([*BODIES, BODIES[0].replace(b'"seq":0', b'"seq":23')], [NOTE], 2, "not covered by any checkpoint"),
        (BODIES, [], 2, "no signed checkpoint"),
        (BODIES, [FORGED_NOTE], 2, "not signed by"),
        (BODIES, [NOTE.replace("\n23\n", "\n22\n")], 2, "is wrong"),
        (BODIES, [NOTE, NOTE], 2, "something after the checkpoint"),
        (BODIES, ["nonsense"], 2, "not signed by"),
        ([b"nonsense"], [NOTE], 2, "is not an entry"),
        ([b"[" * 100_000], [NOTE], 2, "is not an entry"),
        ([b"\xff\xfe"], [NOTE], 2, "is not an entry"),
        ([], [], 2, "no signed checkpoint"),
    ],
)
def test_a_bad_export(tmp_path: Path, bodies: list[bytes], notes: list[str], code: int, said: str) -> None:
    result = run("export", export(tmp_path, bodies, *notes), "--key", PUBLIC)
    assert (result.returncode, result.stderr) == (code, "")
    assert said in result.stdout


def test_a_checkpoint_kept_elsewhere_finds_what_the_export_hides(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text(NOTE, encoding="utf-8")
    cut = export(tmp_path, BODIES[:9], note_at(LOG.entries, 9))
    assert run("export", cut, "--key", PUBLIC).returncode == 0
    result = run("export", cut, "--key", PUBLIC, "--since", tmp_path / "kept")
    assert (result.returncode, result.stdout) == (3, "entries 9 to 22 are missing at the end\n")


@pytest.mark.parametrize("index", [0, 1, 7, 8, 15, 16, 21, 22])
def test_a_good_proof(tmp_path: Path, index: int) -> None:
    (tmp_path / "proof").write_text(format_proof(proof_of(index)), encoding="utf-8")
    result = run("proof", tmp_path / "proof", "--key", PUBLIC)
    assert (result.returncode, result.stderr) == (0, "")
    assert f'"sentence":"allow {index}"' in result.stdout


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("index 7", "index 8"),
        ("index 7", "index 99"),
        ("index 7", "index -1"),
        ("index 7", "index x"),
        ("index 7\n", "index 7\n" + "A" * 43 + "=\n"),
        ("extra ", "extra AAAA"),
        ("extra ", "other "),
        ("\n23\n", "\n24\n"),
        ("—", "-"),
        ("tlog-proof@v1", "tlog-proof@v9"),
    ],
)
def test_a_bad_proof(tmp_path: Path, old: str, new: str) -> None:
    text = format_proof(proof_of(7))
    assert old in text
    (tmp_path / "proof").write_text(text.replace(old, new), encoding="utf-8")
    result = run("proof", tmp_path / "proof", "--key", PUBLIC)
    assert (result.returncode, result.stderr) == (2, "")


def test_what_could_not_be_checked_does_not_look_like_a_verdict(tmp_path: Path) -> None:
    file = export(tmp_path, BODIES, NOTE)
    for words in (
        ("export", tmp_path / "no such file", "--key", PUBLIC),
        ("export", file, "--key", "no key"),
        ("export", file, "--key", PUBLIC[:-2]),
        ("export", file),
        ("other", file, "--key", PUBLIC),
    ):
        assert run(*words).returncode == 1


def test_the_private_key_is_refused_and_not_repeated(tmp_path: Path) -> None:
    result = run("export", export(tmp_path, BODIES, NOTE), "--key", KEY.reveal())
    assert result.returncode == 1
    assert KEY.reveal()[-20:] not in result.stdout + result.stderr
