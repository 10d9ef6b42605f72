"""From the file to `Settings`: read, convert, cross-check, and only then make values."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from watchkey.model.access import Agreement, Caller, Link, Resource
from watchkey.model.ids import CallerId, PersonId, PrivilegeName, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import Provenance, Scope
from watchkey.rules.dependencies import turned
from watchkey.rules.located import ConfigError, Located, Mark, load, nearest
from watchkey.settings.crosscheck import CrossCheck, fleet_resources, merged, pager_kind
from watchkey.settings.sections import Surroundings, environment, raise_all
from watchkey.settings.shape import File, HttpSection, Pager, PolicySection, ResourceSection
from watchkey.settings.values import (
    CallerSettings,
    FleetSettings,
    HttpSettings,
    PolicySettings,
    RemoteOpa,
    Settings,
    SourceSettings,
    StorageSettings,
    VerificationSettings,
)

DEFAULT_NAME: Final = "watchkey.yaml"
VARIABLE: Final = "WATCHKEY_CONFIG"
"""The one environment variable that changes the configuration: where it is. What it says stands in the file."""
FILE_BYTES_MAX: Final = 4 * 1024 * 1024

ENTRYPOINTS: Final = {
    "v1": "data.watchkey.decision",
    "v0": "data.watchkey.decision",
    "cyral": "data.cyral.authz_policy.decision",
}
"""What is asked of a policy that names no entry point, by its dialect."""
_OPEN_ALL: Final = frozenset({Provenance.ROTA, Provenance.SWAP, Provenance.OTHER_OVERRIDE})
_OPEN_UNVETTED: Final = frozenset({Provenance.SELF_OVERRIDE, Provenance.UNKNOWN})

SourceConfigs = Mapping[str, type[msgspec.Struct]]
"""The `Config` of each kind of source there is."""


def find(given: Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """Which file it is: the one that was named, else the one in WATCHKEY_CONFIG, else `watchkey.yaml` here."""
    variables = environment() if environ is None else environ
    return given or Path(variables.get(VARIABLE) or DEFAULT_NAME)


def load_settings(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    source_configs: SourceConfigs | None = None,
    are_secrets_read: bool = True,
) -> Settings:
    """Read the configuration from its file; `path` None looks where `find` says.

    With `source_configs` the sections of the sources are checked as well, and all secrets are read, so that all errors
    come at once. Raises `ConfigError`, whose `all` has every error in the order of the file.
    """
    variables = environment() if environ is None else environ
    file = find(path, variables)
    surroundings = Surroundings(directory=file.parent.absolute(), environ=variables, are_secrets_read=are_secrets_read)
    return parse_settings(_bytes_of(file), file=file, surroundings=surroundings, source_configs=source_configs)


def parse_settings(
    text: str | bytes, *, file: Path, surroundings: Surroundings, source_configs: SourceConfigs | None = None
) -> Settings:
    """Make settings of a file's text. Raises `ConfigError`."""
    root = load(text, str(file))
    if root.data is None:
        raise root.error(
            (), "the file is empty", expected="at least `sources` and `resources`; `watchkey init` writes one"
        )
    errors: list[ConfigError] = []
    shape: File | None = None
    try:
        # Secrets are read by whoever needs them; here their form is checked.
        shape = root.convert(File, secrets=replace(surroundings, are_secrets_read=False).secret)
    except ConfigError as error:
        errors += error.all
    if shape is not None:
        errors += CrossCheck(shape, root).errors()
        errors += _missing_files(shape, root, surroundings)
        if source_configs is not None:
            errors += _source_errors(shape, root, surroundings, source_configs)
            errors += _policy_errors(shape, root, surroundings)
    raise_all(errors)
    if shape is None:
        raise root.error((), "this is no configuration")
    return _settings(shape, root, file, surroundings)


