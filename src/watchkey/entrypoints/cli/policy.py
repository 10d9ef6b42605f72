"""`watchkey policy`: check, test and try policies before they decide. Each command has its own file."""

import importlib
from typing import Final

import click

from watchkey.entrypoints.cli.output import examples

_COMMANDS: Final = {
    "check": ("policy_check", "check", "Find errors, and the traps of this domain."),
    "fmt-check": ("policy_check", "fmt_check", "Find white space that nobody sees; write a copy without it."),
    "test": ("policy_test", "test", "Run Rego tests and YAML cases."),
    "coverage": ("policy_coverage", "coverage", "Which lines the Rego tests run."),
    "diff": ("policy_diff", "diff", "Who would gain and who would lose what under another policy."),
    "shadow": ("policy_shadow", "shadow", "What a shadow policy would have decided differently."),
    "explain": ("policy_eval", "explain", "Which rule held, or what stopped it."),
    "eval": ("policy_eval", "eval_", "Evaluate a query."),
}
"""Every command: its module, the attribute there, and its line in --help; a module is loaded when it is called."""


class _PolicyGroup(click.Group):
    """Loads a command's module when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """All of them, in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- same
        """Import and return one command; None when there is none of that name."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"watchkey.entrypoints.cli.{module}"), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{attribute} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- same
        """Write the table; no command is imported for that."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])


@examples(
    ("watchkey policy check", "every policy of the configuration"),
    ("watchkey policy check --dialect cyral sample.rego", "a file, before it is configured"),
    ("watchkey policy test policies/ cases.yaml", "Rego tests and cases"),
)
@click.group(cls=_PolicyGroup)
def policy() -> None:
    """Check, test and try policies."""
