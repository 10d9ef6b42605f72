"""A remote OPA as policy engine, over its Data API: asked on each decision, believed only when well formed.

Whatever else comes back, or nothing, is an outcome that becomes a denial with its own reason. An evaluation in OPA is a
question and changes nothing there, so a connection that breaks is tried once more within the same budget; an answer,
whatever it says, is never asked for again, except where a proxy says that it had no OPA to pass the question to.
"""

import json
from collections.abc import Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import msgspec

from watchkey.http_client import Answer, Params, PostClient, PostLimits, Tls, TooSlow
from watchkey.model.access import Outcome, Verdict
from watchkey.model.errors import Malformed, PortError, Unavailable
from watchkey.model.secret import Secret
from watchkey.ports import Clock
from watchkey.rules.policy_answer import PolicyAnswer, kind_of, not_an_object, read_answer

UNKNOWN: Final = "unknown"
"""What a policy is known by whose OPA does not say which bundles it decided with."""

BODY_BYTES_MAX: Final = 256 * 1024
"""An answer of three small fields with OPA's provenance; anything longer is something else."""
TOLD_MAX: Final = 256
"""Characters of what OPA tells of its bundles that are kept as they are; beyond, their hash stands for them."""

_NO_OPA: Final = frozenset({502, 503, 504})
"""What a proxy answers that had nobody to pass the question to; OPA itself does not."""
_ADVICE: Final = {
    400: "it does not take the question",
    401: "it does not accept the token",
    403: "it does not accept the token",
    404: "there is no Data API: check url",
    413: "the question is too large for it",
}
_MISSING: Final = object()


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the OPA is, and what it is asked."""

    url: str
    path: str = "watchkey/decision"
    """Below `/v1/data/`."""
    token: Secret | None = None
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    timeout: timedelta = timedelta(seconds=1)
    """The whole budget of one decision, a second try included."""
    strict_errors: bool = True
    """An error of a built-in fails the evaluation. Otherwise OPA takes it as undefined, and `not` of it as true."""
    is_kept_open: bool = True
    """False closes each connection with its answer: for those who ask a few times and close nothing."""
    revision: int = 0


class _Refusal(Exception):
    """An answer that is no verdict."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome


class OpaEngine:
    """A policy in an OPA elsewhere, behind the port. Safe to ask from several tasks of one event loop."""

    declared_revision: int | None = None
    """It counts its revisions itself, if at all; see `Verdict.policy_hash`."""

    def __init__(self, config: Config, *, clock: Clock) -> None:
        """Open no connection yet. Raises `Refused` when the URL or a file of TLS is not acceptable."""
        self._seconds = config.timeout.total_seconds()
        params: Params = [("provenance", "true")]
        if config.strict_errors:
            params = [*params, ("strict-builtin-errors", "true")]
        self._clock = clock
        self._client = PostClient(
            config.url,
            f"/v1/data/{config.path}",
            params,
            headers=_headers(config),
            limits=PostLimits(body_bytes=BODY_BYTES_MAX, is_kept_open=config.is_kept_open),
            tls=Tls(ca_file=config.ca_file, client_certificate=_certificate(config)),
        )
        self.asked = self._client.what.removeprefix("POST ")
        """The URL that is asked, for people."""
        self.asked_hash = _asked_hash(config)
        """SHA-256, hexadecimal, over where is asked what: the part that the configuration decides."""
        self._told = UNKNOWN
        self._revision = config.revision

    @property
    def policy_hash(self) -> str:
        """What is asked where, and which bundles the last answer came from: it changes when either is seen to."""
        return f"{self.asked_hash} {self._told}"

    def numbered(self, revision: int) -> "OpaEngine":
        """The same with another revision; the connections are shared."""
        other = copy(self)
        other._revision = revision  # noqa: SLF001 -- its own kind
        return other

    async def close(self) -> None:
        """Give back the connections. Calling it twice is fine."""
        await self._client.close()

    async def evaluate(self, document: Mapping[str, Any], *, now: datetime) -> Verdict:
        """Ask; every failure is an outcome. OPA takes the time from the document, or from its own clock."""
        del now
        told = UNKNOWN
        try:
            answer = _whole(await self._asked(msgspec.json.encode({"input": document})))
            told = self._told = told_of(answer)
            read = _verdict_of(answer)
        except _Refusal as refusal:
            read = PolicyAnswer(refusal.outcome, detail=str(refusal))
        except Malformed as error:
            read = PolicyAnswer(Outcome.MALFORMED, detail=str(error))
        except TooSlow:
            detail = f"{self.asked} gave no complete answer within {self._seconds:g} s"
            read = PolicyAnswer(Outcome.OVER_BUDGET, detail=detail)
        except PortError as error:
            read = PolicyAnswer(Outcome.UNREACHABLE, detail=str(error))
        except Exception as error:  # noqa: BLE001 -- the port is total: a fault of the engine is a denial with its name
            read = PolicyAnswer(Outcome.FAILED, detail=f"the engine broke ({type(error).__name__})")
        return Verdict(
            outcome=read.outcome,
            ttl=read.ttl,
            reasons=read.reasons,
            detail=read.detail,
            policy_hash=told,
            policy_revision=self._revision,
        )

    async def _asked(self, body: bytes) -> Answer:
        """One answer, with a second try where the first cannot have been OPA's word."""
        ends_at = self._clock.monotonic() + self._seconds
        try:
            first = await self._client.ask(body, seconds=self._seconds)
        except TooSlow:
            raise
        except Unavailable:
            pass
        else:
            if first.status not in _NO_OPA:
                return first
        left = ends_at - self._clock.monotonic()
        return await self._client.ask(body, seconds=max(0.0, left), is_fresh=True)


