"""The three errors that may cross a port; each calls for a different reaction of the caller."""


class PortError(Exception):
    """What all three have in common, so that an edge can turn any of them into *closed*.

    The text tells a person what was tried, on what, and what to do next; it never holds a secret.
    """


class Unavailable(PortError):
    """The other side could not answer now; trying again later can help.

    `retry_after` is in seconds, None when the other side did not say.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(PortError):
    """The other side understood and said no; trying again without a change cannot help."""


class Malformed(PortError):
    """The other side answered something that is not what its contract says; never guess what was meant."""
