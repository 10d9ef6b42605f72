"""PostgreSQL's protocol, version 3: the first packet, building messages, and walking a byte stream by its headers.

The walkers never change or hold back a byte: they say what passed. Any split of a stream gives the same events.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from struct import Struct
from struct import error as StructError  # noqa: N812  it is a class, named like one
from typing import Final, NamedTuple

SSL_REQUEST: Final = 80877103
GSSENC_REQUEST: Final = 80877104
CANCEL_REQUEST: Final = 80877102
PROTOCOL_3: Final = 3 << 16

STARTUP_MAX: Final = 10_000
"""Bytes; PostgreSQL's own bound for a first packet (`MAX_STARTUP_PACKET_LENGTH`)."""
MESSAGE_MAX: Final = 0x3FFFFFFF
"""Bytes; PostgreSQL's own bound for a message from a client (`PQ_LARGE_MESSAGE_LIMIT`)."""
TEXT_MAX: Final = 64 * 1024
"""Bytes of one statement that are kept for the record; longer ones are kept cut, with their length and hash."""

_INT = Struct(">i")
_HEADER = Struct(">BI")
_TWO = Struct(">ii")


class ProtocolViolation(Exception):
    """The peer sent what the protocol does not allow at this point; the connection must end."""


# --- The first packet --------------------------------------------------------------------------------------------


class SslRequest(NamedTuple):
    """The client asks whether TLS may begin."""


class GssEncRequest(NamedTuple):
    """The client asks for encryption by Kerberos."""


class CancelRequest(NamedTuple):
    """On a connection of its own: cancel what that session runs. `key` is secret."""

    process_id: int
    key: bytes


class Startup(NamedTuple):
    """The client names who it is and what it wants; nothing here is proven."""

    minor_version: int
    parameters: Mapping[str, str]


FirstPacket = SslRequest | GssEncRequest | CancelRequest | Startup


def first_packet_length(head: bytes) -> int:
    """Return how long the first packet is, from its first four bytes; raises ProtocolViolation out of bounds."""
    length: int = _INT.unpack_from(head)[0]
    if not 8 <= length <= STARTUP_MAX:
        raise ProtocolViolation(f"a first packet of {length} bytes")
    return length


def read_first_packet(packet: bytes) -> FirstPacket:
    """Understand one whole first packet, length word included."""
    code: int = _INT.unpack_from(packet, 4)[0]
    match code:
        case 80877103 | 80877104:
            if len(packet) != 8:
                raise ProtocolViolation("an encryption request with something behind it")
            return SslRequest() if code == SSL_REQUEST else GssEncRequest()
        case 80877102:
            if len(packet) != 16:
                raise ProtocolViolation("a cancel request of the wrong length")
            return CancelRequest(_INT.unpack_from(packet, 8)[0], packet[12:16])
        case _ if code >> 16 == 3:
            return Startup(code & 0xFFFF, _parameters(packet[8:]))
        case _:
            raise ProtocolViolation(f"protocol version {code >> 16}.{code & 0xFFFF}")


def _parameters(body: bytes) -> dict[str, str]:
    if not body.endswith(b"\0\0") and body != b"\0":
        raise ProtocolViolation("startup parameters without an end")
    try:
        words = body[:-1].decode("utf-8").split("\0")[:-1] if body != b"\0" else []
    except UnicodeDecodeError as error:
        raise ProtocolViolation("startup parameters that are not UTF-8") from error
    names, values = words[::2], words[1::2]
    if len(names) != len(values) or "" in names:
        raise ProtocolViolation("startup parameters that do not pair up")
    if len(set(names)) != len(names):
        # which of the two PostgreSQL would take is not ours to guess
        raise ProtocolViolation("a startup parameter named twice")
    return dict(zip(names, values, strict=True))


