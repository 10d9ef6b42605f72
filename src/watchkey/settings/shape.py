"""The configuration file as types: what may stand where, what it means, and what holds when it is left out.

The JSON Schema for editors and `docs/reference/configuration.md` are made from this page; so is every error message
about a wrong type. Nothing here reads anything.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from watchkey.model.access import Agreement, Needs, StaleMode
from watchkey.model.oncall import Provenance
from watchkey.model.secret import Secret

_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"
"""Names of resources, privileges, sources, policies and callers: they stand in URLs, metrics and file names."""
_NAME_WORDS: Final = {
    "expected": "a name of letters, digits, `.`, `_` and `-`, at most 64, that begins with a letter or digit"
}
_HASHED: Final = r"^sha256:[0-9a-f]{64}\Z"
_HASHED_WORDS: Final = {
    "expected": "`sha256:` and 64 hexadecimal digits: the hash of a token, as `watchkey init` writes it; a token "
    "itself never stands in this file, because who can read the file could then be that caller"
}

Name = Annotated[str, Meta(pattern=_NAME, extra=_NAME_WORDS)]
TokenHash = Annotated[str, Meta(pattern=_HASHED, extra=_HASHED_WORDS)]
Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Level = Annotated[int, Meta(ge=1, le=100)]
Share = Annotated[float, Meta(gt=0, le=1)]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping of the file in which every key is known."""


