"""Identifiers of the domain, as distinct types so that one is never passed for another."""

from typing import NewType

SubjectId = NewType("SubjectId", str)
"""Who acts, as the identity verifier names them: `alice@example.com`, or `issuer|sub`."""

ResourceId = NewType("ResourceId", str)
"""What is protected: `orders-db`."""

PrivilegeName = NewType("PrivilegeName", str)
"""What one may do on a resource: `write`; written `orders-db:write` with its resource."""

SourceName = NewType("SourceName", str)
"""A configured source of rosters: `pagerduty-main`."""

PersonId = NewType("PersonId", str)
"""A person in a source, by the provider's immutable id; unique within that source only."""

CallerId = NewType("CallerId", str)
"""The program that asks: a gateway, a proxy, the command line."""

IncidentId = NewType("IncidentId", str)
"""An incident in a source, by the provider's id."""
