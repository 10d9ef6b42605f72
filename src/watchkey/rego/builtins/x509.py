"""Certificates and requests, read from DER, as Rego objects with the field names of Go's ``crypto/x509``."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final, TypeAlias

from watchkey.rego.builtins import BuiltinError
from watchkey.rego.builtins import der as d
from watchkey.rego.builtins.go_layouts import NAMED_LAYOUTS, parse_time
from watchkey.rego.builtins.uris import split_url
from watchkey.rego.values import EMPTY_OBJECT, FALSE, Object, boolean

Oid: TypeAlias = tuple[int, ...]

_NAME_FIELDS: Final = {
    6: "Country",
    7: "Locality",
    8: "Province",
    9: "StreetAddress",
    10: "Organization",
    11: "OrganizationalUnit",
    17: "PostalCode",
}

_RSA: Final = (1, 2, 840, 113549, 1, 1)
_EC: Final = (1, 2, 840, 10045)
_ED25519: Final = (1, 3, 101, 112)
_RSA_PUBLIC_KEY: Final = (*_RSA, 1)
_RSA_PSS: Final = (*_RSA, 10)
_EC_PUBLIC_KEY: Final = (*_EC, 2, 1)
_DSA_PUBLIC_KEY: Final = (1, 2, 840, 10040, 4, 1)

_SIGNATURES: Final[dict[Oid, int]] = {
    (*_RSA, 2): 1,
    (*_RSA, 4): 2,
    (*_RSA, 5): 3,
    (1, 3, 14, 3, 2, 29): 3,
    (*_RSA, 11): 4,
    (*_RSA, 12): 5,
    (*_RSA, 13): 6,
    (1, 2, 840, 10040, 4, 3): 7,
    (2, 16, 840, 1, 101, 3, 4, 3, 2): 8,
    (*_EC, 4, 1): 9,
    (*_EC, 4, 3, 2): 10,
    (*_EC, 4, 3, 3): 11,
    (*_EC, 4, 3, 4): 12,
    _ED25519: 16,
}
"""Go's numbers of the signature algorithms."""

_PSS_HASHES: Final[dict[Oid, int]] = {(2, 16, 840, 1, 101, 3, 4, 2, 1 + n): 13 + n for n in range(3)}
_KEY_ALGORITHMS: Final[dict[Oid, int]] = {_RSA_PUBLIC_KEY: 1, _DSA_PUBLIC_KEY: 2, _EC_PUBLIC_KEY: 3, _ED25519: 4}

_PKIX: Final = (1, 3, 6, 1, 5, 5, 7)
_MICROSOFT: Final = (1, 3, 6, 1, 4, 1, 311)
_USAGES: Final[dict[Oid, int]] = {
    (2, 5, 29, 37, 0): 0,
    **{(*_PKIX, 3, arc): arc for arc in range(1, 10)},
    (*_MICROSOFT, 10, 3, 3): 10,
    (2, 16, 840, 1, 113730, 4, 1): 11,
    (*_MICROSOFT, 2, 1, 22): 12,
    (*_MICROSOFT, 61, 1, 1): 13,
}
"""Go's numbers of the extended key usages."""

_AUTHORITY_INFO: Final = (*_PKIX, 1, 1)
_EXTENSION_REQUEST: Final = (*_RSA[:-1], 9, 14)


@dataclass(slots=True)
class Certificate:
    """A certificate, read; `fields` is what Rego sees, the rest is what verification needs."""

    raw: bytes
    signed: bytes
    signature: bytes
    key_info: bytes
    fields: dict[str, Any]
    valid_from: int = 0
    valid_until: int = 0
    extensions: dict[Oid, bytes] = field(default_factory=dict)

    def value(self, *, uri_strings: bool) -> Object:
        """The object that Rego sees; `uri_strings` adds the alternative names that are URIs as plain text."""
        if not uri_strings:
            return Object({name: item for name, item in self.fields.items() if name != "URIStrings"})
        return Object(self.fields)


