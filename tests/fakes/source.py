"""A source that gives what it is told, or fails as it is told."""

from collections import deque
from datetime import datetime, timedelta

from watchkey.model.ids import SourceName
from watchkey.model.oncall import Roster


class ScriptedSource:
    """Answers each fetch with the next of `answers`; the last one stays. An exception among them is raised."""

    def __init__(self, *answers: Roster | Exception, name: str = "pager") -> None:
        self.answers = deque(answers)
        self.fetched: list[tuple[datetime, timedelta]] = []
        self._name = SourceName(name)

    @property
    def name(self) -> SourceName:
        return self._name

    async def fetch(self, *, now: datetime, window: timedelta) -> Roster:
        self.fetched.append((now, window))
        answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """Nothing to give back."""
