"""What the configuration says, as frozen values; made by `watchkey.settings.load`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from pathlib import Path
from typing import Any, TypeVar

from watchkey.model.access import Caller, Link, Resource
from watchkey.model.ids import CallerId, ResourceId, SourceName, SubjectId
from watchkey.model.secret import Secret
from watchkey.rules.dependencies import Dependents
from watchkey.rules.located import Located
from watchkey.settings.sections import Surroundings
from watchkey.settings.shape import (
    ConfirmationsSection,
    FleetSection,
    HttpSection,
    PolicySection,
    StorageSection,
    SyncSection,
)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """One source: which adapter, and the section that only that adapter understands."""

    name: SourceName
    kind: str
    section: Located
    """Without `kind`; `Settings.convert(section, adapter.Config)` reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOpa:
    """Where an OPA is asked; absolute paths."""

    url: str
    path: str
    ca_file: Path | None
    certificate_file: Path | None
    key_file: Path | None
    timeout: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationSettings:
    """What the signature of a bundle is held against; absolute path."""

    key_file: Path
    algorithm: str
    key_id: str = ""
    scope: str = ""
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """One policy of the file: files or a bundle that are here, or an OPA that is elsewhere."""

    name: str
    files: tuple[Path, ...]
    dialect: str
    """`v1`, `v0` or `cyral`."""
    entrypoint: str
    parameters: Mapping[str, Any]
    tests: tuple[Path, ...] = ()
    bundle: Path | None = None
    """When given, `files` is empty."""
    verification: VerificationSettings | None = None
    remote: RemoteOpa | None = None
    """When given, all that is about files is empty."""
    is_strict: bool = True
    """Whether an error of a built-in fails the evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerSettings:
    """A program that may ask, and what proves it: `sha256:<hex>` of its tokens."""

    caller: Caller
    token_hashes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """A fleet of OPAs; absolute paths."""

    name: str
    section: FleetSection
    resources: frozenset[ResourceId] | None
    """None: all of them."""
    policy: str
    """The one policy of its resources."""
    key_file: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """Where the audit log lives; absolute paths."""

    path: Path
    key_file: Path
    """The signing key; whoever opens the log reads it, since most commands have no need of it."""
    checkpoint: Path | None
    section: StorageSection


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """The HTTP listener; absolute paths."""

    section: HttpSection
    unix_socket: Path | None
    certificate: Path | None
    key: Path | None
    client_ca: Path | None
    limits: Located | None
    """The listener's own section, None when it is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that `watchkey.yaml` says, checked for all that can be known without asking anybody."""

    file: Path
    surroundings: Surroundings
    root: Located = field(repr=False)
    """The file with the place of everything in it, for errors that are found later."""
    sources: Mapping[SourceName, SourceSettings]
    resources: Mapping[ResourceId, Resource]
    policies: Mapping[str, PolicySettings]
    """Policies of the file; `default` is among them only when the file replaces the one that ships."""
    callers: Mapping[CallerId, CallerSettings]
    fleets: Mapping[str, FleetSettings]
    links: tuple[Link, ...]
    dependents: Dependents
    """Turned round: source -> service -> the services that depend on it."""
    groups: Mapping[SubjectId, frozenset[str]]
    """Turned round: the groups of each subject."""
    storage: StorageSettings
    http: HttpSettings
    gateways: tuple[Located, ...]
    sync: SyncSection
    confirmations: ConfirmationsSection
    shadows: Mapping[ResourceId, str]
    """The policy that is asked beside a resource's own, without effect."""
    zone: tzinfo
    """For texts to people; nothing is decided by it."""

    @property
    def directory(self) -> Path:
        """The folder of the file, where relative paths start."""
        return self.surroundings.directory

    def convert(self, section: Located, wanted: type[_T]) -> _T:
        """Turn an adapter's section into its `Config`. Raises `ConfigError`; see `Surroundings.convert`."""
        return self.surroundings.convert(section, wanted)

    def opa_token(self, policy: str) -> Secret | None:
        """What proves us to the OPA of a policy of the file, read now. Raises `ConfigError` when it cannot be read."""
        return self.convert(self.root.at("policies", policy), PolicySection).token

    def groups_of(self, subject: SubjectId) -> frozenset[str]:
        """The groups that this file puts the subject in."""
        return self.groups.get(subject, frozenset())

    def target(self, resource: ResourceId) -> Located | None:
        """The resource's `target` section with its places, None when it has none."""
        try:
            return self.root.at("resources", resource, "target")
        except KeyError:
            return None
