"""A target in memory that can be told to fail; it passes the same contract suite as the real one."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from watchkey.model.errors import PortError, Refused
from watchkey.model.lease import Ending, Holding, Lease, LeaseId, Residue, ResidueKind
from watchkey.ports import Account, Clock, Endpoint
from watchkey.wire.scram import ScramKeys

ENDPOINT = Endpoint(host="127.0.0.1", port=5432, database="orders", is_tls=False)
KEYS = ScramKeys.derive(salted_password=bytes(32), salt=b"saltsaltsaltsalt")


class MemoryTarget:
    """Keeps leases in a dict. `fails[call]` makes that call raise; `stuck` keeps accounts from going."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.leases: dict[LeaseId, Lease] = {}
        self.fails: dict[str, PortError] = {}
        self.hangs: set[str] = set()
        self.stuck: tuple[Residue, ...] = ()
        self.shut_down: set[LeaseId] = set()
        self.calls: list[str] = []

    async def grant(self, lease: Lease) -> Account:
        await self._called("grant")
        self.leases[lease.id] = lease
        return Account(name=f"wk_{lease.id}", keys=KEYS, endpoint=ENDPOINT)

    async def extend(self, lease: Lease) -> None:
        await self._called("extend")
        self.leases[lease.id] = lease

    async def entered(self, lease: LeaseId, process_id: int) -> None:
        del process_id
        await self._called("entered")
        if lease not in self.leases:
            raise Refused("the lease is over")

    async def shut(self, leases: Sequence[LeaseId]) -> int:
        await self._called("shut")
        self.shut_down |= set(leases) & self.leases.keys()
        return 0

    async def revoke(self, lease: LeaseId) -> Ending:
        await self._called("revoke")
        if lease in self.leases and self.stuck:
            self.shut_down.add(lease)
            return Ending(
                account=f"wk_{lease}", is_gone=False, sessions_left=0, residue=self.stuck, blocked_by="residue"
            )
        self.leases.pop(lease, None)
        return Ending(account="", is_gone=True, sessions_left=0)

    async def residue(self, lease: LeaseId) -> tuple[Residue, ...]:
        await self._called("residue")
        return self.stuck if lease in self.leases else ()

    async def observe(self) -> tuple[Holding, ...]:
        await self._called("observe")
        return tuple(
            Holding(
                account=f"wk_{lease.id}", lease=lease.id, subject=lease.subject, resource=lease.resource,
                ends_at=lease.ends_at, can_log_in=lease.id not in self.shut_down, sessions=0,
            )
            for lease in self.leases.values()
        )  # fmt: skip

    async def reap(self) -> tuple[Ending, ...]:
        await self._called("reap")
        now: datetime = self._clock.now()
        return tuple([await self.revoke(lease.id) for lease in [*self.leases.values()] if lease.ends_at <= now])

    async def close(self) -> None:
        self.calls.append("close")

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.hangs:
            await asyncio.Event().wait()
        if name in self.fails:
            raise self.fails[name]


FUNCTION = Residue(kind=ResidueKind.SECURITY_DEFINER, database="orders", name="function peek()")
