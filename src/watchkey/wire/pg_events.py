"""The vocabulary of a gateway session: events in the past tense, commands in the imperative."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from watchkey.model.ids import SubjectId
from watchkey.model.lease import Lease
from watchkey.model.secret import Secret
from watchkey.wire.scram import ScramKeys, ScramPassword

# --- Events: what happened ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClientBytes:
    """The client sent something."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ServerBytes:
    """The server sent something."""

    data: bytes


@dataclass(frozen=True, slots=True)
class DirectTls:
    """The client's first byte was a TLS handshake, without asking."""


@dataclass(frozen=True, slots=True)
class TlsUp:
    """TLS stands; `alpn` is what was agreed on, None when nothing was; `host` is the name that the client asked for."""

    alpn: str | None
    host: str = ""


@dataclass(frozen=True, slots=True)
class IdentityProven:
    """The password was a token of this subject."""

    subject: SubjectId


@dataclass(frozen=True, slots=True)
class IdentityRefused:
    """The password proved nobody, or somebody else."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The decision was yes and the target is prepared."""

    lease: Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The decision was no, or it could not be carried out; the words are for the person."""

    sentence: str
    code: str = "28000"
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamOpen:
    """A connection to the server stands. `nonce` is random; `binding` is the hash of the server's certificate."""

    account: str
    database: str
    """The server's own name of it; the client may have used another."""
    keys: ScramKeys | ScramPassword
    nonce: str
    binding: bytes | None
    process_id: int
    """The number that this client gets to ask for cancels with, and `cancel_key`; both random, both ours."""
    cancel_key: bytes
    settings: Mapping[str, str] = field(default_factory=dict)
    """What the session begins with, before anything that the client asked for."""


@dataclass(frozen=True, slots=True)
class EndIsNear:
    """The lease ends soon; `sentence` says when and why."""

    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseEnded:
    """The right is gone, now."""

    sentence: str
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ClientGone:
    """The client closed its side or vanished."""


@dataclass(frozen=True, slots=True)
class ServerGone:
    """The server closed its side or vanished."""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The step under way took too long."""


Event = (
    ClientBytes
    | ServerBytes
    | DirectTls
    | TlsUp
    | IdentityProven
    | IdentityRefused
    | Granted
    | Denied
    | UpstreamOpen
    | EndIsNear
    | LeaseEnded
    | ClientGone
    | ServerGone
    | TimedOut
)

# --- Commands: what is to be done --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendToClient:
    """Write this to the client."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SendToServer:
    """Write this to the server."""

    data: bytes


@dataclass(frozen=True, slots=True)
class StartTls:
    """Do the handshake with the client; answer with TlsUp."""


@dataclass(frozen=True, slots=True)
class PassCancel:
    """Cancel what this session runs, if it is one of ours and the key is right; tell nobody which."""

    process_id: int
    key: bytes


@dataclass(frozen=True, slots=True)
class ProveIdentity:
    """Find out whose token this is; answer with IdentityProven or IdentityRefused."""

    user: str
    password: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Ask for a decision and, if it is yes, for a lease; answer with Granted or Denied."""

    subject: SubjectId
    database: str
    privileges: tuple[str, ...] | None
    """Only these, or None for all that are allowed."""
    application: str
    host: str = ""
    """The name in the TLS greeting, empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenUpstream:
    """Connect to the server under this lease; answer with UpstreamOpen or Denied."""

    lease: Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Enter:
    """The session runs from here on: the server's own number and key for cancels."""

    lease: Lease
    server_process_id: int
    server_key: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close both sides; what was written before goes out first. `why` is a stable code."""

    why: str


Command = SendToClient | SendToServer | StartTls | PassCancel | ProveIdentity | Ask | OpenUpstream | Enter | Close
Commands = tuple[Command, ...]