# --- Building ----------------------------------------------------------------------------------------------------


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One message: kind, length, body."""
    return kind + _INT.pack(len(body) + 4) + body


def _c(text: str) -> bytes:
    return text.replace("\0", "�").encode() + b"\0"


def startup_message(parameters: Mapping[str, str]) -> bytes:
    """Our own first packet to a server, protocol 3.0."""
    body = _INT.pack(PROTOCOL_3) + b"".join(_c(k) + _c(v) for k, v in parameters.items()) + b"\0"
    return _INT.pack(len(body) + 4) + body


def ssl_request() -> bytes:
    """Ask a server for TLS; it answers with one byte, `S` or `N`."""
    return _TWO.pack(8, SSL_REQUEST)


def cancel_request(process_id: int, key: bytes) -> bytes:
    """Ask a server to cancel what that backend runs."""
    return _INT.pack(16) + _TWO.pack(CANCEL_REQUEST, process_id) + key


def authentication_ok() -> bytes:
    """The client is who it says it is."""
    return message(b"R", _INT.pack(0))


def authentication_cleartext_password() -> bytes:
    """Ask for the password as it is; only ever inside TLS."""
    return message(b"R", _INT.pack(3))


def parameter_status(name: str, value: str) -> bytes:
    """Tell the client a setting."""
    return message(b"S", _c(name) + _c(value))


def backend_key_data(process_id: int, key: bytes) -> bytes:
    """Tell the client how to ask for a cancel."""
    return message(b"K", _INT.pack(process_id) + key)


def negotiate_protocol_version(unknown: Sequence[str]) -> bytes:
    """We speak 3.0 and none of these options."""
    return message(b"v", _TWO.pack(PROTOCOL_3, len(unknown)) + b"".join(_c(name) for name in unknown))


def report(*, severity: str, code: str, text: str, detail: str = "", hint: str = "", is_notice: bool = False) -> bytes:
    """An ErrorResponse or, when asked, a NoticeResponse."""
    body = b"S" + _c(severity) + b"V" + _c(severity) + b"C" + _c(code) + b"M" + _c(text)
    if detail:
        body += b"D" + _c(detail)
    if hint:
        body += b"H" + _c(hint)
    return message(b"N" if is_notice else b"E", body + b"\0")


def sasl_initial_response(mechanism: str, data: bytes) -> bytes:
    """Begin SASL with this mechanism."""
    return message(b"p", _c(mechanism) + _INT.pack(len(data)) + data)


def sasl_response(data: bytes) -> bytes:
    """Go on with SASL."""
    return message(b"p", data)


def terminate() -> bytes:
    """Take leave of the server."""
    return message(b"X")


# --- Small messages, whole ---------------------------------------------------------------------------------------


class MessageReader:
    """Cuts a stream into whole messages of at most `max_bytes`, for the phases before a session runs."""

    __slots__ = ("_buffer", "_max")

    def __init__(self, max_bytes: int = 64 * 1024) -> None:
        self._buffer = b""
        self._max = max_bytes

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the messages that are now whole, as kind and body."""
        buffer = self._buffer + data if self._buffer else data
        out: list[tuple[int, bytes]] = []
        pos = 0
        while len(buffer) - pos >= 5:
            kind, length = _HEADER.unpack_from(buffer, pos)
            if not 4 <= length <= self._max:
                raise ProtocolViolation(f"a message {chr(kind)!r} of {length} bytes")
            stop = pos + 1 + length
            if stop > len(buffer):
                break
            out.append((kind, buffer[pos + 5 : stop]))
            pos = stop
        self._buffer = buffer[pos:]
        return out

    @property
    def rest(self) -> bytes:
        """What came after the last whole message."""
        return self._buffer


