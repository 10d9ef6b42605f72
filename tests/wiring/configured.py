"""One small configuration with a roster, for all tests of the wiring."""

import asyncio
from pathlib import Path

from watchkey import wiring
from watchkey.model.ids import SourceName
from watchkey.settings import Settings, load_settings
from watchkey.wiring import Service, create_audit_key

LOCAL = SourceName("local")


ROSTER = """\
people:
  alice: {name: Alice}
  bob: {name: Bob}
schedules:
  primary:
    name: Primary
    zone: UTC
    layers:
      - {participants: [alice], turn: daily, handoff: "09:00", from: 2026-01-01}
policies:
  orders: {name: Orders, levels: [[primary]]}
services:
  orders: {name: Orders, policy: orders}
"""


CONFIG = """\
sources:
  local: {{kind: roster_file, path: roster.yaml}}
resources:
  orders-db:
    kind: postgres
    privileges: [read, write]
    opened_by: [{{source: local, service: orders}}]
    {extra}
links:
  alice: {{local: alice}}
  bob: {{local: bob}}
sync: {{poll: 1s}}
"""


def configured(folder: Path, extra: str = "max_level: 1", more: str = "") -> Settings:
    (folder / "watchkey.yaml").write_text(CONFIG.format(extra=extra) + more)
    (folder / "roster.yaml").write_text(ROSTER)
    if not (folder / "audit.key").exists():
        create_audit_key(folder / "audit.key", "watchkey.example/test")
    return load_settings(folder / "watchkey.yaml", environ={})


async def first_read(service: Service) -> None:
    for _ in range(500):
        if LOCAL in service.rosters.held() and service.audit.recall(f"roster/{LOCAL}") is not None:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(service.sync.last_error(LOCAL))


def kinds(database: Path) -> list[str]:
    with wiring.open_audit_reader(database) as reader:
        return [entry.body.decode() for entry in reader.entries()]
