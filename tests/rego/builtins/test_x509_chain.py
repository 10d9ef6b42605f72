"""Chains of certificates: what is trusted, and every way not to be."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509

from tests.rego.builtins import making
from watchkey.rego.builtins.armour import pem_blocks
from watchkey.rego.builtins.x509 import Certificate, parse_certificates
from watchkey.rego.builtins.x509_chain import NotTrusted, Wanted, verified_chain
from watchkey.rego.values import FALSE

DNS = x509.DNSName
CA = making.authority()


def parsed(*pems: str) -> list[Certificate]:
    return [parse_certificates(content)[0] for pem in pems for _, content, _ in pem_blocks(pem)]


def chain(*pems: str, **wanted: Any) -> list[str]:
    found = verified_chain(parsed(*pems), Wanted(**{"now_ns": making.NOW_NS, **wanted}))
    return [each.fields["Subject"]["CommonName"] for each in found]


def test_the_chain_goes_from_leaf_to_root() -> None:
    assert chain(making.root(), making.intermediate(), making.leaf()) == ["leaf", "int", "root"]


def test_a_root_vouches_for_itself() -> None:
    root = making.root()
    assert chain(root, root) == ["root"]


@pytest.mark.parametrize(
    "between",
    [
        making.intermediate((x509.BasicConstraints(ca=False, path_length=None), True)),
        making.intermediate((x509.SubjectKeyIdentifier(b"x"), False)),
        making.intermediate(CA, until=2021),
        making.intermediate(CA, (making.CLIENT_AUTH, False)),
        making.intermediate(CA, (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.9"), b"\x05\x00"), True)),
        making.intermediate(CA, (x509.PolicyConstraints(0, None), False)),
        making.certificate("int", "root", ("rsa", "p256"), CA),
        making.certificate("other", "root", ("rsa", "p384"), CA),
        making.certificate("int", "root", ("p521", "p384"), CA),
        making.intermediate(
            CA,
            (x509.KeyUsage(True, False, False, False, False, False, False, False, False), True),
        ),
        making.intermediate(CA, making.within([DNS("other.com")])),
        making.intermediate(CA, making.within(None, [DNS("db.example.com")])),
        making.intermediate(CA, making.within(None, [DNS("x.w.example.com")])),
        making.intermediate(CA, making.within([making.network("192.168.0.0/16")])),
        making.intermediate(CA, making.within(None, [x509.UniformResourceIdentifier("example.com")])),
        making.intermediate(CA, making.within(None, [x509.RFC822Name("me@example.com")])),
        making.intermediate(CA, making.within([x509.RFC822Name("other.com")])),
        "",
    ],
)
def test_intermediates_that_do_not_vouch(between: str) -> None:
    with pytest.raises(NotTrusted):
        chain(making.root(), between, making.leaf())


@pytest.mark.parametrize(
    "constraints",
    [
        making.within([DNS("example.com")]),
        making.within([DNS(".example.com")]),
        making.within([making.network("10.0.0.0/8")]),
        making.within([x509.RFC822Name("example.com")], [x509.UniformResourceIdentifier(".example.com")]),
    ],
)
def test_constraints_that_hold(constraints: Any) -> None:
    assert chain(making.root(), making.intermediate(CA, constraints), making.leaf())


def test_a_path_can_be_too_long() -> None:
    root = making.certificate("root", "root", ("p384", "p384"), making.authority(0))
    assert chain(root, making.certificate("leaf", "root", ("leaf", "p384"), (making.NAMES, False)))
    with pytest.raises(NotTrusted):
        chain(root, making.intermediate(), making.leaf())


def test_times_are_inclusive() -> None:
    ends = parsed(making.leaf())[0].valid_until
    assert chain(making.root(), making.intermediate(), making.leaf(), now_ns=ends)
    with pytest.raises(NotTrusted):
        chain(making.root(), making.intermediate(), making.leaf(), now_ns=ends + 1)


def test_usages() -> None:
    pems = making.root(), making.intermediate(), making.leaf((making.CLIENT_AUTH, False))
    assert chain(*pems, usages=(2,))
    assert chain(*pems, usages=(0,))
    with pytest.raises(NotTrusted):
        chain(*pems)


@pytest.mark.parametrize("name", ["db.example.com", "DB.example.com.", "a.w.example.com", "10.1.2.3", "[10.1.2.3]"])
def test_names_that_the_leaf_has(name: str) -> None:
    assert chain(making.root(), making.intermediate(), making.leaf(), name=name)


@pytest.mark.parametrize(
    "name", ["example.com", "w.example.com", "a.b.w.example.com", "10.1.2.4", "leaf", "db..example.com"]
)
def test_names_that_the_leaf_does_not_have(name: str) -> None:
    with pytest.raises(NotTrusted):
        chain(making.root(), making.intermediate(), making.leaf(), name=name)


def test_an_intermediate_of_version_1_is_no_authority() -> None:
    certificates = parsed(making.root(), making.intermediate(), making.leaf())
    certificates[1].fields |= {"Version": 1, "BasicConstraintsValid": FALSE, "IsCA": FALSE}
    with pytest.raises(NotTrusted):
        verified_chain(certificates, Wanted(now_ns=making.NOW_NS))


def test_a_changed_leaf_is_not_trusted() -> None:
    certificates = parsed(making.root(), making.intermediate(), making.leaf())
    certificates[-1].signed = certificates[-1].signed.replace(b"db.example", b"dx.example")
    with pytest.raises(NotTrusted):
        verified_chain(certificates, Wanted(now_ns=making.NOW_NS))
