"""What it costs when sessions log in as an account that others have too. Said wherever an operator looks."""

from collections.abc import Mapping
from typing import Any, Final

RISKS: Final = (
    "the database does not know who acts: its own log, `session_user` and row rules see the shared account",
    "an end cuts connections and nothing else: the account still logs in for whoever knows its password",
    "an account may change its own password, which lets its finder in past the gateway and shuts the gateway out",
    "what a session leaves works for the next person: objects, grants, jobs, prepared transactions, role settings",
    "`watchkey reap` finds nothing to end: a dead gateway's sessions end with their connections and not otherwise",
    "a lease gets the whole account of its last privilege, whatever else that account may do",
)


def warnings_of(targets: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """A sentence for each risk of each resource whose `target` section asks for a shared account."""
    shared = sorted(name for name, target in targets.items() if target.get("mode") == "shared_account")
    return tuple(f"{name} has a shared account: {risk}" for name in shared for risk in RISKS)
