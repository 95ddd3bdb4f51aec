"""Certificates to sign with, made on the spot: a root that nobody knows, and what it signed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Identity:
    """PEM texts: the chain with the leaf first, the leaf's key, and the root alone."""

    chain: str
    key: str
    root: str

    def write(self, folder: Path) -> tuple[Path, Path]:
        """The files of the chain and of the key."""
        certificate, key = folder / "chain.pem", folder / "key.pem"
        certificate.write_text(self.chain)
        key.write_text(self.key)
        return certificate, key


def issue(
    *,
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION,
    valid_from: timedelta = timedelta(days=-1),
    days: int = 30,
) -> Identity:
    root_key, key = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    begin = datetime.now(UTC) + valid_from
    root = (
        _blank("root", root_key, begin, begin + timedelta(days=days), issuer="root")
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _blank("leaf", key, begin, begin + timedelta(days=days), issuer="root")
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    root_text, leaf_text = (certificate.public_bytes(Encoding.PEM).decode() for certificate in (root, leaf))
    key_text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Identity(leaf_text + root_text, key_text, root_text)


def _blank(
    name: str, key: EllipticCurvePrivateKey, begin: datetime, end: datetime, *, issuer: str
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _named(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"tests {name}"),
        ]
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