class Pager(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose pager: a source, and in it one service, escalation policy or schedule by its id."""

    source: Annotated[Name, Meta(description="A name from `sources`.")]
    service: Annotated[Text | None, Meta(description="The id of a service: whoever its escalation policy pages.")] = (
        None
    )
    escalation_policy: Annotated[Text | None, Meta(description="The id of an escalation policy.")] = None
    schedule: Annotated[
        Text | None, Meta(description="The id of a schedule; its levels are unknown to some sources.")
    ] = None


class BlastRadius(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an incident of a service that depends on this one opens here."""

    opens: Annotated[
        tuple[Name, ...], Meta(min_length=1, description="Which privileges it opens to its responders, e.g. `[read]`.")
    ]
    depth: Annotated[
        int, Meta(ge=1, le=5, description="Over how many dependencies the incident may be away; 1 is the next one.")
    ] = 1


class ResourceDefaults(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What resources have in common. A resource's own line wins over `defaults`, and both over the built-in value."""

    labels: Annotated[
        Mapping[str, str],
        Meta(description="Free labels; policies see them as `input.resource.labels`."),
    ] = {}
    needs: Annotated[
        Needs,
        Meta(
            description="Which fact opens it: being on call, responding to an incident, either of them, or nothing "
            "(then only the policy decides)."
        ),
    ] = Needs.ON_CALL
    max_level: Annotated[
        Level,
        Meta(description="The highest escalation level that counts; 1 is paged first. A ceiling, never a floor."),
    ] = 1
    level_follows_escalation: Annotated[
        bool,
        Meta(
            description="A level above 1 counts only while an open incident of the same pager has really escalated to "
            "it. Where the source cannot tell how far, it does not count."
        ),
    ] = False
    incident_roles: Annotated[
        tuple[Text, ...],
        Meta(
            description="How one must be involved in an open incident to count as responding: `acknowledged`, "
            "`joined`, `assigned`, or a role such as `incident_commander`."
        ),
    ] = ("acknowledged", "joined")
    privileges: Annotated[
        tuple[Name, ...],
        Meta(description="What one may do there, e.g. `[read, write]`. A privilege that is not named does not exist."),
    ] = ()
    ttl_max: Annotated[
        timedelta,
        Meta(description="No allow lasts longer than this before it is decided anew; from 1 s to 24 h."),
    ] = timedelta(hours=1)
    age_max: Annotated[
        timedelta,
        Meta(description="A roster that was last read completely longer ago than this is stale for the resource."),
    ] = timedelta(minutes=10)
    stale_mode: Annotated[
        StaleMode,
        Meta(
            description="What a stale roster still gives: `strict` nothing; `incumbent` those on call at the last read "
            "stay to their published end; `forecast` also those whose shift was published by then, within "
            "`forecast_max`; `second_source` those on call in the last read as long as `second_source`, fresh, agrees."
        ),
    ] = StaleMode.INCUMBENT
    forecast_max: Annotated[
        timedelta,
        Meta(description="How far `forecast` looks ahead of the last complete read; not beyond `sync.window`."),
    ] = timedelta(hours=24)
    opens: Annotated[
        Mapping[Provenance, tuple[Name, ...] | Literal["all", "unvetted"]],
        Meta(
            description="Which privileges a shift opens, by who put the person on call: a list, `all`, or `unvetted` "
            "(what `unvetted` names). Left out: `rota`, `swap` and `other_override` open all, `self_override` and "
            "`unknown` what `unvetted` names, `permanent` nothing."
        ),
    ] = {}
    blast_radius: Annotated[
        BlastRadius | None,
        Meta(
            description="What responders to an incident of a service that depends on this one (`dependencies`, or as "
            "its source tells) may do here. Left out: nothing."
        ),
    ] = None
    incident_grace: Annotated[
        timedelta,
        Meta(
            description="How long somebody keeps a privilege held at the instant at which his part in an incident "
            "ended; at most 30 min, never after declining, each use in the audit log."
        ),
    ] = timedelta(0)
    unvetted: Annotated[
        tuple[Name, ...],
        Meta(
            description="Privileges low enough for a shift that somebody gave to himself, and for an incident that "
            "nobody but its opener has acknowledged."
        ),
    ] = ()
    eligible_groups: Annotated[
        tuple[Text, ...],
        Meta(description="When not empty, the subject must be in one of these groups besides being on call."),
    ] = ()
    policy: Annotated[Name, Meta(description="A name from `policies`; `default` ships with the program.")] = "default"
    shadow: Annotated[
        Name | None,
        Meta(
            description="A second policy that is asked beside the first. Where its decision would differ, the log, the "
            "metrics and the audit log say so; nothing else happens."
        ),
    ] = None


class SecondSource(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose pager must agree that somebody is on call. It opens nothing by itself, so a calendar feed will do."""

    pagers: Annotated[
        tuple[Pager, ...],
        Meta(min_length=1, description="Pagers of another source; any one that agrees suffices."),
    ]
    agreement: Annotated[
        Agreement,
        Meta(
            description="`when_stale`: asked when the first source is stale, with `stale_mode: second_source`. "
            "`always`: asked when the first is fresh too; nobody gets in whom not both have on duty."
        ),
    ] = Agreement.WHEN_STALE


class ResourceSection(ResourceDefaults, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is protected, and whose pager opens it."""

    kind: Annotated[Text, Meta(description="What it is, e.g. `postgres`, `http`; policies see it.")]
    opened_by: Annotated[
        tuple[Pager, ...],
        Meta(description="Whose pager opens it; any one suffices. Must not be empty unless it needs `nothing`."),
    ] = ()
    second_source: Annotated[SecondSource | None, Meta(description="Whose pager must agree; left out: nobody's.")] = (
        None
    )
    target: Annotated[
        Mapping[str, Any],
        Meta(description="How the enforcing side reaches it; its keys belong to that side, e.g. the gateway."),
    ] = {}


class VerificationSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a bundle's signature is held against. With it, a bundle without a genuine signature is refused."""

    key_file: Annotated[
        Text,
        Meta(description="PEM file of the public key or the certificate; for `HS…` a file with the shared secret."),
    ]
    algorithm: Annotated[
        Literal[
            "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
            "ES256", "ES384", "ES512", "EdDSA",
        ],
        Meta(description="The algorithm of that key; a signature by another one is refused."),
    ] = "RS256"  # fmt: skip
    keyid: Annotated[
        Text | None, Meta(description="The key's id, for people; the one key counts, whatever the signature calls it.")
    ] = None
    scope: Annotated[str, Meta(description="The scope that the signature must be for; empty: none.")] = ""
    exclude_files: Annotated[
        tuple[Text, ...],
        Meta(description="Files that need no signature, `*` and `?` as in a shell. Never a file that is read."),
    ] = ()


class PolicySection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy: Rego files and how to ask them; or, with `engine: opa`, an OPA elsewhere that is asked each time."""

    engine: Annotated[
        Literal["rego", "opa"],
        Meta(
            description="`rego` evaluates the policy in this process. `opa` asks an OPA over its Data API, which holds "
            "policy and data itself: then only the keys from `url` on count, and `url` is required."
        ),
    ] = "rego"
    files: Annotated[
        tuple[Text, ...],
        Meta(description="Rego files, and JSON or YAML data files, relative to the configuration file."),
    ] = ()
    bundle: Annotated[
        Text | None,
        Meta(
            description="An OPA bundle (`.tar.gz`) instead of `files`. Its manifest says the revision; one that is a "
            "whole number and smaller than the running one's is refused, and so are deltas and wasm."
        ),
    ] = None
    verification: Annotated[
        VerificationSection | None,
        Meta(description="Left out: the bundle must not be signed, because nobody could tell by whom."),
    ] = None
    dialect: Annotated[
        Literal["v1", "v0", "cyral"],
        Meta(
            description="`v1` is Rego as OPA 1.x reads it, `v0` as before; `cyral` is v0 with the package, input and "
            "result of Cyral's authorization policies."
        ),
    ] = "v1"
    parameters: Annotated[
        Mapping[str, Any],
        Meta(description="Values the policy finds under `data.policyparams`. Never a secret: `explain` shows them."),
    ] = {}
    entrypoint: Annotated[
        Text | None,
        Meta(
            description="What is asked, e.g. `data.watchkey.decision`; left out, the dialect's own: "
            "`data.watchkey.decision`, or `data.cyral.authz_policy.decision` for `cyral`."
        ),
    ] = None
    tests: Annotated[
        tuple[Text, ...],
        Meta(
            description="Rego tests and YAML cases of the policy, relative to the configuration file. `watchkey policy "
            "test` runs them, and a running service takes a changed policy over only when all of them pass."
        ),
    ] = ()
    url: Annotated[
        Text | None,
        Meta(description="Where the OPA is: https, or http on loopback. Redirects are not followed."),
    ] = None
    path: Annotated[
        Text,
        Meta(description="What that OPA is asked: the path below `/v1/data/`, without the `data` of Rego."),
    ] = "watchkey/decision"
    token: Annotated[
        Secret | None, Meta(description="Sent as bearer token, for an OPA with `--authentication=token`.")
    ] = None
    ca_file: Annotated[
        Text | None, Meta(description="PEM file of the authorities to trust instead of the public ones.")
    ] = None
    certificate_file: Annotated[
        Text | None,
        Meta(description="PEM file of our own certificate with its chain, for an OPA with `--authentication=tls`."),
    ] = None
    key_file: Annotated[Text | None, Meta(description="PEM file of that certificate's key, without passphrase.")] = None
    timeout: Annotated[
        timedelta,
        Meta(description="What one answer may take, a second try included; from 10 ms to 30 s. Then it is a denial."),
    ] = timedelta(seconds=1)
    strict_errors: Annotated[
        bool,
        Meta(
            description="For both engines: an error of a built-in fails the evaluation, which is a denial. With "
            "`false` it is undefined, as OPA has it by default, and `not` of it is true."
        ),
    ] = True


class CallerSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A program that may ask."""

    token_hashes: Annotated[
        tuple[TokenHash, ...],
        Meta(
            min_length=1,
            description="`sha256:` and the hash of a token in hexadecimal. Two of them while a token is being "
            "replaced. A fast hash suffices because the token is 256 random bits: there is nothing to guess.",
        ),
    ]
    resources: Annotated[
        tuple[Name, ...] | Literal["all"],
        Meta(description="Which resources it may ask about, or `all`."),
    ] = ()
    trusted: Annotated[
        bool,
        Meta(description="A trusted caller learns why somebody is denied; any other learns no more than *no*."),
    ] = False
    admin: Annotated[
        bool,
        Meta(
            description="May let in a read of a source that the guard against shrinking holds back, with "
            "`watchkey source accept`. Being trusted is not enough for that, nor is this for being trusted."
        ),
    ] = False


class SigningSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The key that signs a fleet's bundles; each OPA is configured with its public half."""

    key_file: Annotated[
        Text,
        Meta(
            description="A private key in PEM, made by `watchkey bundle key`; for `HS…` a file with the shared secret."
        ),
    ]
    algorithm: Annotated[
        Literal[
            "ES256", "ES384", "ES512", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "HS256", "HS384",
            "HS512",
        ],
        Meta(description="The algorithm; it must fit the key."),
    ] = "ES256"  # fmt: skip
    key_id: Annotated[Name, Meta(description="The name of the key in OPA's `keys`.")] = "watchkey"
    scope: Annotated[str, Meta(description="What OPA's `signing.scope` demands, when it does.")] = ""


class FleetSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fleet of OPAs that pulls one bundle, `/bundles/NAME`, and reports what it decides."""

    callers: Annotated[
        tuple[Name, ...],
        Meta(
            min_length=1,
            description="Callers that pull this bundle and report for the fleet; a caller belongs to one fleet only. "
            "The bundle tells them the roster, so each is as trusted as one that is marked so.",
        ),
    ]
    resources: Annotated[
        tuple[Name, ...] | Literal["all"],
        Meta(description="Which resources the fleet decides about, or `all`; they must have one policy in common."),
    ] = "all"
    signing: Annotated[
        SigningSection | None, Meta(description="Left out: bundles are not signed, and only TLS protects them.")
    ] = None
    deltas: Annotated[
        bool | None,
        Meta(
            description="Whether an OPA that asks for them gets only what changed. Deltas cannot be signed: an OPA "
            "that wants signatures refuses them unless it has `allow_unsigned_delta_bundles`. Left out: only "
            "without `signing`."
        ),
    ] = None
    renew: Annotated[
        timedelta,
        Meta(
            description="How often the fleet learns that a roster has been read again without a change; from 1 s to "
            "half of the shortest `age_max` of its resources. To an OPA, a roster is up to so much older than it is."
        ),
    ] = timedelta(minutes=2)
    trust_groups: Annotated[
        bool,
        Meta(
            description="Whether groups in a question to an OPA count besides those of this file. Nobody proves them "
            "there: only for OPAs that nobody but trusted programs can ask."
        ),
    ] = False
    waiting_max: Annotated[
        int, Meta(ge=1, le=100_000, description="OPAs that may wait for a change at once; more are told to come back.")
    ] = 1000


class StorageSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the audit log lives."""

    path: Annotated[Text, Meta(description="The SQLite file of the audit log, relative to the configuration file.")] = (
        "watchkey.db"
    )
    key_file: Annotated[
        Text,
        Meta(
            description="The Ed25519 key that signs checkpoints, made by `watchkey init`; readable by its owner only."
        ),
    ] = "audit.key"
    checkpoint: Annotated[
        Text | None,
        Meta(
            description="The file that remembers the last signed checkpoint; left out, beside the database. On another "
            "disk, or left out of the database's backup, it shows that an old database was put back."
        ),
    ] = None
    checkpoint_interval: Annotated[
        timedelta,
        Meta(description="How long a new entry may wait for a signed checkpoint; from 100 ms to 1 h."),
    ] = timedelta(seconds=1)
    reserve_mib: Annotated[
        int,
        Meta(ge=0, le=1024 * 1024, description="Room, in MiB, kept free on the disk for the last important entries."),
    ] = 16


class TlsSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A certificate and its key, in PEM files."""

    certificate: Annotated[Text, Meta(description="The certificate with its chain.")]
    key: Annotated[Text, Meta(description="The private key.")]
    client_ca: Annotated[
        Text | None, Meta(description="When given, callers must show a certificate of this authority as well.")
    ] = None


class HttpSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP listener of `watchkey serve`."""

    host: Annotated[Text, Meta(description="The address to listen on. Anything but loopback needs `tls`.")] = (
        "127.0.0.1"
    )
    port: Annotated[Port, Meta(description="The port; 0 takes a free one.")] = 8181
    unix_socket: Annotated[Text | None, Meta(description="A socket file to listen on instead of host and port.")] = None
    tls: Annotated[TlsSection | None, Meta(description="Left out: plain HTTP.")] = None
    insecure: Annotated[
        bool,
        Meta(description="Allow plain HTTP on an address that is not loopback, e.g. behind a proxy that ends TLS."),
    ] = False
    limits: Annotated[
        Mapping[str, Any],
        Meta(description="Bounds of a request and of a caller; its keys belong to the HTTP listener."),
    ] = {}


class ListenSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ways in."""

    http: Annotated[HttpSection, Meta(description="The HTTP listener.")] = HttpSection()
    gateways: Annotated[
        tuple[Mapping[str, Any], ...],
        Meta(description="Listeners of the PostgreSQL gateway; see its own page for their keys."),
    ] = ()


class SyncSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How rosters are read."""

    poll: Annotated[timedelta, Meta(description="How often each source is read; from 1 s to 1 h.")] = timedelta(
        seconds=30
    )
    window: Annotated[
        timedelta,
        Meta(description="How far ahead shifts are read, so that planned handoffs need no call; from 1 h to 90 d."),
    ] = timedelta(hours=72)
    shrink_share_max: Annotated[
        Share,
        Meta(
            description="A read that takes more than this share of the holders away at once waits for a second one "
            "that agrees. The end of a shift is never delayed by it."
        ),
    ] = 0.3


class ConfirmationsSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second person's word for a shift that its holder may have given to himself; see `watchkey confirm`."""

    groups: Annotated[
        tuple[Text, ...],
        Meta(
            description="When not empty, who vouches must be in one of these groups. In any case he is linked and "
            "active in the source, and eligible for whatever the shift opens."
        ),
    ] = ()
    lasts_max: Annotated[
        timedelta,
        Meta(
            description="How long a word counts at most, from when it is given or from the start of the shift; from "
            "1 m to 7 d. It never outlives the shift, and lapses when the shift changes."
        ),
    ] = timedelta(hours=24)


class File(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`watchkey.yaml`. Relative paths start at the folder of this file; durations are `90s`, `15m`, `12h`, `3d`."""

    version: Annotated[Literal[1], Meta(description="The version of this format.")] = 1
    sources: Annotated[
        Mapping[Name, Any],
        Meta(description="Where rosters come from, by name: `kind` names the adapter, the other keys are its own."),
    ] = {}
    defaults: Annotated[ResourceDefaults, Meta(description="What resources have in common.")] = ResourceDefaults()
    resources: Annotated[Mapping[Name, ResourceSection], Meta(description="What is protected, by id.")] = {}
    policies: Annotated[Mapping[Name, PolicySection], Meta(description="Policies of your own, by name.")] = {}
    callers: Annotated[
        Mapping[Name, CallerSection],
        Meta(description="Programs that may ask, by id; `watchkey init` makes a first one with its token."),
    ] = {}
    fleets: Annotated[
        Mapping[Name, FleetSection], Meta(description="Fleets of OPAs that decide by the roster themselves, by name.")
    ] = {}
    links: Annotated[
        Mapping[Text, Mapping[Name, Text]],
        Meta(description="Which subject is which person: subject -> source -> the person's id there."),
    ] = {}
    dependencies: Annotated[
        Mapping[Name, Mapping[Text, tuple[Text, ...]]],
        Meta(
            description="Which service depends on which, besides what the sources tell: source -> service -> the "
            "services that it depends on. See `blast_radius`."
        ),
    ] = {}
    groups: Annotated[
        Mapping[Text, tuple[Text, ...]],
        Meta(description="Groups kept here rather than at an identity provider: name -> subjects."),
    ] = {}
    storage: Annotated[StorageSection, Meta(description="Where the audit log lives.")] = StorageSection()
    listen: Annotated[ListenSection, Meta(description="Ways in.")] = ListenSection()
    sync: Annotated[SyncSection, Meta(description="How rosters are read.")] = SyncSection()
    confirmations: Annotated[
        ConfirmationsSection, Meta(description="Who may vouch for somebody else's shift, and for how long.")
    ] = ConfirmationsSection()
    time_zone: Annotated[
        Text, Meta(description="For texts to people only, e.g. `Europe/Berlin`; nothing is decided by it.")
    ] = "UTC"
