"""Identifiers are text at run time and distinct to the type checker."""

from watchkey.model import ids


def test_identifiers_cost_nothing_at_run_time() -> None:
    for name in ("SubjectId", "ResourceId", "PrivilegeName", "SourceName", "PersonId", "CallerId", "IncidentId"):
        assert getattr(ids, name)("x") == "x"
