"""What the configuration says of resources and people, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from watchkey.model.access import Resource
from watchkey.model.ids import ResourceId, SubjectId
from watchkey.rules.dependencies import Dependents
from watchkey.rules.identity import Links


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """What the configuration says of resources and people; replaced as a whole when the configuration changes."""

    resources: Mapping[ResourceId, Resource]
    links: Links
    groups: Mapping[SubjectId, frozenset[str]] = field(default_factory=dict)
    """Groups by local review; a trusted caller may add what the identity provider said."""
    dependents: Dependents = field(default_factory=dict)
    """Which services depend on which, besides what the rosters tell."""
