"""The operator's CA and token key, with which copiers and the operator authenticate each other.

Both are kept in one Secret in the operator's namespace, the only Secret that it may read. A copier's token is derived
from its Ferry's uid, so a restarted operator can derive it again. A copier's certificate has the uid as its only name,
so one TLS context checks all. Called by ``start`` and, for each new Pod, by ``pod_maker``.
"""

import base64
import datetime as dt
import hashlib
import hmac
import secrets
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ferry_operator.kube import Kube, KubeError
from ferry_operator.names import APPLICATION, MANAGED_BY, MANAGER, Object

_YEARS = dt.timedelta(days=3650)
_YESTERDAY = dt.timedelta(days=1)  # clocks of nodes differ


class IdentityUnusable(Exception):
    """The Secret exists, but its content was changed; the message says what to do."""


class Identity:
    """CA and token key, loaded."""

    def __init__(self, certificate: bytes, key: bytes, token_key: bytes) -> None:
        self.certificate = certificate
        self._issuer = x509.load_pem_x509_certificate(certificate)
        loaded = serialization.load_pem_private_key(key, None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise TypeError("the CA's key is of another kind")
        self._key = loaded
        self._token_key = token_key

    def token(self, uid: str) -> str:
        """The bearer token of this Ferry's copier."""
        return hmac.new(self._token_key, uid.encode(), hashlib.sha256).hexdigest()

    def tls_pair(self, uid: str) -> tuple[str, str]:
        """A new certificate and key for this Ferry's copier, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, uid)])
        signed = (
            _dated(name, self._issuer.subject, key.public_key(), self._issuer.not_valid_after_utc)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(uid)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return signed.public_bytes(serialization.Encoding.PEM).decode(), _pem(key).decode()

    def context(self) -> ssl.SSLContext:
        """Trusts copiers and nobody else. Shared by all connections: each context costs 0.8 MB and 20 ms."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.certificate.decode())
        return context

    @classmethod
    def new(cls) -> "Identity":
        """With a new CA and token key."""
        return cls(*_new_material())


def _new_material() -> tuple[bytes, bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, MANAGER)])
    usage = x509.BasicConstraints(ca=True, path_length=0)
    until = dt.datetime.now(dt.UTC) + _YEARS
    signed = _dated(name, name, key.public_key(), until).add_extension(usage, critical=True).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM), _pem(key), secrets.token_bytes(32)


def _dated(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, until: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime.now(dt.UTC) - _YESTERDAY)
        .not_valid_after(until)
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


async def load_or_create(kube: Kube, namespace: str, name: str) -> Identity:
    """The identity in that Secret, which is created if missing. Two operators that start together use the same one."""
    try:
        return _read(await kube.get_secret(namespace, name))
    except KubeError as error:
        if not error.not_found:
            raise
    certificate, key, token_key = _new_material()
    secret: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {MANAGED_BY: MANAGER, APPLICATION: "mysql-ferry"}},
        "type": "Opaque",
        "immutable": True,
        "data": {
            "ca.crt": _encoded(certificate),
            "ca.key": _encoded(key),
            "token.key": _encoded(token_key),
        },
    }
    try:
        return _read(await kube.create_secret(namespace, secret))
    except KubeError as error:
        if not error.exists:
            raise
        return _read(await kube.get_secret(namespace, name))


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _read(secret: Object) -> Identity:
    try:
        data = secret["data"]
        return Identity(*(base64.b64decode(data[name]) for name in ("ca.crt", "ca.key", "token.key")))
    except (KeyError, TypeError, ValueError) as error:
        where = f"{secret['metadata']['namespace']}/{secret['metadata']['name']}"
        raise IdentityUnusable(
            f"the operator's identity in Secret {where} cannot be used ({error!r}): restore the Secret, or delete it. "
            "A new identity is created then, and running copiers do not accept it until their Pods are deleted"
        ) from error