def _bytes_of(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        hint = "; `watchkey init` writes one" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(f"cannot be read: {error.strerror}{hint}", file=str(file), mark=Mark(1, 1)) from None


def _source_errors(
    shape: File, root: Located, surroundings: Surroundings, configs: SourceConfigs
) -> Iterator[ConfigError]:
    for name, section in shape.sources.items():
        kind = section.get("kind") if isinstance(section, dict) else None
        if not isinstance(kind, str):
            continue  # already an error of its own
        if kind not in configs:
            known = sorted(configs)
            expected = f"one of {', '.join(known)}"
            yield root.error(
                ("sources", name, "kind"),
                f"{kind[:60]!r} is not known",
                expected=expected,
                suggestion=nearest(kind, known),
            )
            continue
        try:
            surroundings.convert(root.at("sources", name).without("kind"), configs[kind])
        except ConfigError as error:
            yield from error.all


def _policy_errors(shape: File, root: Located, surroundings: Surroundings) -> Iterator[ConfigError]:
    for name in shape.policies:
        try:
            surroundings.convert(root.at("policies", name), PolicySection)
        except ConfigError as error:
            yield from error.all


def _missing_files(shape: File, root: Located, surroundings: Surroundings) -> Iterator[ConfigError]:
    named: list[tuple[tuple[str | int, ...], str]] = [
        (("policies", name, "files", i), text)
        for name, policy in shape.policies.items()
        for i, text in enumerate(policy.files)
    ]
    named += [
        (("policies", name, "tests", i), text)
        for name, policy in shape.policies.items()
        for i, text in enumerate(policy.tests)
    ]
    named += [
        (("policies", name, key), text)
        for name, policy in shape.policies.items()
        for key in ("bundle", "ca_file", "certificate_file", "key_file")
        if (text := getattr(policy, key)) is not None
    ]
    named += [
        (("policies", name, "verification", "key_file"), policy.verification.key_file)
        for name, policy in shape.policies.items()
        if policy.verification is not None
    ]
    named += [
        (("fleets", name, "signing", "key_file"), fleet.signing.key_file)
        for name, fleet in shape.fleets.items()
        if fleet.signing is not None
    ]
    if (tls := shape.listen.http.tls) is not None:
        named += [
            (("listen", "http", "tls", key), text)
            for key in ("certificate", "key", "client_ca")
            if (text := getattr(tls, key)) is not None
        ]
    for path, text in named:
        place = surroundings.path(text)
        if not place.is_file():
            there = [one.name for one in place.parent.iterdir()] if place.parent.is_dir() else []
            near = nearest(place.name, there)
            suggestion = str(Path(text).with_name(near)) if near else None
            yield root.error(
                path, f"there is no file {text!r}", expected=f"a file, looked for as {place}", suggestion=suggestion
            )


def _settings(shape: File, root: Located, file: Path, surroundings: Surroundings) -> Settings:
    return Settings(
        file=file,
        surroundings=surroundings,
        root=root,
        sources={
            SourceName(name): SourceSettings(
                name=SourceName(name), kind=section["kind"], section=root.at("sources", name).without("kind")
            )
            for name, section in shape.sources.items()
        },
        resources={
            ResourceId(name): resource_of(name, merged(section, root.at("resources", name).data, shape.defaults))
            for name, section in shape.resources.items()
        },
        policies={name: policy_of(name, section, surroundings) for name, section in shape.policies.items()},
        callers={CallerId(name): _caller(name, shape) for name in shape.callers},
        fleets={name: _fleet(name, shape, root, surroundings) for name in shape.fleets},
        links=tuple(
            Link(subject=SubjectId(subject), source=SourceName(source), person=PersonId(person))
            for subject, by_source in shape.links.items()
            for source, person in by_source.items()
        ),
        dependents={SourceName(name): turned(services) for name, services in shape.dependencies.items()},
        groups=_groups_by_subject(shape.groups),
        storage=StorageSettings(
            path=surroundings.path(shape.storage.path),
            key_file=surroundings.path(shape.storage.key_file),
            checkpoint=surroundings.path(shape.storage.checkpoint) if shape.storage.checkpoint else None,
            section=shape.storage,
        ),
        http=_http(shape.listen.http, root, surroundings),
        gateways=tuple(root.at("listen", "gateways", i) for i in range(len(shape.listen.gateways))),
        sync=shape.sync,
        confirmations=shape.confirmations,
        shadows={
            ResourceId(name): shadow
            for name, section in shape.resources.items()
            if (shadow := merged(section, root.at("resources", name).data, shape.defaults).shadow) is not None
        },
        zone=ZoneInfo(shape.time_zone),
    )


def resource_of(name: str, section: ResourceSection) -> Resource:
    """The resource that a section describes; `defaults` are in it already."""
    return Resource(
        id=ResourceId(name),
        kind=section.kind,
        privileges=tuple(PrivilegeName(one) for one in section.privileges),
        scopes=_scopes(section.opened_by),
        second_scopes=() if section.second_source is None else _scopes(section.second_source.pagers),
        agreement=Agreement.WHEN_STALE if section.second_source is None else section.second_source.agreement,
        needs=section.needs,
        max_level=section.max_level,
        level_follows_escalation=section.level_follows_escalation,
        incident_roles=frozenset(section.incident_roles),
        ttl_max=section.ttl_max,
        age_max=section.age_max,
        stale_mode=section.stale_mode,
        forecast_max=section.forecast_max,
        opens=_opens(section),
        blast_opens=frozenset(PrivilegeName(one) for one in section.blast_radius.opens)
        if section.blast_radius
        else frozenset(),
        blast_depth=section.blast_radius.depth if section.blast_radius else 1,
        incident_grace=section.incident_grace,
        unvetted=frozenset(PrivilegeName(one) for one in section.unvetted),
        eligible_groups=frozenset(section.eligible_groups),
        labels=dict(section.labels),
        policy=section.policy,
        target=dict(section.target),
    )


def _scopes(pagers: Iterable[Pager]) -> tuple[Scope, ...]:
    return tuple(Scope(SourceName(pager.source), *named) for pager in pagers if (named := pager_kind(pager)))


def _opens(section: ResourceSection) -> dict[Provenance, frozenset[PrivilegeName]]:
    """What each grade opens, with the built-in answer for grades that the file does not name."""
    everything = frozenset(PrivilegeName(one) for one in section.privileges)
    unvetted = frozenset(PrivilegeName(one) for one in section.unvetted)
    opens: dict[Provenance, frozenset[PrivilegeName]] = {}
    for grade in Provenance:
        named = section.opens.get(grade)
        if named is None:
            named = "all" if grade in _OPEN_ALL else "unvetted" if grade in _OPEN_UNVETTED else ()
        if isinstance(named, str):
            opens[grade] = everything if named == "all" else unvetted
        else:
            opens[grade] = frozenset(PrivilegeName(one) for one in named)
    return opens


def policy_of(name: str, section: PolicySection, surroundings: Surroundings) -> PolicySettings:
    """The policy that a section describes, with absolute paths."""
    return PolicySettings(
        name=name,
        files=tuple(surroundings.path(text) for text in section.files),
        dialect=section.dialect,
        entrypoint=section.entrypoint or ENTRYPOINTS[section.dialect],
        parameters=dict(section.parameters),
        tests=tuple(surroundings.path(text) for text in section.tests),
        bundle=surroundings.path(section.bundle) if section.bundle else None,
        verification=_verification(section, surroundings),
        remote=_remote(section, surroundings) if section.engine == "opa" else None,
        is_strict=section.strict_errors,
    )


def _verification(section: PolicySection, surroundings: Surroundings) -> VerificationSettings | None:
    given = section.verification
    if given is None:
        return None
    return VerificationSettings(
        key_file=surroundings.path(given.key_file),
        algorithm=given.algorithm,
        key_id=given.keyid or "",
        scope=given.scope,
        exclude=given.exclude_files,
    )


def _remote(section: PolicySection, surroundings: Surroundings) -> RemoteOpa:
    def path(text: str | None) -> Path | None:
        return None if text is None else surroundings.path(text)

    return RemoteOpa(
        url=section.url or "",
        path=section.path,
        ca_file=path(section.ca_file),
        certificate_file=path(section.certificate_file),
        key_file=path(section.key_file),
        timeout=section.timeout,
    )


def _caller(name: str, shape: File) -> CallerSettings:
    section = shape.callers[name]
    resources = None if isinstance(section.resources, str) else frozenset(ResourceId(one) for one in section.resources)
    return CallerSettings(
        caller=Caller(id=CallerId(name), resources=resources, is_trusted=section.trusted, is_admin=section.admin),
        token_hashes=section.token_hashes,
    )


def _fleet(name: str, shape: File, root: Located, surroundings: Surroundings) -> FleetSettings:
    section = shape.fleets[name]
    names = fleet_resources(shape, section)
    merged_ones = [merged(shape.resources[one], root.at("resources", one).data, shape.defaults) for one in names]
    return FleetSettings(
        name=name,
        section=section,
        resources=None if isinstance(section.resources, str) else frozenset(ResourceId(one) for one in names),
        policy=merged_ones[0].policy,
        key_file=surroundings.path(section.signing.key_file) if section.signing else None,
    )


def load_groups(path: Path) -> Mapping[SubjectId, frozenset[str]]:
    """Read groups from a file of their own, name -> subjects, and turn them round. Raises `ConfigError`."""
    return _groups_by_subject(load(_bytes_of(path), str(path)).convert(dict[str, tuple[str, ...]]))


def _groups_by_subject(groups: Mapping[str, tuple[str, ...]]) -> dict[SubjectId, frozenset[str]]:
    turned: dict[SubjectId, set[str]] = {}
    for group, subjects in groups.items():
        for subject in subjects:
            turned.setdefault(SubjectId(subject), set()).add(group)
    return {subject: frozenset(names) for subject, names in turned.items()}


def _http(section: HttpSection, root: Located, surroundings: Surroundings) -> HttpSettings:
    tls = section.tls
    return HttpSettings(
        section=section,
        unix_socket=surroundings.path(section.unix_socket) if section.unix_socket else None,
        certificate=surroundings.path(tls.certificate) if tls else None,
        key=surroundings.path(tls.key) if tls else None,
        client_ca=surroundings.path(tls.client_ca) if tls and tls.client_ca else None,
        limits=root.at("listen", "http", "limits") if section.limits else None,
    )
