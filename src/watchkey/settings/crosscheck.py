"""What one section says about another: names that must exist, bounds that hang together; it collects every error."""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec

from watchkey.model.access import Needs, StaleMode
from watchkey.model.oncall import ScopeKind
from watchkey.rules.grace import GRACE_MAX
from watchkey.rules.identity import canonical_name
from watchkey.rules.located import ConfigError, Located, format_duration, nearest
from watchkey.settings.shape import (
    File,
    FleetSection,
    HttpSection,
    Pager,
    PolicySection,
    ResourceDefaults,
    ResourceSection,
)

SHIPPED_POLICIES: Final = ("default",)
"""Policies that the package brings along."""

_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_REMOTE_KEYS: Final = frozenset({"url", "path", "token", "ca_file", "certificate_file", "key_file", "timeout"})
_LOCAL_KEYS: Final = frozenset({"files", "bundle", "verification", "dialect", "parameters", "entrypoint", "tests"})
_DATA_PATH: Final = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_SECRET_WORDS: Final = ("token", "secret", "password", "passwd", "api_key", "apikey", "credential")
_FIELDS: Final = tuple(one.name for one in msgspec.structs.fields(ResourceDefaults))

Step = str | int


def merged(resource: ResourceSection, own: Iterable[str], defaults: ResourceDefaults) -> ResourceSection:
    """The resource with `defaults` for every line that it has not written itself (`own` are the keys it has)."""
    written = set(own)
    return msgspec.structs.replace(
        resource, **{name: getattr(defaults, name) for name in _FIELDS if name not in written}
    )


def pager_kind(pager: Pager) -> tuple[ScopeKind, str] | None:
    """Which of the three it names, and the id; None unless exactly one."""
    named = [(kind, value) for kind in ScopeKind if (value := getattr(pager, kind.value)) is not None]
    return named[0] if len(named) == 1 else None


def fleet_resources(file: File, fleet: FleetSection) -> list[str]:
    """The resources that a fleet decides about, as far as there are such."""
    return [name for name in file.resources if isinstance(fleet.resources, str) or name in fleet.resources]