def base64_text(data: bytes | None) -> str | None:
    """Bytes as Go's JSON shows them; null for none."""
    return None if data is None else b64encode(data).decode()


def _or_null(found: Iterable[Any]) -> tuple[Any, ...] | None:
    return tuple(found) or None


# --- names, keys, algorithms -----------------------------------------------------------------------------------------


def _name(element: d.Element) -> Object:
    fields: dict[str, Any] = dict.fromkeys(_NAME_FIELDS.values())
    fields |= {"CommonName": "", "SerialNumber": "", "ExtraNames": None}
    names = []
    for relative in element.expect(d.SEQUENCE).children():
        for pair in relative.expect(d.SET).children():
            kind, text = pair.expect(d.SEQUENCE).children()
            oid, value = kind.object_id(), text.text()
            names.append(Object({"Type": oid, "Value": value}))
            if oid[:3] == (2, 5, 4) and len(oid) == 4:
                _set_name_field(fields, oid[3], value)
    return Object({**fields, "Names": _or_null(names)})


def _set_name_field(fields: dict[str, Any], arc: int, value: str) -> None:
    if arc == 3:
        fields["CommonName"] = value
    elif arc == 5:
        fields["SerialNumber"] = value
    elif arc in _NAME_FIELDS:
        name = _NAME_FIELDS[arc]
        fields[name] = (*(fields[name] or ()), value)


def _algorithm(element: d.Element) -> tuple[Oid, bytes]:
    """The OID of an AlgorithmIdentifier and the encoding of its parameters."""
    parts = element.expect(d.SEQUENCE).children()
    if not 1 <= len(parts) <= 2:
        raise d.MalformedDer
    return parts[0].object_id(), parts[1].raw if len(parts) == 2 else b""


def _signature_algorithm(element: d.Element) -> int:
    oid, parameters = _algorithm(element)
    if oid != _RSA_PSS:
        return _SIGNATURES.get(oid, 0)
    for part in d.only_element(parameters).children():
        if part.tag == 0xA0:
            return _PSS_HASHES.get(_algorithm(d.only_element(part.content))[0], 0)
    return 0


def _public_key(element: d.Element) -> tuple[int, Any]:
    """Go's number of the key's algorithm, and the key as its JSON shows it."""
    algorithm, bits = element.expect(d.SEQUENCE).children()
    oid, parameters = _algorithm(algorithm)
    data, _ = bits.bits()
    number = _KEY_ALGORITHMS.get(oid, 0)
    if number == 1:
        modulus, exponent = [part.integer() for part in d.only_element(data).expect(d.SEQUENCE).children()]
        if modulus <= 0 or exponent <= 0 or parameters != b"\x05\x00":
            raise d.MalformedDer
        return 1, Object({"N": modulus, "E": exponent})
    if number == 2:
        values = [part.integer() for part in d.only_element(parameters).children()]
        public = d.only_element(data).integer()
        return 2, Object({**dict(zip("PQG", values, strict=True)), "Y": public})
    if number == 3:
        size = (len(data) - 1) // 2
        if len(data) < 49 or data[0] != 4 or len(data) != 2 * size + 1:
            raise d.MalformedDer
        across, up = int.from_bytes(data[1 : 1 + size], "big"), int.from_bytes(data[1 + size :], "big")
        return 3, Object({"Curve": EMPTY_OBJECT, "X": across, "Y": up})
    return number, base64_text(data) if number == 4 else None


# --- extensions ------------------------------------------------------------------------------------------------------


def _extension(element: d.Element) -> tuple[Oid, bool, bytes]:
    parts = element.expect(d.SEQUENCE).children()
    critical = len(parts) == 3 and parts[1].boolean()
    if not 2 <= len(parts) <= 3:
        raise d.MalformedDer
    return parts[0].object_id(), critical, parts[-1].expect(d.OCTET_STRING).content


