"""`watchkey completion`: a script that teaches the shell our commands, options, and the names in the configuration."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem, get_completion_class

from watchkey.entrypoints.cli.output import examples

if TYPE_CHECKING:  # importing it would cost every start of the program 60 ms
    from watchkey.settings import Settings

VARIABLE: Final = "_WATCHKEY_COMPLETE"
"""Set by the script when the shell wants proposals; the program then does nothing else."""

_NAMES: Final[Mapping[str, Callable[["Settings"], Iterable[str]]]] = {
    "resource": lambda settings: settings.resources,
    "subject": lambda settings: {link.subject for link in settings.links},
    "privilege": lambda settings: {name for one in settings.resources.values() for name in one.privileges},
}


@examples(
    ("watchkey completion bash > ~/.local/share/bash-completion/completions/watchkey", ""),
    ("watchkey completion zsh > ~/.zfunc/_watchkey", ""),
    ("watchkey completion fish > ~/.config/fish/completions/watchkey.fish", ""),
)
@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a completion script for your shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}", ctx)
    root = ctx.find_root()
    click.echo(kind(root.command, {}, "watchkey", VARIABLE).source())


def propose_names(command: click.Command) -> None:
    """Let a command's arguments `resource`, `subject` and `privilege` propose what the configuration names."""
    for parameter in command.params:
        if parameter.name in _NAMES:
            parameter.type = _Name(parameter.name)


class _Name(click.types.StringParamType):
    """Text for which the configuration has proposals; without a configuration there are none."""

    def __init__(self, what: str) -> None:
        self.what: Final = what

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002 -- click's signature
        from watchkey.settings import ConfigError, load_settings  # noqa: PLC0415 -- see above

        try:
            settings = load_settings(ctx.find_root().params.get("config"), are_secrets_read=False)
        except ConfigError:
            return []
        return [CompletionItem(name) for name in sorted(_NAMES[self.what](settings)) if name.startswith(incomplete)]
