"""Bundles without a service: a key for them, one in a file, and what an OPA is told to pull them."""

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from watchkey.model.audit import AuditEvent
from watchkey.model.errors import Refused, Unavailable
from watchkey.model.ids import SourceName
from watchkey.ports import RosterRevision
from watchkey.rules.bundle_signature import public_pem
from watchkey.rules.fleet_bundle import FleetBundle
from watchkey.settings import FleetSettings
from watchkey.wiring.desk import Desk
from watchkey.wiring.fleets import Surroundings, bundle_key, publisher_of

LONG_POLL_S: Final = 60
"""How long an OPA is told to wait for a change before it asks again."""
_RSA_BITS: Final = 3072
_SECRET_BYTES: Final = 48
_CURVES: Final[Mapping[str, Callable[[], ec.EllipticCurve]]] = {
    "ES256": ec.SECP256R1,
    "ES384": ec.SECP384R1,
    "ES512": ec.SECP521R1,
}


class _Numbered:
    """A memory in which the last revision was the one before the wanted one, and a log that keeps nothing."""

    def __init__(self, revision: int) -> None:
        self._revision = revision

    async def remember(self, name: str, value: Any) -> None:
        """Nothing outlives a command."""

    def recall(self, name: str) -> Any:
        """The revision before."""
        del name
        return {"revision": self._revision - 1, "content_revision": 0, "content": ""}

    async def keep_roster(self, revision: RosterRevision, content: bytes) -> None:
        """Nothing outlives a command."""

    def kept_roster(self, source: SourceName, revision: int) -> bytes | None:
        """Nothing was kept."""
        del source, revision
        return None

    async def append(self, event: AuditEvent) -> int:
        """A file is no publication; nothing is recorded."""
        del event
        return 0


async def build_bundle(desk: Desk, fleet: FleetSettings, revision: int) -> FleetBundle:
    """One bundle from rosters that were read just now. Raises port errors."""
    nothing = _Numbered(revision)
    around = Surroundings(
        clock=desk.clock,
        rosters=desk.rosters,
        audit=nothing,
        memory=nothing,
        engines=desk.engines,
        directory=lambda: desk.request_access.directory,
    )
    publisher = publisher_of(fleet, around)
    await publisher.renew()
    if publisher.current is None:
        raise Unavailable(f"the bundle of {fleet.name} cannot be made: {publisher.problem}")
    return publisher.current


def create_bundle_key(path: Path, algorithm: str) -> None:
    """Make a key for that algorithm in a new file of mode 0600. Raises `Refused` when there is a file already."""
    text = _new_key(algorithm)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Refused(f"{path} is there already; a new key gets a file and a name of its own") from None
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)


def _new_key(algorithm: str) -> str:
    if algorithm.startswith("HS"):
        return secrets.token_urlsafe(_SECRET_BYTES) + "\n"
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    if algorithm in _CURVES:
        key = ec.generate_private_key(_CURVES[algorithm]())
    elif algorithm == "EdDSA":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode("ascii")


def opa_configuration(fleet: FleetSettings, url: str) -> Mapping[str, Any]:
    """What the OPAs of a fleet are started with; the token comes from their environment. Raises as `bundle_key`."""
    source: dict[str, Any] = {
        "service": "watchkey",
        "resource": f"bundles/{fleet.name}",
        "polling": {"long_polling_timeout_seconds": LONG_POLL_S, "min_delay_seconds": 1, "max_delay_seconds": 5},
    }
    configuration: dict[str, Any] = {
        "services": {"watchkey": {"url": url, "credentials": {"bearer": {"token": "${WATCHKEY_TOKEN}"}}}},
        "bundles": {fleet.name: source},
        "decision_logs": {"service": "watchkey", "reporting": {"min_delay_seconds": 1, "max_delay_seconds": 5}},
        "status": {"service": "watchkey"},
    }
    key = bundle_key(fleet)
    if key is not None:
        shared = key.algorithm.startswith("HS")
        public = "${WATCHKEY_BUNDLE_SECRET}" if shared else public_pem(key)
        configuration["keys"] = {key.id: {"algorithm": key.algorithm, "key": public}}
        source["signing"] = {}  # required; which key, the signature says, so that keys can be replaced one by one
        if fleet.section.signing is not None and fleet.section.signing.scope:
            source["signing"]["scope"] = fleet.section.signing.scope
        if fleet.section.deltas:
            source["signing"]["allow_unsigned_delta_bundles"] = True
    return configuration
