"""Reads what OPAs report: decision log events and status documents, as OPA 1.x posts them.

Forms: OPA's `docs/management-decision-logs` and `docs/management-status`. An event is kept as it came; only what one
searches for is read from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from watchkey.model.errors import Malformed

EVENTS_MAX: Final = 20_000
"""Events in one report; OPA sends as many as fit in 32 KiB packed, unless it is configured otherwise."""
EVENT_BYTES_MAX: Final = 256 * 1024
"""A longer event is logged by its digest alone."""
TEXT_MAX: Final = 512
"""What is read from an event to be searched for is cut off here; the event has it whole."""

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionReport:
    """One event of a decision log."""

    decision_id: str
    opa: str
    decided_at: str
    path: str
    revisions: Mapping[str, str]
    """Of each bundle, by name."""
    outcome: str | None
    text: str
    """The event as it came."""

    def revision_of(self, bundle: str) -> str:
        """The revision of that bundle; of the only one, where an OPA calls it by another name; else empty."""
        only = next(iter(self.revisions.values())) if len(self.revisions) == 1 else ""
        return self.revisions.get(bundle, only)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """What one OPA says of one bundle and of itself."""

    opa: str
    version: str
    revision: str
    """The bundle that it decides by; empty while it has none."""
    code: str
    """Empty when all is well, e.g. `bundle_error` else."""
    message: str
    plugins: Mapping[str, str]
    """State by plugin, e.g. `ERROR`; those that are OK are left out."""


class _Bundle(msgspec.Struct, frozen=True, kw_only=True):
    revision: str | None = None


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    decision_id: _Id
    labels: dict[str, Any] = {}
    timestamp: str = ""
    path: str = ""
    revision: str | None = None
    bundles: dict[str, _Bundle] = {}
    result: msgspec.Raw = msgspec.Raw()


class _BundleStatus(msgspec.Struct, frozen=True, kw_only=True):
    active_revision: str | None = None
    code: str | None = None
    message: str | None = None


class _Plugin(msgspec.Struct, frozen=True, kw_only=True):
    state: str = ""


class _Status(msgspec.Struct, frozen=True, kw_only=True):
    labels: dict[str, Any]
    bundles: dict[str, _BundleStatus | None] | None = None
    bundle: _BundleStatus | None = None
    plugins: dict[str, _Plugin | None] | None = None


_events: Final = msgspec.json.Decoder(list[msgspec.Raw])
_event: Final = msgspec.json.Decoder(_Event)
_status: Final = msgspec.json.Decoder(_Status)


def read_decisions(body: bytes) -> Sequence[DecisionReport]:
    """The events of one report. Raises `Malformed` for anything but an array of events with ids, and for too many."""
    try:
        raw = _events.decode(body)
        if len(raw) > EVENTS_MAX:
            raise Malformed(f"{len(raw)} events in one report; at most {EVENTS_MAX} are taken")
        return [_decision(bytes(one)) for one in raw]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not a decision log: {error}") from None


def _decision(raw: bytes) -> DecisionReport:
    event = _event.decode(raw)
    revisions = {
        name: bundle.revision[:TEXT_MAX] for name, bundle in event.bundles.items() if bundle.revision is not None
    }
    if event.revision is not None:
        revisions.setdefault("", event.revision[:TEXT_MAX])
    return DecisionReport(
        decision_id=event.decision_id,
        opa=_text(event.labels.get("id")),
        decided_at=event.timestamp[:TEXT_MAX],
        path=event.path[:TEXT_MAX],
        revisions=revisions,
        outcome=_outcome(bytes(event.result)),
        text=raw.decode(),
    )


def _outcome(result: bytes) -> str | None:
    if not result:
        return None
    value = msgspec.json.decode(result)
    if isinstance(value, dict):
        value = value.get("allow")
    return None if not isinstance(value, bool) else "allow" if value else "deny"


def read_status(body: bytes, bundle: str) -> StatusReport:
    """What the OPA says of that bundle. Raises `Malformed` for what is no status."""
    try:
        status = _status.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not a status: {error}") from None
    opa = _text(status.labels.get("id"))
    if not opa:
        raise Malformed("not a status: its labels name no id")
    bundles = status.bundles or {}
    only = next(iter(bundles.values())) if len(bundles) == 1 else None
    told = bundles.get(bundle) or only or status.bundle or _BundleStatus()
    return StatusReport(
        opa=opa,
        version=_text(status.labels.get("version")),
        revision=_text(told.active_revision),
        code=_text(told.code),
        message=_text(told.message),
        plugins={
            name[:TEXT_MAX]: _text(plugin.state)
            for name, plugin in sorted((status.plugins or {}).items())[:50]
            if plugin is not None and plugin.state != "OK"
        },
    )


def _text(value: object) -> str:
    return value[:TEXT_MAX] if isinstance(value, str) else ""
