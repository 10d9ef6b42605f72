"""An audit log in memory that can be told to fail."""

from watchkey.model.audit import AuditEvent
from watchkey.model.errors import Unavailable


class MemoryAudit:
    """Keeps events in a list; `fails` makes each append raise as a full disk would."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        self.fails = False

    async def append(self, event: AuditEvent) -> int:
        if self.fails:
            raise Unavailable("the audit log could not be written: no space left")
        self.events.append(event)
        return len(self.events) - 1