def read_fields(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse by their one-letter names."""
    return {part[:1].decode("latin-1"): part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}


# --- What a client says ------------------------------------------------------------------------------------------


class SqlText(NamedTuple):
    """The text of a statement as sent; `size` is in bytes, and `sha256` of the whole message stands with a cut text."""

    kept: bytes
    size: int
    sha256: str = ""


class Query(NamedTuple):
    """A simple query: perhaps several statements."""

    sql: SqlText


class Parse(NamedTuple):
    """A statement is prepared under a name; the empty name is replaced freely."""

    name: bytes
    sql: SqlText


class Bind(NamedTuple):
    """A portal is made of a prepared statement; `values` are the parameters as sent, None when not asked for or cut."""

    portal: bytes
    statement: bytes
    values: tuple[bytes | None, ...] | None


class Execute(NamedTuple):
    """A portal is run."""

    portal: bytes


class CloseName(NamedTuple):
    """A prepared statement (`S`) or portal (`P`) is forgotten."""

    kind: int
    name: bytes


class FunctionCall(NamedTuple):
    """A function is called by its number: the fast path of old clients, large objects among them."""

    oid: int


class Sync(NamedTuple):
    """The end of a series in the extended protocol."""


class Terminate(NamedTuple):
    """The client takes leave."""


ClientEvent = Query | Parse | Bind | Execute | CloseName | FunctionCall | Sync | Terminate

_SILENT: Final = frozenset(b"HDdcf")  # Flush, Describe, CopyData, CopyDone, CopyFail: they pass and are not told
_TOLD: Final = frozenset(b"QPBECFSX")
_HASHED: Final = frozenset(b"QP")
_BARE: Final = frozenset(b"HcSX")  # these have no body
_QUERY: Final = ord("Q")
_BIND: Final = ord("B")
_COPY: Final = ord("d")
_SYNC: Final = Sync()
_EXECUTE_UNNAMED: Final = Execute(b"")
_RUN_UNNAMED: Final = frozenset(
    describe + message(b"E", bytes(5)) + message(b"S") for describe in (b"", message(b"D", b"P\0"))
)
"""What drivers put behind a Bind: perhaps Describe, then Execute to the end and Sync, all of the unnamed portal."""
_new: Final = tuple.__new__  # a NamedTuple's own constructor costs three times as much


class ClientWalker:
    """Walks what a client sends after its login; raises ProtocolViolation at what PostgreSQL would not take."""

    __slots__ = ("_hash", "_head", "_kept", "_kind", "_left", "_size", "is_quiet", "wants_values")

    def __init__(self, *, wants_values: bool = False) -> None:
        self.wants_values = wants_values
        """Whether bound parameters are told; may be set before the first byte."""
        self.is_quiet = False
        """True: walk and check the headers only, and tell nothing."""
        self._head = b""  # the first bytes of a header that is not whole yet
        self._kind = 0
        self._left = 0  # bytes of the current body that are still to come
        self._size = 0
        self._kept: bytearray | None = None
        self._hash: hashlib._Hash | None = None

    def feed(self, data: bytes) -> list[ClientEvent]:
        """Walk on; return what became whole."""
        if not self._left and not self._head and not self.is_quiet:
            events = _one_request(data, wants_values=self.wants_values)
            if events:
                return events
        out: list[ClientEvent] = []
        pos, end = 0, len(data)
        if self._left:
            pos = min(self._left, end)
            self._left -= pos
            if self._kept is not None:
                self._keep(data[:pos])
            if self._left:
                return out
            if self._kept is not None:
                out.append(self._finish())
        if self._head:
            data = self._head + data[pos:]
            pos, end = 0, len(data)
            self._head = b""
        unpack = _HEADER.unpack_from
        while end - pos >= 5:
            kind, length = unpack(data, pos)
            stop = pos + 1 + length
            if kind == _COPY and 4 <= length <= MESSAGE_MAX and stop <= end:
                pos = stop  # a COPY has a message for each row
                continue
            _check_header(kind, length)
            is_told = kind in _TOLD and not self.is_quiet
            if stop > end:
                self._begin(kind, length - 4, data[pos + 5 :], is_told=is_told)
                return out
            if is_told:
                out.append(self._tell(kind, data[pos + 5 : stop], length - 4, ""))
            pos = stop
        self._head = data[pos:]
        return out

    def _begin(self, kind: int, size: int, body: bytes, *, is_told: bool) -> None:
        self._kind, self._size, self._left = kind, size, size - len(body)
        self._kept, self._hash = (bytearray(), None) if is_told else (None, None)
        if is_told:
            self._keep(body)

    def _keep(self, data: bytes) -> None:
        if self._kept is None:
            return
        if self._size > TEXT_MAX and self._kind in _HASHED:
            self._hash = self._hash or hashlib.sha256()
            self._hash.update(data)
        room = TEXT_MAX - len(self._kept)
        if room > 0:
            self._kept += data[:room]

    def _finish(self) -> ClientEvent:
        body = bytes(self._kept or b"")
        self._kept = None
        digest = self._hash.hexdigest() if self._hash else ""
        return self._tell(self._kind, body, self._size, digest)

    def _tell(self, kind: int, body: bytes, size: int, digest: str) -> ClientEvent:
        """Turn a body, cut when it was long, into an event. Names come first in a message, so they are always whole."""
        if size > TEXT_MAX:
            digest = digest or (hashlib.sha256(body).hexdigest() if kind in _HASHED else "")
            body = body[:TEXT_MAX]
        try:
            return _read_client(kind, body, size, digest, wants_values=self.wants_values)
        except (ValueError, IndexError, StructError) as error:
            raise ProtocolViolation(f"a message {chr(kind)!r} with a body that makes no sense") from error


def _check_header(kind: int, length: int) -> None:
    if kind not in _TOLD and kind not in _SILENT:
        raise ProtocolViolation(f"a message of kind {chr(kind)!r} from a client in session")
    if not 4 <= length <= MESSAGE_MAX or (kind in _BARE and length != 4):
        raise ProtocolViolation(f"a message {chr(kind)!r} of {length} bytes")


def _one_request(data: bytes, *, wants_values: bool) -> list[ClientEvent]:
    """A short way for what most buffers are: one whole Query, or one Bind, Execute and Sync. Empty: take the long way.

    It tells what the long way would tell, or nothing.
    """
    end = len(data)
    if not 6 <= end <= TEXT_MAX:
        return []
    kind, length = _HEADER.unpack_from(data)
    stop = length + 1
    if kind == _QUERY:
        if stop == end and data.find(0, 5) == end - 1:
            return [_new(Query, (_new(SqlText, (data[5:-1], end - 6, "")),))]
        return []
    if kind == _BIND and not wants_values and data[stop:] in _RUN_UNNAMED and not data[5]:
        named_to = data.find(0, 6)
        if 0 < named_to < stop:
            return [_new(Bind, (b"", data[6:named_to], None)), _EXECUTE_UNNAMED, _SYNC]
    return []


def _read_client(  # noqa: PLR0911  one return for each kind of message
    kind: int, body: bytes, size: int, digest: str, *, wants_values: bool
) -> ClientEvent:
    """Read a body; ValueError, IndexError and struct's error mean that it makes no sense."""
    match chr(kind):
        case "Q":
            return Query(_text(body, 0, size, digest))
        case "P":
            cut = body.index(0)
            return Parse(body[:cut], _text(body, cut + 1, size, digest))
        case "B":
            cut = body.index(0)
            stop = body.index(0, cut + 1)
            values = _bound_values(body, stop + 1) if wants_values and size <= TEXT_MAX else None
            return Bind(body[:cut], body[cut + 1 : stop], values)
        case "E":
            return Execute(body[: body.index(0)])
        case "C":
            return CloseName(body[0], body[1 : body.index(0, 1)])
        case "F":
            return FunctionCall(int(_INT.unpack_from(body)[0]))
        case "S":
            return Sync()
        case _:
            return Terminate()


def _text(body: bytes, start: int, size: int, digest: str) -> SqlText:
    """The text that begins at `start`; in a body that was cut it may have no end."""
    stop = body.find(0, start)
    if stop < 0:
        if not digest:
            raise ValueError("a text without an end")
        stop = len(body)
    return SqlText(body[start:stop], size - start - 1 if digest else stop - start, digest)


def _bound_values(body: bytes, pos: int) -> tuple[bytes | None, ...]:
    pos += 2 + 2 * int.from_bytes(body[pos : pos + 2])
    count = int.from_bytes(body[pos : pos + 2])
    pos += 2
    values: list[bytes | None] = []
    for _ in range(count):
        length: int = _INT.unpack_from(body, pos)[0]
        pos += 4
        if length < 0:
            values.append(None)
            continue
        if pos + length > len(body):
            raise ValueError("a value longer than its message")
        values.append(body[pos : pos + length])
        pos += length
    return tuple(values)


# --- What a server says ------------------------------------------------------------------------------------------


class Completed(NamedTuple):
    """A statement came to its end; the tag is `SELECT 3`, `COPY 10`, ... and empty for an empty query."""

    tag: str


class Suspended(NamedTuple):
    """A portal gave the rows that were asked for, and has more."""


class Failed(NamedTuple):
    """An ErrorResponse passed."""

    sqlstate: str
    text: str


class Ready(NamedTuple):
    """The server waits for the next; `status` is `I` idle, `T` in a transaction, `E` in a failed one."""

    status: str


class Took(NamedTuple):
    """The oldest Parse, Bind or Close without an answer took effect."""


ServerEvent = Completed | Suspended | Failed | Ready | Took

_SERVER_TOLD: Final = frozenset(b"CEZIs123")
_TOOK: Final = Took()
_TAKING: Final = frozenset(b"123")  # ParseComplete, BindComplete, CloseComplete
_ROWS: Final = frozenset(b"Dd")  # DataRow and CopyData: the many
_RUN_MIN: Final = 3  # so many rows of one length in a row, and the next ones may be as long: look at them at once
_RUN_WINDOW: Final = 16


class ServerWalker:
    """Walks what a server sends, by headers, so that we know where one message ends and may put in our own."""

    __slots__ = ("_body", "_head", "_kind", "_told", "left")

    def __init__(self) -> None:
        self._head = b""
        self._kind = 0
        self._body: bytearray | None = None
        self._told = _SERVER_TOLD
        self.left = 0
        """Bytes of the current message that are still to come."""

    @property
    def is_at_boundary(self) -> bool:
        """Whether the last byte that passed was the last of a message."""
        return not self.left and not self._head

    def be_quiet(self) -> None:
        """From here on only know the boundaries, and tell nothing."""
        self._told = frozenset()

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Walk on; return what became whole and matters."""
        out: list[ServerEvent] = []
        pos, end = 0, len(data)
        if self.left:
            pos = min(self.left, end)
            self.left -= pos
            if self._body is not None:
                self._body += data[:pos]
            if self.left:
                return out
            if self._body is not None:
                out.append(_tell_server(self._kind, bytes(self._body)))
                self._body = None
        if self._head:
            data = self._head + data[pos:]
            pos, end = 0, len(data)
            self._head = b""
        unpack, told, last = _HEADER.unpack_from, self._told, end - 5
        while pos <= last:
            kind, length = unpack(data, pos)
            stop = pos + 1 + length
            if length < 4:
                raise ProtocolViolation(f"a message {chr(kind)!r} of {length} bytes from the server")
            if kind in _ROWS and stop <= last:
                pos = _past_rows(data, stop, length, last)
                continue
            if stop > end:
                self._kind, self.left = kind, stop - end
                self._body = bytearray(data[pos + 5 :]) if kind in told else None
                return out
            if kind in told:
                out.append(_tell_server(kind, data[pos + 5 : stop]))
            pos = stop
        self._head = data[pos:]
        return out

    def stop_of_current(self, data: bytes) -> int:
        """How many bytes of `data` still belong to the message that is under way."""
        if self._head:
            header = (self._head + data)[:5]
            if len(header) < 5:
                return len(data)
            length = int(_HEADER.unpack(header)[1])
            return min(len(data), length + 1 - len(self._head))
        return min(len(data), self.left)


def _past_rows(data: bytes, pos: int, before: int, last: int) -> int:
    """The place of the first message from `pos` on that is no row or not whole; the one before had that length."""
    unpack, same = _HEADER.unpack_from, 0
    while pos <= last:
        kind, length = unpack(data, pos)
        stop = pos + 1 + length
        if kind not in _ROWS or length < 4 or stop > last:
            return pos
        if length != before:
            before, same, pos = length, 0, stop
        elif same < _RUN_MIN:
            same, pos = same + 1, stop
        else:
            pos, same = _past_run(data, pos, length + 1), 0
    return pos


def _past_run(data: bytes, pos: int, step: int) -> int:
    """The end of a run of whole messages that have the same header as the one at `pos`.

    If a header stands at `pos`, the next one stands `step` further; as long as that is the same again, so on. All bytes
    at that distance are compared at once, so a row costs next to nothing. The window grows only while all are the same.
    """
    window = _RUN_WINDOW
    while True:
        count = wanted = min((len(data) - pos) // step, window)
        stop = pos + count * step
        for place in range(pos, pos + 5):
            column = data[place:stop:step]
            count = min(count, len(column) - len(column.lstrip(column[:1])))
            stop = pos + count * step
        if count < window or wanted < window:
            return stop
        # the last one of this window is the first of the next
        pos = stop - step
        window *= 4


def _tell_server(kind: int, body: bytes) -> ServerEvent:
    if kind in _TAKING:
        return _TOOK
    if kind == _COMPLETED:
        return _completed(body) if len(body) <= _TAG_MAX else Completed(body[:-1].decode("ascii", "replace"))
    if kind == _READY:
        return _READIES.get(body) or Ready(body.decode("ascii", "replace"))
    if kind == _EMPTY:
        return Completed("")
    if kind == _SUSPENDED:
        return Suspended()
    fields = read_fields(body)
    return Failed(fields.get("C", ""), fields.get("M", ""))


_COMPLETED: Final = ord("C")
_READY: Final = ord("Z")
_EMPTY: Final = ord("I")
_SUSPENDED: Final = ord("s")
_READIES: Final = {status.encode(): Ready(status) for status in "ITE"}
_TAG_MAX: Final = 64


@lru_cache(maxsize=1024)
def _completed(body: bytes) -> Completed:
    return Completed(body[:-1].decode("ascii", "replace"))
