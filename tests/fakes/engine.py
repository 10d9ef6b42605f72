"""A policy engine that says what it is told."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from watchkey.model.access import Outcome, Verdict


class ScriptedEngine:
    """Answers every document with `verdict`, and keeps the documents."""

    def __init__(self, verdict: Verdict | None = None) -> None:
        self.verdict = verdict or Verdict(outcome=Outcome.YES, policy_hash="hash")
        self.documents: list[Mapping[str, Any]] = []

    @property
    def policy_hash(self) -> str:
        return self.verdict.policy_hash

    async def evaluate(self, document: Mapping[str, Any], *, now: datetime) -> Verdict:
        del now
        self.documents.append(document)
        return self.verdict
