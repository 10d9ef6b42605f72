"""Decisions that OPAs report survive kills of the service: what was answered is in the log, and nothing is twice."""

import gzip
import http.client
import json
import random
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from tests.live.fleet import Fleet, eventually
from tests.rules.test_opa_reports import event

KILLS = 3
BATCH = 40


class Uploading(threading.Thread):
    """Sends batch after batch as OPA does: the same again until it is answered with 200."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(daemon=True)
        self.fleet = fleet
        self.answered: list[str] = []
        self.sent_again = 0
        self.stops = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.stops.is_set():
            ids = [f"d{number}-{i}" for i in range(BATCH)]
            body = gzip.compress(json.dumps([event(decision_id=one) for one in ids]).encode())
            while not self._send(body):
                self.sent_again += 1
                self.stops.wait(0.02)
                if self.stops.is_set():
                    return
            self.answered += ids
            number += 1

    def answer_more(self, batches: int) -> None:
        """Come back when so many more have been answered."""
        least = len(self.answered) + batches * BATCH
        eventually(lambda: len(self.answered) >= least)

    def _send(self, body: bytes) -> bool:
        headers = {"authorization": f"Bearer {self.fleet.token.reveal()}", "content-encoding": "gzip"}
        connection = http.client.HTTPConnection("127.0.0.1", self.fleet.port, timeout=20)
        try:
            connection.request("POST", "/logs", body=body, headers=headers)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def test_what_was_answered_is_there_and_nothing_stands_twice(tmp_path: Path) -> None:
    dice = random.Random(5)
    fleet = Fleet(tmp_path)
    uploading = Uploading(fleet)
    fleet.start_watchkey()
    try:
        uploading.start()
        for _ in range(KILLS):
            uploading.answer_more(dice.randrange(1, 6))
            fleet.stop("watchkey", signal.SIGKILL)
            fleet.start_watchkey()
        uploading.answer_more(1)
        uploading.stops.set()
        uploading.join(30)
    finally:
        fleet.__exit__()
    logged = Counter(one["decision_id"] for one in _decisions(fleet))
    assert set(uploading.answered) <= set(logged)
    assert {one: count for one, count in logged.items() if count > 1} == {}
    assert uploading.sent_again > 0, "the kills must have hit something"


def _decisions(fleet: Fleet) -> list[dict[str, Any]]:
    return [one for one in fleet.entries() if one["kind"] == "opa_decision"]
