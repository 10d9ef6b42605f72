"""Between the two sides of a session whose statements are asked about: holds each until the policy has answered."""

import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol

from watchkey.model.access import Statement
from watchkey.rules.statement_shape import function_call, is_control, read_statement
from watchkey.wire.pg_judged import (
    AnsweredStream,
    JudgedStream,
    Piece,
    Question,
    denial,
    failing,
    reads_as_written,
)

log = logging.getLogger("watchkey.pg_gateway")

_NAMES_MAX: Final = 4096
"""Prepared statements remembered; one that was forgotten counts as one that nobody can read."""

Ask = Callable[[Statement], Awaitable[str | None]]
"""Why this statement is refused, or None."""


class Pipes(Protocol):
    """Where the bytes go. `client_said` and `server_said` keep the record."""

    def to_server(self, data: bytes) -> None:
        """Write."""

    def to_client(self, data: bytes) -> None:
        """Write."""

    def client_said(self, data: bytes) -> None:
        """Walk what the client sent, refused or not; raises ProtocolViolation."""

    def server_said(self, data: bytes) -> None:
        """Walk what the client gets; raises ProtocolViolation."""

    def hold_client(self, *, is_held: bool) -> None:
        """Stop reading from the client, or go on."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run; a failure ends the session."""


class Judging:
    """One session. `passes_unread`: what becomes of a statement that the grammar does not take."""

    def __init__(
        self, pipes: Pipes, ask: Ask, *, passes_unread: bool, reported: dict[str, str], hint: str = ""
    ) -> None:
        self._pipes = pipes
        self._ask = ask
        self._passes_unread = passes_unread
        self._hint = hint
        self._asked = JudgedStream()
        self._answered = AnsweredStream(reported)
        self._prepared: OrderedDict[bytes, Statement | None] = OrderedDict()
        self._is_asking = False

    def client_sent(self, data: bytes) -> None:
        """Pass on what needs no answer, and ask about the rest, one after the other."""
        self._asked.feed(data)
        if not self._is_asking:
            self._go_on()

    def server_sent(self, data: bytes) -> None:
        """Pass on, with our words where the error is ours."""
        shown = self._answered.feed(data)
        if shown:
            self._pipes.to_client(shown)
            self._pipes.server_said(shown)

    def _go_on(self) -> None:
        while (thing := self._asked.take()) is not None:
            if isinstance(thing, Piece):
                self._passed(thing)
                continue
            statement = self._described(thing)
            if statement is not None and not is_control(statement):
                self._is_asking = True
                self._pipes.hold_client(is_held=True)
                self._pipes.spawn(self._ask_about(thing, statement))
                return
            is_passed = statement is not None or self._passes_unread
            self._settled(thing, None if is_passed else "this statement cannot be read, so the policy cannot allow it")

    async def _ask_about(self, question: Question, statement: Statement) -> None:
        try:
            refusal = await self._ask(statement)
        except Exception:
            log.exception("statement.not_judged")
            refusal = "the policy could not be asked about this statement"
        self._is_asking = False
        self._settled(question, refusal)
        self._pipes.hold_client(is_held=False)
        self._go_on()

    def _settled(self, question: Question, refusal: str | None) -> None:
        if refusal is not None:
            marker = f"wk_denied_{secrets.token_hex(16)}"
            self._answered.deny(marker, denial(refusal, self._hint))
            self._pipes.to_server(failing(question.kind, marker))
        self._passed(self._asked.settle(is_passed=refusal is None))

    def _passed(self, piece: Piece) -> None:
        self._pipes.client_said(piece.data)
        if piece.is_passed:
            self._pipes.to_server(piece.data)

    def _described(self, question: Question) -> Statement | None:
        body = question.body
        match chr(question.kind):
            case "Q":
                return self._read(body[:-1]) if question.is_whole else None
            case "F":
                return function_call(int.from_bytes(body[:4]))
            case "P":
                name, _, rest = body.partition(b"\0")
                statement = self._read(rest[: rest.find(b"\0")]) if question.is_whole else None
                self._remember(name, statement)
                return statement
            case _:  # a portal of a prepared statement, whose answer may be another by now
                name = body.partition(b"\0")[2].partition(b"\0")[0]
                return self._prepared.get(name)

    def _read(self, text: bytes) -> Statement | None:
        is_settled = self._answered.ready >= self._asked.ready_wanted and not self._asked.executed
        if not reads_as_written(text, self._answered.reported, is_settled=is_settled):
            return None
        try:
            return read_statement(text.decode())
        except UnicodeDecodeError:
            return None

    def _remember(self, name: bytes, statement: Statement | None) -> None:
        if name and self._prepared.get(name, statement) != statement:
            statement = None  # the server keeps the first one until it is closed, and which it has is not sure
        self._prepared[name] = statement
        self._prepared.move_to_end(name)
        if len(self._prepared) > _NAMES_MAX:
            self._prepared.popitem(last=False)
