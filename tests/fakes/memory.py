"""What outlives a restart, in a dictionary that can be handed to the next run."""

from typing import Any

import msgspec

from watchkey.model.errors import Unavailable
from watchkey.model.ids import SourceName
from watchkey.ports import RosterRevision


class DictMemory:
    """Implements `ports.Memory`; values go through JSON as on a disk."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.rosters: dict[tuple[SourceName, int], bytes] = {}
        self.writes = 0
        self.fails = False

    async def remember(self, name: str, value: Any) -> None:
        self._write()
        self.values[name] = msgspec.json.encode(value)

    def recall(self, name: str) -> Any:
        return msgspec.json.decode(self.values[name]) if name in self.values else None

    async def keep_roster(self, revision: RosterRevision, content: bytes) -> None:
        self._write()
        self.rosters[revision.source, revision.revision] = content

    def kept_roster(self, source: SourceName, revision: int) -> bytes | None:
        return self.rosters.get((source, revision))

    def _write(self) -> None:
        if self.fails:
            raise Unavailable("no space left on the disk")
        self.writes += 1