def _shown_extension(extension: tuple[Oid, bool, bytes]) -> Object:
    oid, critical, content = extension
    return Object({"Id": oid, "Critical": boolean(critical), "Value": base64_text(content)})


def _url_object(text: str) -> Object:
    try:
        url = split_url(text)
    except BuiltinError:
        raise d.MalformedDer from None
    return Object(
        {
            "Scheme": url.scheme,
            "Opaque": url.opaque,
            "User": EMPTY_OBJECT if url.has_user else None,
            "Host": url.host,
            "Path": url.path,
            "Fragment": url.fragment,
            "RawQuery": url.query,
            "RawPath": url.raw_path,
            "RawFragment": url.raw_fragment,
            "ForceQuery": boolean(url.empty_query),
            "OmitHost": boolean(url.omits_host),
        }
    )


def _address(packed: bytes) -> str:
    try:
        address = ip_address(packed)
    except ValueError:
        raise d.MalformedDer from None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _alternative_names(content: bytes) -> dict[str, Any]:
    """The fields of a subject alternative name; other kinds than DNS, e-mail, URI and IP are not shown."""
    found: dict[int, list[Any]] = {1: [], 2: [], 6: [], 7: []}
    for name in d.only_element(content).expect(d.SEQUENCE).children():
        kind = name.tag & 0x1F
        if kind == 7:
            found[7].append(_address(name.content))
        elif kind in found:
            found[kind].append(_ascii(name.content))
    return {
        "EmailAddresses": _or_null(found[1]),
        "DNSNames": _or_null(found[2]),
        "URIs": _or_null(_url_object(text) for text in found[6]),
        "URIStrings": _or_null(found[6]),
        "IPAddresses": _or_null(found[7]),
    }


def _ascii(content: bytes) -> str:
    try:
        return content.decode("ascii")
    except UnicodeDecodeError:
        raise d.MalformedDer from None


def _key_usage(content: bytes) -> dict[str, Any]:
    data, count = d.only_element(content).bits()
    return {"KeyUsage": sum(1 << bit for bit in range(min(count, 9)) if data[bit >> 3] & 0x80 >> (bit & 7))}


def _extended_usage(content: bytes) -> dict[str, Any]:
    oids = [each.object_id() for each in d.only_element(content).children()]
    return {
        "ExtKeyUsage": _or_null(_USAGES[oid] for oid in oids if oid in _USAGES),
        "UnknownExtKeyUsage": _or_null(oid for oid in oids if oid not in _USAGES),
    }


def _basic_constraints(content: bytes) -> dict[str, Any]:
    parts = d.only_element(content).expect(d.SEQUENCE).children()
    authority = bool(parts) and parts[0].tag == d.BOOLEAN and parts[0].boolean()
    length = parts[-1].integer() if parts and parts[-1].tag == d.INTEGER else -1
    return {
        "BasicConstraintsValid": boolean(held=True),
        "IsCA": boolean(authority),
        "MaxPathLen": length,
        "MaxPathLenZero": boolean(length == 0),
    }


def _authority_info(content: bytes) -> dict[str, Any]:
    found: dict[int, list[str]] = {1: [], 2: []}
    for description in d.only_element(content).children():
        method, location = description.children()
        oid = method.object_id()
        if oid[:-1] == (*_PKIX, 48) and oid[-1] in found and location.tag == 0x86:
            found[oid[-1]].append(_ascii(location.content))
    return {"OCSPServer": _or_null(found[1]), "IssuingCertificateURL": _or_null(found[2])}


def _authority_key(content: bytes) -> dict[str, Any]:
    parts = [each for each in d.only_element(content).children() if each.tag == 0x80]
    return {"AuthorityKeyId": base64_text(parts[0].content)} if parts else {}