def build(config: Config, *, clock: Clock) -> OpaEngine:
    """The engine; nothing is asked yet. Raises `Refused` when the URL or a file of TLS is not acceptable."""
    return OpaEngine(config, clock=clock)


def _headers(config: Config) -> dict[str, str | Secret]:
    headers: dict[str, str | Secret] = {"Accept": "application/json"}
    if config.token is not None:
        headers["Authorization"] = Secret(f"Bearer {config.token.reveal()}")
    return headers


def _certificate(config: Config) -> tuple[str, str] | None:
    if config.certificate_file is None or config.key_file is None:
        return None
    return config.certificate_file, config.key_file


def _asked_hash(config: Config) -> str:
    parts = ["opa", config.url, config.path, config.strict_errors]
    return sha256(msgspec.json.encode(parts)).hexdigest()


# --- reading what came back ----------------------------------------------------------------------------------------


def _whole(answer: Answer) -> dict[str, Any]:
    """The body of an answer that OPA gave to our question, as an object without doubled names."""
    if answer.status != 200:
        raise _Refusal(_outcome_of(answer.status), f"{answer.what} answered {answer.status}: {_why(answer)}")
    answer.json()  # says what it is instead of JSON; also bounds the depth
    try:
        body = json.loads(answer.body, object_pairs_hook=_unique)
    except ValueError as error:
        raise Malformed(f"{answer.what} answered JSON that can be read in two ways: {error}") from None
    if not isinstance(body, dict):
        raise Malformed(f"{answer.what} answered {kind_of(body)} instead of an object")
    return body


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names differ: of two results, which one is OPA's?"""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _outcome_of(status: int) -> Outcome:
    if status in _NO_OPA or status in {408, 425, 429}:
        return Outcome.UNREACHABLE
    return Outcome.MALFORMED if status < 300 else Outcome.FAILED


def _why(answer: Answer) -> str:
    """What to make of a status; OPA's own error with its place in the policy, where it gives one."""
    if 300 <= answer.status < 400:
        return "redirects are not followed, set url to where it leads"
    try:
        told = msgspec.json.decode(answer.body, type=_OpaError)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        told = _OpaError()
    parts = [part for part in (_ADVICE.get(answer.status, ""), told.code, told.message) if part]
    parts += [
        f"{error.code} at {error.location.file}:{error.location.row}: {error.message}" for error in told.errors[:1]
    ]
    return "; ".join(parts)[:1000] or "it gave no reason"


class _Location(msgspec.Struct, frozen=True):
    file: str = ""
    row: int = 0


class _OneError(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""
    location: _Location = _Location()


class _OpaError(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""
    errors: tuple[_OneError, ...] = ()


def _verdict_of(body: Mapping[str, Any]) -> PolicyAnswer:
    if "warning" in body:
        # OPA says that it understood the question otherwise than it was meant: its answer is one to another question.
        warning = body["warning"]
        code = warning.get("code") if isinstance(warning, dict) else None
        return PolicyAnswer(
            Outcome.FAILED, detail=f"OPA answered with a warning: {str(code or 'without a code')[:100]}"
        )
    if "errors" in body or "code" in body:
        return PolicyAnswer(Outcome.FAILED, detail="OPA answered with an error beside its 200")
    result = body.get("result", _MISSING)
    if result is _MISSING:
        return PolicyAnswer(Outcome.UNDEFINED)
    if not isinstance(result, dict):
        return not_an_object(result)
    return read_answer(result.get("allow"), result.get("ttl"), result.get("reasons", []))


def told_of(body: Mapping[str, Any]) -> str:
    """Which bundles, at which revisions, OPA says that it decided with: `opa:NAME@REVISION,…`; else `unknown`.

    OPA knows no hash of a policy. What a bundle's revision means is up to who built it; an empty one is unknown too.
    """
    provenance = body.get("provenance")
    if not isinstance(provenance, dict):
        return UNKNOWN
    bundles = provenance.get("bundles")
    if not isinstance(bundles, dict) or not bundles:
        return UNKNOWN
    told = ",".join(f"{name}@{_revision(one)}" for name, one in sorted(bundles.items()))
    if len(told) > TOLD_MAX or not told.isprintable():
        told = f"sha256-{sha256(told.encode(errors='backslashreplace')).hexdigest()}"
    return f"opa:{told}"


def _revision(bundle: Any) -> str:
    revision = bundle.get("revision") if isinstance(bundle, dict) else None
    return revision if isinstance(revision, str) and revision else UNKNOWN
