"""Golden files: compare, and rewrite all of them with WATCHKEY_REWRITE_GOLDEN=1 (the diff is then reviewed in git)."""

import difflib
import os
from pathlib import Path


def agrees(path: Path, text: str) -> None:
    """Fail with a diff unless the file holds exactly this text."""
    if os.environ.get("WATCHKEY_REWRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    wanted = path.read_text(encoding="utf-8") if path.exists() else ""
    if wanted != text:
        diff = difflib.unified_diff(wanted.splitlines(), text.splitlines(), str(path), "as it is now", lineterm="")
        raise AssertionError("\n".join(["differs from the golden file; WATCHKEY_REWRITE_GOLDEN=1 rewrites it", *diff]))
