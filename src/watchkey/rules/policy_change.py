"""What it means for somebody that another policy decides: the difference between two decisions on one question."""

from enum import StrEnum

from watchkey.model.access import Allow, Decision


class Change(StrEnum):
    """What the second decision changes."""

    GAINS = "gains"
    LOSES = "loses"
    SHORTER = "shorter"
    """Allowed by both, and the second ends sooner."""
    LONGER = "longer"
    REASON = "reason"
    """Denied by both, for another reason."""


def change_between(before: Decision, after: Decision) -> Change | None:
    """The difference between two decisions on the same facts at the same instant; None when there is none."""
    if isinstance(before, Allow) and isinstance(after, Allow):
        if before.until == after.until:
            return None
        return Change.SHORTER if after.until < before.until else Change.LONGER
    if isinstance(after, Allow):
        return Change.GAINS
    if isinstance(before, Allow):
        return Change.LOSES
    return None if before.reason is after.reason else Change.REASON
