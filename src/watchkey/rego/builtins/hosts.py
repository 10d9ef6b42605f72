"""Built-ins of OPA that reach outside; they exist only where the host supplies them."""

from __future__ import annotations

from watchkey.rego.builtins import declare_host
from watchkey.rego.types import ANY, NUMBER, OBJECT, STRING, object_of

declare_host("http.send", (object_of(STRING, ANY),), OBJECT)
declare_host("opa.runtime", (), object_of(STRING, ANY))
declare_host("providers.aws.sign_req", (object_of(STRING, ANY), object_of(STRING, ANY), NUMBER), OBJECT)
