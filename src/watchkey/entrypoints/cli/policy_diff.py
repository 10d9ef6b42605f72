"""`watchkey policy diff`: who would have gained and who would have lost what, had another policy decided."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
    printable,
    progress,
    table,
)
from watchkey.entrypoints.cli.policy_files import is_bundle
from watchkey.flows.replay_decisions import Comparison, LoggedDecision, logged_decisions, replay
from watchkey.ports import PolicyEngine
from watchkey.rules.policy_change import Change
from watchkey.settings import PolicySettings, Settings, load_settings
from watchkey.settings.load import ENTRYPOINTS
from watchkey.wiring import ReplayBench, elsewhere, open_audit_reader, policy_engine

SHIPPED: Final = "default"

_MINOR: Final = frozenset({Change.REASON})
"""Told, and no reason for a build to fail: nobody gets in or stays out by it."""


@examples(
    ("watchkey policy diff default policies/new.rego", "the policy that decides now against a file"),
    ("watchkey policy diff old/ new/ --since 2026-07-01T00:00Z", "two folders, the decisions since then"),
    ("watchkey policy diff default strict --json", "two policies of the configuration, for a program"),
)
@click.command("diff")
@click.argument("old")
@click.argument("new")
@click.option("--since", metavar="INSTANT", help="Only decisions from then on, RFC 3339.")
@click.option("--resource", "resources", multiple=True, metavar="ID", help="Only decisions on this resource.")
@click.option("--database", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Another audit log.")
@click.option("--skip-lost", is_flag=True, help="Pass over decisions whose roster is not kept any more.")
@json_option
@pass_globals
@click.pass_context
def diff(  # noqa: PLR0913 -- one argument an option
    ctx: click.Context,
    globals_: Globals,
    old: str,
    new: str,
    *,
    since: str | None,
    resources: tuple[str, ...],
    database: Path | None,
    skip_lost: bool,
    as_json: bool,
) -> None:
    """Make the decisions of the audit log again under OLD and NEW, with the roster as it was at each.

    OLD and NEW are names of policies of the configuration, or .rego files or folders; files are asked as the policy of
    the configuration on the other side is (its dialect, entry point and parameters). When OLD is a name, only
    resources that it decides on are looked at. Resources and links are those of the configuration as it is now.

    Exit code 0 no difference, 1 somebody gains, loses, or is allowed for another time, 3 not all decisions could be
    made again, or there was none; with --skip-lost that is 0.
    """
    settings = load_settings(globals_.config, are_secrets_read=False)
    pair = (_policy(settings, old), _policy(settings, new))
    like = next((one for one in pair if one is not None and one.name != _FILES), None)
    old_policy, new_policy = (_alike(one, like) for one in pair)
    with open_audit_reader(database or settings.storage.path) as reader:
        entries = [(entry.seq, entry.body) for entry in reader.entries()]
    decisions, unreadable = logged_decisions(entries)
    wanted = list(_wanted(decisions, settings, old, since, resources))
    bench = ReplayBench(settings, database or settings.storage.path)
    with progress("replaying", len(wanted)) as step:
        comparison = asyncio.run(
            replay(
                wanted,
                bench.asker(_engine(old_policy)),
                bench.asker(_engine(new_policy)),
                step,
            )
        )
    emit(_json(comparison, unreadable), as_json=as_json, text=lambda: "\n".join(_words(comparison, unreadable)))
    ctx.exit(_exit_code(comparison, unreadable, skip_lost=skip_lost))


_FILES: Final = "\N{MIDDLE DOT}files"
"""The name of a policy that is given as files; no policy of a configuration can be called that."""


def _engine(policy: PolicySettings | None) -> PolicyEngine:
    """The engine; nothing is decided by it, so a bundle that was named is taken as it is."""
    return policy_engine(policy, is_verified=policy is None or policy.name != _FILES)


def _policy(settings: Settings, given: str) -> PolicySettings | None:
    """A policy by its name, or of files; None is the one that ships."""
    if given in settings.policies:
        found = settings.policies[given]
        if found.remote is not None:
            raise click.UsageError(elsewhere(given, found.remote))
        return found
    if given == SHIPPED:
        return None
    path = Path(given)
    if not path.exists():
        known = ", ".join(sorted({*settings.policies, SHIPPED}))
        raise click.UsageError(f"{given!r} is neither a policy of the configuration ({known}) nor a file")
    if is_bundle(path):
        return PolicySettings(
            name=_FILES, files=(), dialect="v1", entrypoint=ENTRYPOINTS["v1"], parameters={}, bundle=path.absolute()
        )
    files = sorted(path.rglob("*.rego")) if path.is_dir() else [path]
    kept = tuple(file.absolute() for file in files if not file.name.endswith("_test.rego"))
    if not kept:
        raise click.UsageError(f"{given}: no policy is in there")
    return PolicySettings(name=_FILES, files=kept, dialect="v1", entrypoint=ENTRYPOINTS["v1"], parameters={})


def _alike(policy: PolicySettings | None, like: PolicySettings | None) -> PolicySettings | None:
    """Files asked as the configured policy on the other side."""
    if policy is None or like is None or policy.name != _FILES:
        return policy
    return replace(
        policy, dialect=like.dialect, entrypoint=like.entrypoint, parameters=like.parameters, is_strict=like.is_strict
    )


def _wanted(
    decisions: Sequence[LoggedDecision], settings: Settings, old: str, since: str | None, resources: Sequence[str]
) -> Iterator[LoggedDecision]:
    start = None if since is None else read_instant(since)
    is_named = old in settings.policies or old == SHIPPED
    for one in decisions:
        resource = settings.resources.get(one.request.resource)
        is_others = is_named and resource is not None and resource.policy != old
        is_asked_for = not resources or one.request.resource in resources
        if not is_others and is_asked_for and (start is None or one.at >= start):
            yield one


def _exit_code(comparison: Comparison, unreadable: int, *, skip_lost: bool) -> int:
    if any(one.kind not in _MINOR for one in comparison.differences):
        return EXIT_DENY
    is_short = (bool(comparison.lost) or not comparison.compared) and not skip_lost
    return EXIT_UNKNOWN if is_short or unreadable else EXIT_OK


_HEADINGS: Final = {
    Change.GAINS: bad("gain access"),
    Change.LOSES: bad("lose access"),
    Change.SHORTER: "are allowed for a shorter time",
    Change.LONGER: "are allowed for a longer time",
    Change.REASON: "are denied for another reason",
}


def _words(comparison: Comparison, unreadable: int) -> Iterator[str]:
    for kind in Change:
        found = [one for one in comparison.differences if one.kind is kind]
        if not found:
            continue
        yield f"{len({one.subject for one in found})} {_HEADINGS[kind]}:"
        yield table(
            ("subject", "privilege", "resource", "times", "was", "would be", "first", "entry"),
            [
                (
                    one.subject,
                    one.privilege,
                    one.resource,
                    one.times,
                    one.old,
                    one.new,
                    f"{one.first_at:%Y-%m-%d %H:%M}",
                    one.first_seq,
                )
                for one in found
            ],
        )
    for why, number in comparison.lost.items():
        yield faint(f"{number} not made again: {printable(why)}")
    if unreadable:
        yield faint(f"{unreadable} entries of the log could not be read; `watchkey audit verify` looks closer")
    if not comparison.compared:
        yield "nothing was compared: the log has no such decision that could be made again"
        return
    is_same = not comparison.differences
    yield f"{good('same') if is_same else bad('differs')}: {comparison.compared} answers compared"


def _json(comparison: Comparison, unreadable: int) -> Mapping[str, Any]:
    return {
        "compared": comparison.compared,
        "lost": comparison.lost,
        "unreadable": unreadable,
        "differences": [
            {name: getattr(one, name) for name in one.__dataclass_fields__} for one in comparison.differences
        ],
    }
