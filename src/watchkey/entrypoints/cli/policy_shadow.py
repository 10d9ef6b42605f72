"""`watchkey policy shadow`: what the policy beside the one that decides would have decided differently."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from watchkey.entrypoints.cli.decisions import read_instant
from watchkey.entrypoints.cli.output import (
    EXIT_DENY,
    EXIT_OK,
    EXIT_UNKNOWN,
    Globals,
    bad,
    emit,
    examples,
    faint,
    good,
    json_option,
    pass_globals,
    table,
)
from watchkey.flows.shadow_report import ShadowDifference, shadow_differences
from watchkey.rules.policy_change import Change
from watchkey.settings import load_settings
from watchkey.wiring import open_audit_reader

_HEADINGS: Final = {
    Change.GAINS: bad("would gain access"),
    Change.LOSES: bad("would lose access"),
    Change.SHORTER: "would be allowed for a shorter time",
    Change.LONGER: "would be allowed for a longer time",
    Change.REASON: "would be denied for another reason",
}


@examples(
    ("watchkey policy shadow", "all differences that the audit log tells of"),
    ("watchkey policy shadow --since 2026-07-01T00:00Z --policy strict", "of one policy, from then on"),
    ("watchkey policy shadow --json", "for a program; exit code 1 when somebody would gain or lose"),
)
@click.command("shadow")
@click.option("--since", metavar="INSTANT", help="Only differences from then on, RFC 3339.")
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="Only this shadow policy.")
@click.option("--database", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Another audit log.")
@json_option
@pass_globals
@click.pass_context
def shadow(
    ctx: click.Context,
    globals_: Globals,
    *,
    since: str | None,
    policies: tuple[str, ...],
    database: Path | None,
    as_json: bool,
) -> None:
    """Tell from the audit log what shadow policies would have decided differently, by name and count.

    The service writes a difference down at most once an hour for one subject and privilege; `watchkey policy diff`
    makes every decision of the log again instead.

    Exit code 0 no difference, 1 somebody would gain, lose, or be allowed for another time, 3 entries could not be read.
    """
    if database is None:
        database = load_settings(globals_.config, are_secrets_read=False).storage.path
    start = None if since is None else read_instant(since)
    with open_audit_reader(database) as reader:
        entries = ((entry.seq, entry.body) for entry in reader.entries())
        found, unreadable = shadow_differences(entries, since=start, policies=frozenset(policies))
    emit(_json(found, unreadable), as_json=as_json, text=lambda: "\n".join(_words(found, unreadable)))
    if any(one.change is not Change.REASON for one in found):
        ctx.exit(EXIT_DENY)
    ctx.exit(EXIT_UNKNOWN if unreadable else EXIT_OK)


def _words(found: Sequence[ShadowDifference], unreadable: int) -> Iterator[str]:
    for change in Change:
        rows = [one for one in found if one.change is change]
        if rows:
            yield f"{len({one.subject for one in rows})} {_HEADINGS[change]}:"
            yield table(
                ("subject", "privilege", "resource", "policy", "told", "was", "would be", "first", "entry"),
                [
                    (
                        one.subject,
                        one.privilege,
                        one.resource,
                        one.policy,
                        one.times,
                        one.was,
                        one.would_be,
                        f"{one.first_at:%Y-%m-%d %H:%M}",
                        one.first_seq,
                    )
                    for one in rows
                ],
            )
    if unreadable:
        yield faint(f"{unreadable} entries of the log could not be read; `watchkey audit verify` looks closer")
    told = sum(one.times for one in found)
    yield f"{bad('differs')}: told {told} times" if found else f"{good('same')}: no difference was told"


def _json(found: Sequence[ShadowDifference], unreadable: int) -> Mapping[str, Any]:
    return {
        "unreadable": unreadable,
        "differences": [{name: getattr(one, name) for name in one.__dataclass_fields__} for one in found],
    }
