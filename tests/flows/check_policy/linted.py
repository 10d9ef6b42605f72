"""Short ways to check one module in tests."""

from watchkey.flows.check_policy import Finding, check_policy


def findings(body: str, *, dialect: str = "v1", head: str = "package p\n") -> list[Finding]:
    """The findings in a module; it must compile, so that no test passes on nonsense."""
    report = check_policy({"p.rego": head + body}, dialect=dialect)
    assert report.errors == (), "\n".join(map(str, report.errors))
    return list(report.findings)


def rules(body: str, *, dialect: str = "v1") -> set[str]:
    """The names of the traps in it."""
    return {finding.rule for finding in findings(body, dialect=dialect)}
