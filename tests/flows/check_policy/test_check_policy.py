"""The door of the package: one call finds an error, a trap and odd blanks, and every exported name is there."""

from watchkey.flows import check_policy as door


def test_one_call_finds_all_three_kinds() -> None:
    report = door.check_policy(
        {
            "a.rego": "package a\nallow if nonsense\n",
            "b.rego": "package b\ndefault allow := true\n",
            "c.rego": "package\u00a0c\n",
        }
    )
    # Blanks keep a file from being read, so the compiler has not come to what stands in the others.
    assert {error.file for error in report.errors} == {"c.rego"}
    assert [(one.rule, one.location.file) for one in report.findings] == [("default-allow", "b.rego")]
    assert report.odd_spaces == {"c.rego": 1}


def test_every_exported_name_is_there() -> None:
    assert all(hasattr(door, name) for name in door.__all__)
    assert set(door.DIALECTS) == {"v1", "v0", "cyral"}
