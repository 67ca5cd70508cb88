"""Throwaway certificates for tests and test clusters: a CA and what it signs, as PEM bytes."""

import datetime as dt
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Signed:
    """A certificate and its key."""

    certificate: bytes
    key: bytes


class Authority:
    """A CA that lives as long as the test, or as the test cluster."""

    def __init__(self, name: str = "ferry test CA", days: int = 1) -> None:
        self._days = days
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        ca = x509.BasicConstraints(ca=True, path_length=None)
        self._certificate = _dated(self._name, self._name, self._key, days).add_extension(ca, critical=True)
        signed = self._certificate.sign(self._key, hashes.SHA256())
        self.certificate = signed.public_bytes(serialization.Encoding.PEM)

    def sign(self, name: str, *addresses: str, organization: str | None = None) -> Signed:
        """A certificate for the host ``name`` and IP addresses, of ``organization`` (to Kubernetes: a group)."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        group = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
        subject = x509.Name([*group, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _dated(subject, self._name, key, self._days).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        return Signed(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )


def _dated(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=days))
    )
