"""rego.metadata: the chain from the rule outward, over several files."""

from __future__ import annotations

from tests.rego.evaluating import answer, value
from watchkey.rego import compile_modules
from watchkey.rego.values import Object


def test_chain_from_the_rule_outward() -> None:
    modules = {
        "root.rego": "# METADATA\n# scope: subpackages\n# organizations: [all]\npackage a",
        "b.rego": (
            "# METADATA\n# title: pkg\npackage a.b\n\n# METADATA\n# scope: document\n# title: doc\np := 1 if false\n\n"
            "# METADATA\n# title: rule\n# authors:\n# - Ann <ann@example.com>\n# - name: Bob\n"
            "# related_resources:\n# - https://example.com\n# - {ref: https://b.example, description: B}\n"
            "p := rego.metadata.chain()\n"
        ),
    }
    chain = compile_modules(modules).query("data.a.b.p").evaluate().json()
    assert [link["path"] for link in chain] == [["a", "b", "p"], ["a", "b", "p"], ["a", "b"], ["a"]]
    assert [link["annotations"]["scope"] for link in chain] == ["rule", "document", "package", "subpackages"]
    assert chain[0]["annotations"]["authors"] == [{"name": "Ann", "email": "ann@example.com"}, {"name": "Bob"}]
    assert chain[0]["annotations"]["related_resources"][1] == {"ref": "https://b.example", "description": "B"}


def test_the_rule_itself() -> None:
    assert answer("# METADATA\n# title: T\n# entrypoint: true\n# scope: rule\np := rego.metadata.rule()") == {
        "entrypoint": True,
        "scope": "rule",
        "title": "T",
    }
    assert value("p := rego.metadata.rule()") == Object()
    assert answer("p := rego.metadata.chain()") == [{"path": ["t", "p"]}]
