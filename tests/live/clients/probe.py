"""What a probe is: a program that goes through the gateway with one driver and says, a JSON line each, what came of it.

Where to go stands in its environment. First it does what works, `before`. Then it begins everything of `expiring`, says
`ready`, and each of these is to end by an error, for the test ends the lease now. Last it tries to come in again.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

WORDS: Final = ("host", "port", "user", "password", "database", "ca", "server")
SETTLE: Final = 0.4
"""Seconds between the last `begun` and `ready`: what has begun is then running on the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The way in: the gateway's place, a person's token, and the certificate that vouches for it."""

    host: str
    port: str
    user: str
    password: str
    database: str
    ca: str

    @property
    def dsn(self) -> str:
        """For libpq."""
        return (
            f"host={self.host} port={self.port} dbname={self.database} user={self.user} password={self.password} "
            f"sslmode=verify-full sslrootcert={self.ca} gssencmode=disable"
        )


WHERE: Final = Where(
    **{name: os.environ.get(f"PROBE_{name.upper()}", "") for name in Where.__dataclass_fields__},
)

Begun = Callable[[], None]
"""To be called when the work is about to be running."""


def run(
    *,
    before: Mapping[str, Callable[[], Any]],
    expiring: Mapping[str, Callable[[Begun], Any]],
    denied: Callable[[], Any],
) -> None:
    """Go through all of it. An `expiring` that returns is reported as `went on`."""
    for name, work in before.items():
        _report(name, work)
    events = {name: threading.Event() for name in expiring}
    threads = [
        threading.Thread(target=_report, args=(name, lambda work=work, name=name: work(events[name].set)))
        for name, work in expiring.items()
    ]
    for thread in threads:
        thread.start()
    for name, event in events.items():
        if not event.wait(20):
            say(name, "never began", "")
    time.sleep(SETTLE)
    print("ready", flush=True)
    for thread in threads:
        thread.join(30)
    _report("denied", denied)


def say(scenario: str, sqlstate: str, text: str) -> None:
    """One outcome; `sqlstate` is `ok` when nothing was raised."""
    # in one write: scenarios end in threads of their own
    sys.stdout.write(json.dumps({"scenario": scenario, "sqlstate": sqlstate, "text": text}) + "\n")
    sys.stdout.flush()


def _report(name: str, work: Callable[[], Any]) -> None:
    try:
        value = work()
    except Exception as error:  # noqa: BLE001  whatever the driver raises is what the test looks at
        say(name, str(_sqlstate(error) or ""), f"{type(error).__name__}: {error}")
    else:
        say(name, "ok", str(value))


def _sqlstate(error: BaseException) -> str | None:
    """As the driver says it; SQLAlchemy keeps the driver's error in `orig`, and asyncpg's under that."""
    inner: Any = getattr(error, "orig", None) or error
    return getattr(inner, "sqlstate", None) or getattr(inner.__cause__, "sqlstate", None)