class CrossCheck:
    """Goes through a file that is right in its types and yields everything that is wrong between its parts."""

    def __init__(self, file: File, root: Located) -> None:
        self.file = file
        self.root = root

    def errors(self) -> Iterator[ConfigError]:
        """Everything that is wrong, in no particular order."""
        yield from self._sources()
        for name, section in self.file.resources.items():
            yield from self._resource(name, section)
        yield from self._policies()
        yield from self._callers()
        yield from self._fleets()
        yield from self._links()
        for source in self.file.dependencies:
            yield from self._unknown(("dependencies", source), source, self.file.sources, "source")
        yield from self._listen(self.file.listen.http)
        yield from self._sync()
        yield from self._time_zone()

    def _unknown(self, path: tuple[Step, ...], name: str, known: Iterable[str], what: str) -> Iterator[ConfigError]:
        names = sorted(known)
        if name not in names:
            some = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
            expected = f"one of {some}" if names else f"the name of a {what}, and there is none yet"
            yield self.root.error(
                path, f"there is no {what} {name!r}", expected=expected, suggestion=nearest(name, names)
            )

    def _within(
        self, path: tuple[Step, ...], length: timedelta, least: timedelta, most: timedelta
    ) -> Iterator[ConfigError]:
        if not least <= length <= most:
            expected = f"from {format_duration(least)} to {format_duration(most)}"
            yield self.root.error(path, f"{format_duration(length)} is out of range", expected=expected)

    def _sources(self) -> Iterator[ConfigError]:
        for name, section in self.file.sources.items():
            path = ("sources", name)
            if not isinstance(section, dict):
                yield self.root.error(path, "a source is a mapping", expected="kind: …, and the keys of that kind")
            elif not isinstance(section.get("kind"), str):
                yield self.root.error(
                    path, "kind is missing", expected="kind: the name of an adapter, e.g. roster_file"
                )

    # -- resources -----------------------------------------------------------------------------------------------

    def _resource(self, name: str, section: ResourceSection) -> Iterator[ConfigError]:
        own = self.root.at("resources", name).data
        resource = merged(section, own, self.file.defaults)

        def at(key: str) -> tuple[Step, ...]:
            """Where the line stands that holds for this resource: its own, the one in `defaults`, or the resource."""
            if key in own:
                return ("resources", name, key)
            return ("defaults", key) if key in self._written_defaults() else ("resources", name)

        yield from self._opened_by(name, resource)
        yield from self._privileges(resource, at)
        policies = {*self.file.policies, *SHIPPED_POLICIES}
        yield from self._unknown(at("policy"), resource.policy, policies, "policy")
        if resource.shadow is not None:
            yield from self._unknown(at("shadow"), resource.shadow, policies, "policy")
            if resource.shadow == resource.policy:
                yield self.root.error(at("shadow"), "a policy cannot stand beside itself", expected="another policy")
        yield from self._within(at("ttl_max"), resource.ttl_max, _SECOND, _DAY)
        # Younger than the time between two reads, every roster would be stale most of the time.
        yield from self._within(at("age_max"), resource.age_max, max(_SECOND, self.file.sync.poll), 30 * _DAY)
        yield from self._within(at("incident_grace"), resource.incident_grace, timedelta(0), GRACE_MAX)
        yield from self._blast_radius(resource, at)
        if resource.level_follows_escalation and any(one.schedule is not None for one in resource.opened_by):
            yield self.root.error(
                at("level_follows_escalation"),
                "a schedule has neither levels nor incidents",
                expected="`opened_by` with services or escalation policies only",
            )
        if resource.stale_mode is StaleMode.FORECAST:
            yield from self._within(at("forecast_max"), resource.forecast_max, _SECOND, self.file.sync.window)
        if resource.stale_mode is StaleMode.SECOND_SOURCE and resource.second_source is None:
            yield self.root.error(
                at("stale_mode"), "there is no second source", expected="`second_source` with pagers of another source"
            )
        if resource.needs in {Needs.RESPONDING, Needs.EITHER} and not resource.incident_roles:
            yield self.root.error(
                at("incident_roles"), "nobody can be responding", expected="e.g. [acknowledged, joined]"
            )

    def _blast_radius(self, resource: ResourceSection, at: Any) -> Iterator[ConfigError]:
        radius = resource.blast_radius
        if radius is None:
            return
        for i, privilege in enumerate(radius.opens):
            path = (*at("blast_radius"), "opens", i)
            yield from self._unknown(path, privilege, resource.privileges, "privilege")
        if resource.needs not in {Needs.RESPONDING, Needs.EITHER}:
            yield self.root.error(
                at("blast_radius"), "responders are not let in at all", expected="needs: responding, or either"
            )
        if not any(one.service for one in resource.opened_by):
            yield self.root.error(
                at("blast_radius"), "no service opens it, and only services depend on each other",
                expected="`opened_by` with a service",
            )  # fmt: skip

    def _written_defaults(self) -> Mapping[str, Any]:
        try:
            written = self.root.at("defaults").data
        except KeyError:
            return {}
        return written if isinstance(written, dict) else {}

    def _opened_by(self, name: str, resource: ResourceSection) -> Iterator[ConfigError]:
        path: tuple[Step, ...] = ("resources", name)
        if not resource.opened_by and resource.needs is not Needs.NOTHING:
            yield self.root.error(
                path,
                "nobody's pager opens it",
                expected="opened_by: [{source: …, service: …}], or `needs: nothing` when no pager is to be asked",
            )
        yield from self._named_pagers((*path, "opened_by"), resource.opened_by)
        if resource.second_source is not None:
            here = (*path, "second_source", "pagers")
            yield from self._named_pagers(here, resource.second_source.pagers)
            first = {pager.source for pager in resource.opened_by}
            for i, pager in enumerate(resource.second_source.pagers):
                if pager.source in first:
                    yield self.root.error(
                        (*here, i, "source"), f"{pager.source!r} opens it already", expected="another source"
                    )

    def _named_pagers(self, path: tuple[Step, ...], pagers: Iterable[Pager]) -> Iterator[ConfigError]:
        for i, pager in enumerate(pagers):
            here = (*path, i)
            yield from self._unknown((*here, "source"), pager.source, self.file.sources, "source")
            if pager_kind(pager) is None:
                yield self.root.error(
                    here, "it is not clear whose pager", expected="exactly one of service, escalation_policy, schedule"
                )

    def _privileges(self, resource: ResourceSection, at: Any) -> Iterator[ConfigError]:
        known = resource.privileges
        if not known:
            yield self.root.error(
                at("privileges"), "there is nothing one may do", expected="privileges: e.g. [read, write]"
            )
            return
        if len(set(known)) < len(known):
            yield self.root.error(at("privileges"), "a privilege is named twice")
        for i, privilege in enumerate(resource.unvetted):
            yield from self._unknown((*at("unvetted"), i), privilege, known, "privilege")
        for grade, opened in resource.opens.items():
            if not isinstance(opened, str):
                for i, privilege in enumerate(opened):
                    yield from self._unknown((*at("opens"), grade.value, i), privilege, known, "privilege")

    # -- the rest ------------------------------------------------------------------------------------------------

    def _policies(self) -> Iterator[ConfigError]:
        for name, policy in self.file.policies.items():
            path = ("policies", name)
            yield from self._engine(path, policy)
            for key in policy.parameters:
                if any(word in key.casefold() for word in _SECRET_WORDS):
                    yield self.root.error(
                        (*path, "parameters", key),
                        "this looks like a secret, and policies are given none: their parameters stand in explanations "
                        "and in the audit log",
                        expected="no such parameter; what a policy asks a provider for is answered from the roster, "
                        "without a token",
                        at_key=True,
                    )
            if policy.entrypoint is not None and not policy.entrypoint.startswith("data."):
                yield self.root.error(
                    (*path, "entrypoint"), "this is no path into data", expected="e.g. data.watchkey.decision"
                )

    def _engine(self, path: tuple[Step, ...], policy: PolicySection) -> Iterator[ConfigError]:
        """What belongs to one engine has no meaning beside the other, and would only look as if it had."""
        is_remote = policy.engine == "opa"
        others = _LOCAL_KEYS if is_remote else _REMOTE_KEYS
        for key in sorted(others & set(self.root.at(*path).data)):
            why = (
                "that OPA has the policy and all that belongs to it" if is_remote else "this is about an OPA elsewhere"
            )
            yield self.root.error(
                (*path, key), why, expected=f"no {key}, or {'no ' if is_remote else ''}engine: opa", at_key=True
            )
        if not is_remote:
            yield from self._here(path, policy)
            return
        if policy.url is None:
            yield self.root.error(path, "it is not said where the OPA is", expected="url: https://…")
        if not _DATA_PATH.fullmatch(policy.path):
            yield self.root.error(
                (*path, "path"), "this is no path below /v1/data/", expected="e.g. watchkey/decision, without `data`"
            )
        if (policy.certificate_file is None) != (policy.key_file is None):
            yield self.root.error(path, "a certificate and its key belong together", expected="both, or neither")
        yield from self._within((*path, "timeout"), policy.timeout, timedelta(milliseconds=10), 30 * _SECOND)

    def _here(self, path: tuple[Step, ...], policy: PolicySection) -> Iterator[ConfigError]:
        if not policy.files and policy.bundle is None:
            expected = "files: [….rego], or bundle: ….tar.gz, or engine: opa with its url"
            yield self.root.error(path, "there is no policy", expected=expected)
        if policy.files and policy.bundle is not None:
            yield self.root.error((*path, "files"), "there are two policies", expected="files or bundle", at_key=True)
        if policy.verification is None:
            return
        if policy.bundle is None:
            yield self.root.error(
                (*path, "verification"), "only a bundle is signed", expected="bundle: ….tar.gz", at_key=True
            )
        for i, pattern in enumerate(policy.verification.exclude_files):
            if any(char in pattern for char in "[]\\{}"):
                yield self.root.error(
                    (*path, "verification", "exclude_files", i), "this is no pattern here", expected="`*` and `?` only"
                )

    def _callers(self) -> Iterator[ConfigError]:
        owners: dict[str, str] = {}
        for name, caller in self.file.callers.items():
            if not isinstance(caller.resources, str):
                for i, resource in enumerate(caller.resources):
                    path = ("callers", name, "resources", i)
                    yield from self._unknown(path, resource, self.file.resources, "resource")
            for i, token_hash in enumerate(caller.token_hashes):
                owner = owners.setdefault(token_hash, name)
                if owner != name:
                    path = ("callers", name, "token_hashes", i)
                    yield self.root.error(
                        path, f"this is the token of {owner!r} already", expected="a token of its own"
                    )

    def _fleets(self) -> Iterator[ConfigError]:
        owners: dict[str, str] = {}
        for name, fleet in self.file.fleets.items():
            for i, caller in enumerate(fleet.callers):
                path = ("fleets", name, "callers", i)
                yield from self._unknown(path, caller, self.file.callers, "caller")
                owner = owners.setdefault(caller, name)
                if owner != name:
                    yield self.root.error(
                        path, f"{caller!r} belongs to {owner!r} already", expected="a caller of its own"
                    )
            if not isinstance(fleet.resources, str):
                for i, resource in enumerate(fleet.resources):
                    yield from self._unknown(
                        ("fleets", name, "resources", i), resource, self.file.resources, "resource"
                    )
            yield from self._fleet_resources(name, fleet)

    def _fleet_resources(self, name: str, fleet: FleetSection) -> Iterator[ConfigError]:
        """One bundle has one policy, and its roster must not be stale before it can be renewed."""
        path: tuple[Step, ...] = ("fleets", name)
        found = [
            merged(self.file.resources[one], self.root.at("resources", one).data, self.file.defaults)
            for one in fleet_resources(self.file, fleet)
        ]
        if not found:
            yield self.root.error(path, "there is nothing it could decide about", expected="at least one resource")
            return
        policies = sorted({one.policy for one in found})
        if len(policies) > 1:
            expected = "resources with one policy in common; a fleet for each policy"
            yield self.root.error(path, f"its resources have the policies {', '.join(policies)}", expected=expected)
        for policy in policies:
            section = self.file.policies.get(policy)
            if section is not None and section.dialect == "cyral":
                why, expected = "makes requests that only Watchkey itself answers", "a policy in dialect v1 or v0"
                yield self.root.error(path, f"{policy!r} {why}", expected=expected)
            if section is not None and section.url is not None:
                why, expected = "is in an OPA elsewhere, and a bundle is made of files", "a policy with `files`"
                yield self.root.error(path, f"{policy!r} {why}", expected=expected)
        most = min(one.age_max for one in found) / 2
        yield from self._within((*path, "renew"), fleet.renew, _SECOND, max(most, _SECOND))

    def _links(self) -> Iterator[ConfigError]:
        persons: dict[tuple[str, str], str] = {}
        forms: dict[str, str] = {}
        for subject, by_source in self.file.links.items():
            like = forms.setdefault(canonical_name(subject), subject)
            if like != subject:
                yield self.root.error(
                    ("links", subject),
                    f"{subject!r} looks like {like!r} in this file",
                    expected="one spelling",
                    at_key=True,
                )
            for source, person in by_source.items():
                path = ("links", subject, source)
                yield from self._unknown(path, source, self.file.sources, "source")
                owner = persons.setdefault((source, person), subject)
                if owner != subject:
                    yield self.root.error(
                        path, f"{person!r} of {source!r} is {owner!r} already", expected="one subject for each person"
                    )

    def _listen(self, http: HttpSection) -> Iterator[ConfigError]:
        if http.tls is None and http.unix_socket is None and not http.insecure and not _is_loopback(http.host):
            yield self.root.error(
                ("listen", "http", "host"),
                "tokens would cross the network in plain text",
                expected="tls: {certificate: …, key: …}, a loopback address, or `insecure: true` behind a TLS proxy",
            )

    def _sync(self) -> Iterator[ConfigError]:
        sync = self.file.sync
        yield from self._within(("sync", "poll"), sync.poll, _SECOND, timedelta(hours=1))
        yield from self._within(("sync", "window"), sync.window, timedelta(hours=1), 90 * _DAY)
        lasts_max = self.file.confirmations.lasts_max
        yield from self._within(("confirmations", "lasts_max"), lasts_max, timedelta(minutes=1), 7 * _DAY)
        interval = self.file.storage.checkpoint_interval
        yield from self._within(
            ("storage", "checkpoint_interval"), interval, timedelta(milliseconds=100), timedelta(hours=1)
        )

    def _time_zone(self) -> Iterator[ConfigError]:
        name = self.file.time_zone
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield self.root.error(
                ("time_zone",),
                f"there is no time zone {name[:60]!r}",
                expected="a name of the IANA list, e.g. Europe/Berlin",
                suggestion=nearest(name, available_timezones()),
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
