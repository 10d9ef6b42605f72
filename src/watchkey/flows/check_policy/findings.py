"""What the check of a policy finds besides compile errors: a trap of this domain, with its way out in words."""

from dataclasses import dataclass
from enum import StrEnum

from watchkey.rego import Location


class Severity(StrEnum):
    """How bad a trap is where nobody bounds it."""

    HIGH = "high"
    """Somebody gets in who should not, or the one on call stays out."""
    MEDIUM = "medium"
    """It breaks on data that occurs in practice."""
    LOW = "low"
    """It works and will annoy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One trap at one place. `rule` is a stable name, by which `--ignore` and a comment in the policy silence it."""

    rule: str
    severity: Severity
    location: Location
    message: str
    fix: str

    def __str__(self) -> str:
        lines = [f"{self.location}: {self.severity} {self.rule}: {self.message}"]
        if text := self.location.text:
            shown = "".join(char if char.isprintable() else " " for char in text)
            lines += [f"    {shown}", f"    {' ' * (self.location.column - 1)}^"]
        return "\n".join([*lines, f"    fix: {self.fix}"])
