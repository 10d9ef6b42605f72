"""What a fleet of OPAs needs: `GET /bundles/{name}` with long polling, `POST /logs` and `POST /status`.

Protocols: OPA's `docs/management-bundles`, `docs/management-decision-logs`, `docs/management-status`. A caller belongs
to one fleet: it sees that bundle and no other, and reports for it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import msgspec

from watchkey.entrypoints.http.exchange import Door, Fault, Request, Response, Route, native_fault, required
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.unpack import unpacked_body
from watchkey.flows.publish_bundle import Kind, PublishBundle
from watchkey.flows.receive_opa_reports import ReceiveDecisions, ReceiveStatus
from watchkey.model.access import Caller
from watchkey.model.errors import Malformed, PortError, Unavailable
from watchkey.rules.opa_reports import read_decisions, read_status

_BUNDLES: Final = "/bundles/"
_GZIP_TYPE: Final = b"application/gzip"
_LONG_POLL_TYPE: Final = b"application/vnd.openpolicyagent.bundles"
"""Tells OPA that it may wait here; it falls back to polling when it sees anything else."""
_ETAG: Final = re.compile(r'"[^"]*"')
_WAIT: Final = re.compile(r"(?:^|[;,\s])wait\s*=\s*(\d{1,6})(?:\Z|[;,\s])")
_MODES: Final = re.compile(r"(?:^|[;,\s])modes\s*=\s*([a-z,\s]+)")
_WAIT_SHARE: Final = 0.8
"""Of the time in which any answer must be given, so much may pass in waiting for a change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleets:
    """The use cases for all fleets, by name."""

    publishers: Mapping[str, PublishBundle]
    statuses: Mapping[str, ReceiveStatus]
    decisions: ReceiveDecisions

    def release(self) -> None:
        """Let all OPAs go that wait: the service stops."""
        for publisher in self.publishers.values():
            publisher.release()

    def of(self, caller: Caller | None) -> PublishBundle:
        """The fleet of a caller. Raises `Fault` when it has none."""
        for publisher in self.publishers.values():
            if caller is not None and caller.id in publisher.fleet.callers:
                return publisher
        raise Fault(403, "forbidden", "this caller belongs to no fleet")


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """How many decisions of a report were new, and how many were known already."""

    new: int
    known: int


class FleetApi:
    """The handlers."""

    def __init__(self, fleets: Fleets, limits: Limits) -> None:
        self._fleets = fleets
        self._limits = limits

    async def bundle(self, request: Request, caller: Caller | None) -> Response:
        """The bundle, a delta of it, or 304; held back until something changes where the OPA asks for that."""
        publisher = self._fleets.of(caller)
        if unquote(request.path[len(_BUNDLES) :]) != publisher.fleet.name:
            raise Fault(404, "not_found", "there is no such bundle for this caller")
        prefer = request.headers.get(b"prefer", b"").decode("latin-1")
        wait, modes = _WAIT.search(prefer), _MODES.search(prefer)
        etags = _ETAG.findall(request.headers.get(b"if-none-match", b"").decode("latin-1"))
        try:
            handout = await publisher.pull(
                etags,
                wait=min(float(wait[1]), self._limits.answer_s * _WAIT_SHARE) if wait else 0.0,
                takes_deltas=modes is not None and "delta" in modes[1],
            )
        except Unavailable as error:
            raise Fault(503, "unavailable", str(error), headers=((b"retry-after", b"1"),)) from None
        headers = ((b"etag", handout.etag.encode("ascii")),)
        kind = _LONG_POLL_TYPE if wait else _GZIP_TYPE
        status = 304 if handout.kind is Kind.UNCHANGED else 200
        return Response(status=status, body=handout.body, content_type=kind, headers=headers)

    async def logs(self, request: Request, caller: Caller | None) -> Response:
        """A decision log: answered when all of it is in the audit log."""
        publisher = self._fleets.of(caller)
        body = unpacked_body(request, self._limits.report_bytes)
        try:
            reports = read_decisions(body)
            taken = await self._fleets.decisions.take(publisher.fleet.name, required(caller).id, reports)
        except Malformed as error:
            raise Fault(400, "malformed", str(error)) from None
        except PortError:
            raise Fault(503, "unavailable", "the report cannot be recorded now; send it again") from None
        return Response(status=200, body=msgspec.json.encode(Taken(new=taken.new, known=taken.known)))

    async def status(self, request: Request, caller: Caller | None) -> Response:
        """What an OPA says of itself."""
        publisher = self._fleets.of(caller)
        name = publisher.fleet.name
        try:
            report = read_status(unpacked_body(request, self._limits.report_bytes), name)
            await self._fleets.statuses[name].take(required(caller).id, report)
        except Malformed as error:
            raise Fault(400, "malformed", str(error)) from None
        except PortError:
            raise Fault(503, "unavailable", "the status cannot be recorded now; send it again") from None
        return Response(status=200, body=b"{}")


def routes(fleets: Fleets, limits: Limits) -> Sequence[Route]:
    """The routes. A partition after `/logs/` or `/status/` is the OPAs' own and means nothing here."""
    api = FleetApi(fleets, limits)
    table = (
        ("bundles", "GET", _BUNDLES, api.bundle, limits.body_bytes),
        ("opa-logs", "POST", "/logs", api.logs, limits.report_body_bytes),
        ("opa-logs", "POST", "/logs/", api.logs, limits.report_body_bytes),
        ("opa-status", "POST", "/status", api.status, limits.report_body_bytes),
        ("opa-status", "POST", "/status/", api.status, limits.report_body_bytes),
    )
    return [
        Route(
            name=name, method=method, path=path, door=Door.CALLER, handler=handler, write_fault=native_fault,
            body_bytes=body_bytes,
        )
        for name, method, path, handler, body_bytes in table
    ]  # fmt: skip
