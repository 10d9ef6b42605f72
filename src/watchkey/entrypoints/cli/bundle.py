"""`watchkey bundle`: a key for the bundles of a fleet, a bundle in a file, and the configuration of its OPAs."""

import asyncio
from pathlib import Path

import click

from watchkey import wiring
from watchkey.entrypoints.cli.output import Globals, emit, examples, faint, good, json_option, pass_globals, to_json
from watchkey.model.errors import Unavailable
from watchkey.rules.bundle_signature import ALGORITHMS
from watchkey.rules.fleet_bundle import FleetBundle
from watchkey.settings import FleetSettings, Settings, find, load_settings


@examples(
    ("watchkey bundle key bundle.key", "a key that signs bundles"),
    ("watchkey bundle opa-config prod --url https://watchkey:8181 > opa.yaml", "what the OPAs of the fleet start with"),
    ("watchkey bundle build prod -o bundle.tar.gz", "the bundle in a file"),
)
@click.group()
def bundle() -> None:
    """Bundles for a fleet of OPAs; `watchkey serve` hands them out."""


@examples(
    ("watchkey bundle key bundle.key", "for ES256"),
    ("watchkey bundle key --algorithm EdDSA bundle.key", ""),
)
@bundle.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--algorithm", type=click.Choice(ALGORITHMS), default="ES256", show_default=True)
@json_option
def key(*, file: Path, algorithm: str, as_json: bool) -> None:
    """Make a key that signs bundles, in a new FILE that only its owner can read."""
    wiring.create_bundle_key(file, algorithm)
    lines = [
        f"{good('wrote')} {file}",
        f"fleets.NAME.signing: {{key_file: {file}, algorithm: {algorithm}}}",
    ]
    emit({"file": str(file), "algorithm": algorithm}, as_json=as_json, text="\n".join(lines))


@examples(
    ("watchkey bundle build prod -o bundle.tar.gz", "from the sources as they are now"),
    ("opa run --server --bundle bundle.tar.gz", "an OPA that decides by it until its roster is stale"),
)
@bundle.command()
@click.argument("fleet", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("bundle.tar.gz"))
@click.option("--revision", type=click.IntRange(1), help="Left out: the time, in seconds since 1970.")
@json_option
@pass_globals
def build(globals_: Globals, *, fleet: str | None, output: Path, revision: int | None, as_json: bool) -> None:
    """Read the sources and write the bundle of FLEET into a file, signed as it is configured.

    Exit code 3 when a source could not be read: there is no bundle without a complete roster.
    """
    settings = load_settings(find(globals_.config))
    made = asyncio.run(_build(settings, _fleet(settings, fleet), revision))
    try:
        output.write_bytes(made.snapshot)
    except OSError as error:
        raise Unavailable(f"cannot write {output}: {error.strerror}") from error
    facts = {"file": str(output), "revision": made.revision, "roots": made.manifest.roots, "bytes": len(made.snapshot)}
    text = f"{good('wrote')} {output} {faint(f'(revision {made.revision}, {len(made.snapshot)} bytes)')}"
    emit(facts, as_json=as_json, text=text)


async def _build(settings: Settings, fleet: FleetSettings, revision: int | None) -> FleetBundle:
    desk = await wiring.open_desk(settings)
    for why in desk.failures.values():
        raise Unavailable(str(why))
    number = int(desk.clock.now().timestamp()) if revision is None else revision
    return await wiring.build_bundle(desk, fleet, number)


@examples(
    ("watchkey bundle opa-config prod --url http://127.0.0.1:8181 > opa.yaml", ""),
    ("WATCHKEY_TOKEN=wk_… opa run --server --config-file opa.yaml", "with the token of a caller of the fleet"),
)
@bundle.command(name="opa-config")
@click.argument("fleet", required=False)
@click.option("--url", required=True, help="Where the OPAs reach `watchkey serve`.")
@pass_globals
def opa_config(globals_: Globals, *, fleet: str | None, url: str) -> None:
    """Print the configuration that the OPAs of FLEET start with: bundle, its key, decision logs and status.

    It holds no secret: OPA takes the token from its environment, WATCHKEY_TOKEN, and a shared secret from
    WATCHKEY_BUNDLE_SECRET.
    """
    settings = load_settings(find(globals_.config))
    click.echo(to_json(wiring.opa_configuration(_fleet(settings, fleet), url)))


def _fleet(settings: Settings, name: str | None) -> FleetSettings:
    """The named fleet, or the only one there is."""
    if name is None and len(settings.fleets) == 1:
        return next(iter(settings.fleets.values()))
    if name is None or name not in settings.fleets:
        known = ", ".join(settings.fleets) or "none; `fleets` in watchkey.yaml names them"
        what = "which fleet?" if name is None else f"there is no fleet {name!r};"
        raise click.UsageError(f"{what} there is {known}")
    return settings.fleets[name]
