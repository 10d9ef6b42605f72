"""`policy shadow` on the log of a service that asked a second policy: names, counts, exit codes."""

import asyncio
import json
from pathlib import Path

from tests.builders import CALLER, request
from tests.entrypoints.cli.policy_house import run
from tests.wiring.configured import configured, first_read
from watchkey.wiring import build

DENIES_WRITING = """package watchkey
decision := {"allow": input.privilege == "read", "ttl": input.resource.ttl_max_s}
"""


def house(folder: Path) -> Path:
    """A configuration whose log tells of a shadow policy that denies writing."""
    (folder / "next.rego").write_text(DENIES_WRITING)
    settings = configured(folder, "shadow: next", "policies:\n  next: {files: [next.rego]}\n")

    async def scenario() -> None:
        async with build(settings) as service:
            await first_read(service)
            await service.request_access.decide(request("alice", "write"), CALLER)
            await service.request_access.decide(request("alice", "read"), CALLER)
            for _ in range(500):
                if service.shadow is not None and service.shadow.compared >= 2:
                    break
                await asyncio.sleep(0.01)

    asyncio.run(scenario())
    return folder / "watchkey.yaml"


def test_who_would_lose_what_is_told_by_name_and_count(tmp_path: Path) -> None:
    config = house(tmp_path)
    result = run("shadow", config=config)
    assert result.exit_code == 1
    assert "1 would lose access:" in result.output
    assert "differs: told 1 times" in result.output
    (one,) = json.loads(run("shadow", "--json", config=config).output)["differences"]
    assert (one["change"], one["subject"], one["privilege"], one["policy"]) == ("loses", "alice", "write", "next")
    assert (one["was"], one["would_be"], one["times"]) == ("on_call", "policy_denied", 1)


def test_nothing_told_is_no_difference(tmp_path: Path) -> None:
    config = house(tmp_path)
    for words in (("--since", "2100-01-01T00:00Z"), ("--policy", "other")):
        result = run("shadow", *words, config=config)
        assert (result.exit_code, result.output) == (0, "same: no difference was told\n")
