"""The operator's identity: created once, kept over restarts; if it is damaged, the operator waits."""

import asyncio
import ssl

import pytest
from cryptography import x509

from ferry_operator.identity import Identity, IdentityUnusable, load_or_create
from ferry_operator.kube import KubeError
from ferry_operator.names import Object
from ferry_operator.settings import Settings
from ferry_operator.start import prepare


class Secrets:
    """The two calls that the identity needs."""

    def __init__(self) -> None:
        self.kept: Object | None = None
        self.rival: Object | None = None

    async def get_secret(self, namespace: str, name: str) -> Object:
        if self.kept is None:
            raise KubeError(404, "NotFound", f"{namespace}/{name}")
        return self.kept

    async def create_secret(self, _: str, secret: Object) -> Object:
        if self.rival is not None:
            self.kept = self.rival
            raise KubeError(409, "AlreadyExists", "exists")
        self.kept = secret
        return secret


async def _load(secrets: Secrets) -> Identity:
    return await load_or_create(secrets, "ferry", "ferry-operator-identity")  # type: ignore[arg-type]


def test_the_identity_survives_a_restart() -> None:
    secrets = Secrets()
    first, second = asyncio.run(_load(secrets)), asyncio.run(_load(secrets))
    assert first.certificate == second.certificate
    assert first.token("uid") == second.token("uid") != first.token("other")


def test_two_operators_that_start_together_end_with_one_identity() -> None:
    other = Secrets()
    asyncio.run(_load(other))
    secrets = Secrets()
    secrets.rival = other.kept
    assert asyncio.run(_load(secrets)).token("uid") == asyncio.run(_load(other)).token("uid")


def test_the_operator_waits_until_a_damaged_identity_is_restored(caplog: pytest.LogCaptureFixture) -> None:
    secrets = Secrets()
    first = asyncio.run(_load(secrets))
    whole = secrets.kept
    assert whole is not None
    meta = whole["metadata"] | {"namespace": "ferry"}
    data = {name: value for name, value in whole["data"].items() if name != "token.key"}
    spoilt: list[Object] = [
        {"data": data},
        {},
        {"data": data | {"token.key": "A"}},
        {"data": data | {"ca.key": "AAAA"}},
    ]
    for parts in spoilt:
        secrets.kept = {"metadata": meta} | parts
        with pytest.raises(IdentityUnusable, match="in Secret ferry/ferry-operator-identity cannot be used"):
            asyncio.run(_load(secrets))

    async def restored() -> Identity:
        waiting = asyncio.create_task(prepare(Ready(secrets), Settings("ferry", "i:1"), 0.01))  # type: ignore[arg-type]
        while "cannot be used" not in caplog.text:  # noqa: ASYNC110 - a log wakes nobody
            await asyncio.sleep(0.001)
        secrets.kept = whole
        return (await asyncio.wait_for(waiting, 120)).identity

    assert asyncio.run(restored()).token("uid") == first.token("uid")


class Ready:
    """An API server that has everything but the identity."""

    def __init__(self, secrets: Secrets) -> None:
        self.get_secret = secrets.get_secret

    async def serves_ferries(self) -> bool:
        return True

    async def may(self, *_: object) -> bool:
        return True


def test_a_copiers_certificate_names_its_ferry_only_and_is_trusted_by_us_only() -> None:
    identity = Identity.new()
    certificate = x509.load_pem_x509_certificate(identity.tls_pair("uid-1")[0].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["uid-1"]
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(identity.certificate))
    context = identity.context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.cert_store_stats()["x509_ca"] == 1