def _policies(content: bytes) -> dict[str, Any]:
    oids = [each.children()[0].object_id() for each in d.only_element(content).children()]
    texts = [".".join([str(arc) for arc in oid]) for oid in oids]
    return {"PolicyIdentifiers": _or_null(oids), "Policies": _or_null(texts)}


def _policy_constraints(content: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    names = {0x80: "RequireExplicitPolicy", 0x81: "InhibitPolicyMapping"}
    for part in d.only_element(content).children():
        if part.tag in names:
            number = int.from_bytes(part.content, "big")
            fields |= {names[part.tag]: number, names[part.tag] + "Zero": boolean(number == 0)}
    return fields


def _inhibit_any(content: bytes) -> dict[str, Any]:
    number = d.only_element(content).integer()
    return {"InhibitAnyPolicy": number, "InhibitAnyPolicyZero": boolean(number == 0)}


def _policy_mappings(content: bytes) -> dict[str, Any]:
    shown = []
    for pair in d.only_element(content).children():
        issuer, subject = [".".join([str(arc) for arc in each.object_id()]) for each in pair.children()]
        shown.append(Object({"IssuerDomainPolicy": issuer, "SubjectDomainPolicy": subject}))
    return {"PolicyMappings": _or_null(shown)}


def _revocation_points(content: bytes) -> dict[str, Any]:
    found = []
    for point in d.only_element(content).children():
        for part in point.children():
            if part.tag != 0xA0:
                continue
            for name in d.elements(part.content):
                found += [_ascii(each.content) for each in name.children() if each.tag == 0x86]
    return {"CRLDistributionPoints": _or_null(found)}


_CONSTRAINED: Final = {0x81: "EmailAddresses", 0x82: "DNSDomains", 0x86: "URIDomains", 0x87: "IPRanges"}


def _name_constraints(content: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for part in d.only_element(content).children():
        prefix = {0xA0: "Permitted", 0xA1: "Excluded"}.get(part.tag)
        if prefix is None:
            raise d.MalformedDer
        for subtree in d.elements(part.content):
            base = subtree.children()[0]
            kind = _CONSTRAINED.get(base.tag)
            if kind is None:
                raise _UnhandledError
            shown: Any = _ip_range(base.content) if kind == "IPRanges" else _ascii(base.content)
            fields[prefix + kind] = (*fields.get(prefix + kind, ()), shown)
    return fields


class _UnhandledError(Exception):
    """An extension says something that is not understood; if it is critical, the certificate is not for us."""


def _ip_range(content: bytes) -> Object:
    half = len(content) // 2
    return Object({"IP": _address(content[:half]), "Mask": base64_text(content[half:])})


_READERS: Final[dict[Oid, Callable[[bytes], dict[str, Any]]]] = {
    (2, 5, 29, 14): lambda content: {"SubjectKeyId": base64_text(d.only_element(content).content)},
    (2, 5, 29, 15): _key_usage,
    (2, 5, 29, 17): _alternative_names,
    (2, 5, 29, 19): _basic_constraints,
    (2, 5, 29, 30): _name_constraints,
    (2, 5, 29, 31): _revocation_points,
    (2, 5, 29, 32): _policies,
    (2, 5, 29, 33): _policy_mappings,
    (2, 5, 29, 35): _authority_key,
    (2, 5, 29, 36): _policy_constraints,
    (2, 5, 29, 37): _extended_usage,
    (2, 5, 29, 54): _inhibit_any,
    _AUTHORITY_INFO: _authority_info,
}

_EMPTY_FIELDS: Final[dict[str, Any]] = {
    **dict.fromkeys(
        (
            "AuthorityKeyId", "SubjectKeyId", "CRLDistributionPoints", "DNSNames", "EmailAddresses", "IPAddresses",
            "URIs", "URIStrings", "ExtKeyUsage", "UnknownExtKeyUsage", "ExtraExtensions", "IssuingCertificateURL",
            "OCSPServer",
            "Policies", "PolicyIdentifiers", "PolicyMappings", "UnhandledCriticalExtensions", "Extensions",
            *[side + kind for side in ("Permitted", "Excluded") for kind in _CONSTRAINED.values()],
        )
    ),
    **dict.fromkeys(("InhibitAnyPolicy", "InhibitPolicyMapping", "RequireExplicitPolicy", "KeyUsage", "MaxPathLen"), 0),
    **dict.fromkeys(
        (
            "InhibitAnyPolicyZero", "InhibitPolicyMappingZero", "RequireExplicitPolicyZero", "IsCA", "MaxPathLenZero",
            "BasicConstraintsValid", "PermittedDNSDomainsCritical",
        ),
        FALSE,
    ),
}  # fmt: skip


def _extension_fields(extensions: list[tuple[Oid, bool, bytes]]) -> dict[str, Any]:
    fields: dict[str, Any] = {"Extensions": _or_null(_shown_extension(each) for each in extensions)}
    unhandled = []
    seen: set[Oid] = set()
    for oid, critical, content in extensions:
        if oid in seen:
            raise d.MalformedDer
        seen.add(oid)
        reader = _READERS.get(oid)
        try:
            read = reader(content) if reader else {}
        except _UnhandledError:
            reader, read = None, {}
        fields |= read
        if oid == (2, 5, 29, 30) and reader:
            fields["PermittedDNSDomainsCritical"] = boolean(critical)
        names_nothing = oid == (2, 5, 29, 17) and not any(read.values())
        if critical and (reader is None or names_nothing):
            unhandled.append(oid)
    return fields | {"UnhandledCriticalExtensions": _or_null(unhandled)}


# --- whole documents -------------------------------------------------------------------------------------------------


def _signed_parts(element: d.Element) -> tuple[d.Element, d.Element, bytes]:
    body, algorithm, signature = element.expect(d.SEQUENCE).children()
    data, _ = signature.bits()
    return body.expect(d.SEQUENCE), algorithm, data


def _certificate(element: d.Element) -> Certificate:
    body, algorithm, signature = _signed_parts(element)
    parts = body.children()
    version = 0
    if parts[0].tag == 0xA0:
        version = d.only_element(parts.pop(0).content).integer()
    serial, inner_algorithm, issuer, validity, subject, key = parts[:6]
    if inner_algorithm.raw != algorithm.raw or not 0 <= version <= 2:
        raise d.MalformedDer
    starts, ends = [each.time() for each in validity.expect(d.SEQUENCE).children()]
    wrapped = [each for each in parts[6:] if each.tag == 0xA3]
    extensions = [_extension(each) for each in d.only_element(wrapped[0].content).children()] if wrapped else []
    key_algorithm, public_key = _public_key(key)
    fields = _EMPTY_FIELDS | _extension_fields(extensions) | {
        "Raw": base64_text(element.raw),
        "RawTBSCertificate": base64_text(body.raw),
        "RawSubjectPublicKeyInfo": base64_text(key.raw),
        "RawSubject": base64_text(subject.raw),
        "RawIssuer": base64_text(issuer.raw),
        "Signature": base64_text(signature),
        "SignatureAlgorithm": _signature_algorithm(algorithm),
        "PublicKeyAlgorithm": key_algorithm,
        "PublicKey": public_key,
        "Version": version + 1,
        "SerialNumber": serial.integer(),
        "Issuer": _name(issuer),
        "Subject": _name(subject),
        "NotBefore": starts,
        "NotAfter": ends,
    }  # fmt: skip
    return Certificate(
        raw=element.raw,
        signed=body.raw,
        signature=signature,
        key_info=key.raw,
        fields=fields,
        valid_from=parse_time(NAMED_LAYOUTS["RFC3339"], starts),
        valid_until=parse_time(NAMED_LAYOUTS["RFC3339"], ends),
        extensions={oid: content for oid, _, content in extensions},
    )


def parse_certificates(data: bytes) -> list[Certificate]:
    """The certificates whose DER follow one another; raises BuiltinError if they are anything else."""
    try:
        return [_certificate(element) for element in d.elements(data)]
    except (d.MalformedDer, ValueError, IndexError):
        raise BuiltinError("x509: malformed certificate") from None


def _attribute_value(element: d.Element) -> Any:  # noqa: PLR0911 - one for each type
    """A value in an attribute as Go's ``asn1`` gives it without knowing its type; null for what it does not know."""
    match element.tag:
        case d.INTEGER:
            return element.integer()
        case d.BOOLEAN:
            return boolean(element.boolean())
        case d.OCTET_STRING:
            return base64_text(element.content)
        case d.OBJECT_ID:
            return element.object_id()
        case d.UTC_TIME | d.GENERALIZED_TIME:
            return element.time()
        case d.BIT_STRING:
            data, count = element.bits()
            return Object({"Bytes": base64_text(data), "BitLength": count})
        case d.UTF8_STRING | d.PRINTABLE_STRING | d.IA5_STRING | d.T61_STRING | d.NUMERIC_STRING | d.BMP_STRING:
            return element.text()
        case _:
            return None


def _attribute(element: d.Element) -> Object | None:
    """An attribute whose values are sets of pairs, as that of the requested extensions; None for others."""
    kind, values = element.expect(d.SEQUENCE).children()
    shown = []
    for group in values.expect(d.SET).children():
        if group.tag != d.SEQUENCE:
            return None
        pairs = []
        for pair in group.children():
            parts = pair.children() if pair.tag == d.SEQUENCE else []
            if len(parts) < 2 or parts[0].tag != d.OBJECT_ID:
                return None
            pairs.append(Object({"Type": parts[0].object_id(), "Value": _attribute_value(parts[1])}))
        shown.append(tuple(pairs))
    return Object({"Type": kind.object_id(), "Value": tuple(shown)})


def _requested_extensions(attributes: list[d.Element]) -> list[tuple[Oid, bool, bytes]]:
    for attribute in attributes:
        kind, values = attribute.children()
        if kind.object_id() == _EXTENSION_REQUEST:
            return [_extension(each) for each in values.children()[0].children()]
    return []


def _request(element: d.Element) -> Object:
    body, algorithm, signature = _signed_parts(element)
    version, subject, key, *rest = body.children()
    attributes = [each for part in rest if part.tag == 0xA0 for each in d.elements(part.content)]
    extensions = _requested_extensions(attributes)
    names = [_alternative_names(content) for oid, _, content in extensions if oid == (2, 5, 29, 17)]
    shown_names = names[0] if names else dict.fromkeys(("DNSNames", "EmailAddresses", "IPAddresses", "URIs"))
    key_algorithm, public_key = _public_key(key)
    return Object(
        {
            "Raw": base64_text(element.raw),
            "RawTBSCertificateRequest": base64_text(body.raw),
            "RawSubjectPublicKeyInfo": base64_text(key.raw),
            "RawSubject": base64_text(subject.raw),
            "Version": version.integer(),
            "Signature": base64_text(signature),
            "SignatureAlgorithm": _signature_algorithm(algorithm),
            "PublicKeyAlgorithm": key_algorithm,
            "PublicKey": public_key,
            "Subject": _name(subject),
            "Attributes": _or_null(each for each in map(_attribute, attributes) if each is not None),
            "Extensions": _or_null(_shown_extension(each) for each in extensions),
            "ExtraExtensions": None,
            **{name: item for name, item in shown_names.items() if name != "URIStrings"},
        }
    )


def parse_request(data: bytes) -> Object:
    """A certificate signing request; raises BuiltinError if the bytes are anything else."""
    try:
        return _request(d.only_element(data))
    except (d.MalformedDer, ValueError, IndexError):
        raise BuiltinError("asn1: structure error: not a certificate signing request") from None
