"""Plants a bug in one function of the product, so that a test can be seen to catch it."""

import inspect
import sys
import textwrap
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest


@dataclass(frozen=True)
class Mutant:
    """A bug by its name: in `where` (module:function or module:Class.method), `old` became `new`."""

    name: str
    where: str
    old: str
    new: str

    def plant(self, patch: pytest.MonkeyPatch) -> None:
        """Put the changed function in the place of the right one, wherever it was imported to."""
        module_name, _, path = self.where.partition(":")
        module = import_module(module_name)
        owner: Any = module
        *outer, name = path.split(".")
        for part in outer:
            owner = getattr(owner, part)
        original = getattr(owner, name)
        source = textwrap.dedent(inspect.getsource(original))
        if source.count(self.old) != 1:
            raise AssertionError(f"{self.where} does not have exactly one {self.old!r}: the mutant is out of date")
        scope: dict[str, Any] = {}
        exec(compile(source.replace(self.old, self.new), f"<mutant {self.name}>", "exec"), module.__dict__, scope)  # noqa: S102  # our own source
        patch.setattr(owner, name, scope[name])
        if owner is module:
            for other in [m for n, m in sys.modules.items() if n.startswith(("watchkey", "tests")) and m is not module]:
                if getattr(other, name, None) is original:
                    patch.setattr(other, name, scope[name])
