"""etcd and kube-apiserver alone: a real API without nodes, enough for the CRD, watches, status and permissions.

Nothing runs Pods here: a test that needs a Pod's life cycle writes its status by hand. ``make kubernetes`` provides the
binaries; the fixture is in ``tests/conftest.py``. ``KubeClient`` works with any other kube-apiserver too; ``Authority``
signs temporary certificates.
"""

import contextlib
import datetime as dt
import ipaddress
import json
import os
import secrets
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hack.installing import cache_folder
from tests.support.servers import free_port
from tests.support.waits import PATIENCE_SECONDS, wait_until


@dataclass(frozen=True)
class Signed:
    """A certificate and its key."""

    certificate: bytes
    key: bytes


class Authority:
    """A CA for the lifetime of the test, or of the test cluster."""

    def __init__(self, name: str = "ferry test CA", days: int = 1) -> None:
        self._days = days
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        ca = x509.BasicConstraints(ca=True, path_length=None)
        self._certificate = _dated(self._name, self._name, self._key, days).add_extension(ca, critical=True)
        signed = self._certificate.sign(self._key, hashes.SHA256())
        self.certificate = signed.public_bytes(serialization.Encoding.PEM)

    def sign(
        self,
        name: str,
        *addresses: str,
        organization: str | None = None,
        alternative_names: bool = True,
        days: int | None = None,
    ) -> Signed:
        """A certificate for the host ``name`` and IP addresses, of ``organization`` (to Kubernetes: a group).

        Without alternative names only its subject names the host, as old tools make them. With ``days`` 0 it has
        expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        group = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
        subject = x509.Name([*group, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _dated(subject, self._name, key, self._days if days is None else days)
        if alternative_names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
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


CRD = Path(__file__).resolve().parents[2] / "deploy" / "crds" / "ferries.yaml"


class Admin:
    """Requests to a running API server with full permissions."""

    def __init__(self, url: str, token: str, authority: Path) -> None:
        self.url = url
        self.token = token
        self.tls = ssl.create_default_context(cafile=str(authority))

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        as_text: bool = False,
        seconds: float = 60,
    ) -> Any:
        """One request; raises urllib's HTTPError."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=seconds, context=self.tls) as answer:
            text = answer.read().decode()
        return text if as_text else json.loads(text)


class KubeClient(Admin):
    """The same, and kubectl."""

    def __init__(self, url: str, token: str, authority: Path, kubeconfig: Path, kubectl: Path) -> None:
        super().__init__(url, token, authority)
        self.kubeconfig = kubeconfig
        self.kubectl_path = kubectl

    def kubectl(
        self, *arguments: str, given: object = None, kubeconfig: Path | None = None, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """The real kubectl; ``given`` is sent to its standard input as YAML."""
        line = [str(self.kubectl_path), f"--kubeconfig={kubeconfig or self.kubeconfig}", *arguments]
        text = None if given is None else yaml.safe_dump(given)
        done = subprocess.run(line, input=text, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done

    def install_crd(self) -> None:
        """What a user does first; returns once the API serves Ferries."""
        self.kubectl("apply", "--server-side", "-f", str(CRD))
        wait_until(self._serves_ferries, "the API serves Ferries")

    def _serves_ferries(self) -> bool:
        try:
            self.request("GET", "/apis/mysqlferry.io/v1alpha1/ferries")
        except urllib.error.HTTPError:
            return False
        return True

    def remove_crd(self) -> None:
        """Delete it with all Ferries, even those with a finalizer."""
        path = "/apis/mysqlferry.io/v1alpha1"
        with contextlib.suppress(urllib.error.HTTPError):
            for meta in (each["metadata"] for each in self.request("GET", f"{path}/ferries")["items"]):
                one = f"{path}/namespaces/{meta['namespace']}/ferries/{meta['name']}"
                let_go = {"metadata": {"finalizers": None}}
                self.request("PATCH", one, let_go, content_type="application/merge-patch+json")
        self.kubectl("delete", "crd", "ferries.mysqlferry.io", "--ignore-not-found")

    def make_namespace(self, prefix: str) -> str:
        """A namespace for the test. Nothing would finish its deletion, so it stays until the API server ends."""
        name = f"{prefix}-{secrets.token_hex(3)}"
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name


_SCRIPTS = Path(__file__).resolve().parents[2] / "hack" / "kubernetes"


def binaries() -> Path:
    """The folder with kube-apiserver and kubectl. If they are not built: skips with a message, or fails on a CI
    machine.
    """
    built = sorted((cache_folder() / "kubernetes").glob("1.*/bin/kube-apiserver"))
    if not built or not (built[-1].parent / "kubectl").exists():
        refuse("kube-apiserver and kubectl are not built: see build/kubernetes.log, or run `make kubernetes`")
    return built[-1].parent


def refuse(reason: str) -> NoReturn:
    """Skips with a message on a developer's machine; fails on a CI machine."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _spawn(line: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    # If the tests are killed these must end too, because nothing else knows their process ids.
    with log.open("ab") as output:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *line], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )


class KubeApi(KubeClient):
    """One API server with its etcd. ``stop`` followed by ``start`` keeps the data. ``flags`` are kube-apiserver's."""

    def __init__(self, *flags: str) -> None:
        self._flags = flags
        self.bin = binaries()
        etcd = subprocess.run([_SCRIPTS / "etcd.sh"], stdout=subprocess.PIPE, text=True, check=True)
        self._etcd_binary = etcd.stdout.strip()
        self.folder = Path(tempfile.mkdtemp(prefix="ferry-kube-"))
        self._etcd_port, self._peer_port, self.port = free_port(), free_port(), free_port()
        self._etcd: subprocess.Popen[bytes] | None = None
        self._api: subprocess.Popen[bytes] | None = None
        url, token = f"https://127.0.0.1:{self.port}", secrets.token_hex(16)
        self._write_keys(token)
        self.url = url
        kubeconfig = self.write_kubeconfig("admin", token)
        super().__init__(url, token, self.folder / "ca.crt", kubeconfig, self.bin / "kubectl")

    def _write_keys(self, token: str) -> None:
        authority = Authority("ferry test kubernetes CA")
        serving, accounts = authority.sign("localhost", "127.0.0.1"), authority.sign("service-accounts")
        files = {
            "ca.crt": authority.certificate,
            "serving.crt": serving.certificate,
            "serving.key": serving.key,
            "accounts.key": accounts.key,
            "accounts.crt": accounts.certificate,
            "tokens.csv": f'{token},admin,admin,"system:masters"\n'.encode(),
        }
        for name, content in files.items():
            (self.folder / name).write_bytes(content)

    def write_kubeconfig(self, user: str, token: str) -> Path:
        """A kubeconfig that logs in as ``user`` with ``token``."""
        path = self.folder / f"{user}.kubeconfig"
        cluster = {"server": self.url, "certificate-authority": str(self.folder / "ca.crt")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        }
        path.write_text(yaml.safe_dump(config))
        return path

    # -- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._start_etcd()
        self.start_api()

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._peer_port))
        self._etcd = _spawn(
            [
                self._etcd_binary,
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--unsafe-no-fsync",  # temporary, so it does not matter what a power cut would lose
                "--logger=zap",
            ],
            self.folder / "etcd.log",
        )

    def start_api(self) -> None:
        """Start kube-apiserver, again after ``stop_api``; returns when it is ready."""
        self._api = _spawn(
            [
                str(self.bin / "kube-apiserver"),
                f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
                "--bind-address=127.0.0.1",
                f"--secure-port={self.port}",
                f"--tls-cert-file={self.folder / 'serving.crt'}",
                f"--tls-private-key-file={self.folder / 'serving.key'}",
                f"--token-auth-file={self.folder / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                # No controller creates the default ServiceAccounts that it would require.
                "--disable-admission-plugins=ServiceAccount",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={self.folder / 'accounts.crt'}",
                f"--service-account-signing-key-file={self.folder / 'accounts.key'}",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--endpoint-reconciler-type=none",
                "--shutdown-delay-duration=0s",
                *self._flags,
            ],
            self.folder / "kube-apiserver.log",
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._ready():
            if time.monotonic() > deadline or self._api.poll() is not None:
                raise AssertionError(f"kube-apiserver does not start:\n{self.log_tail()}")
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            return bool(self.request("GET", "/readyz", as_text=True) == "ok")
        except OSError:  # not listening yet, or urllib's HTTPError: not ready yet
            return False

    def compact(self) -> None:
        """Make etcd forget all but the newest versions, as kube-apiserver itself does every 5 min."""
        revision = self._etcd_gateway("/v3/kv/range", {"key": "AA=="})["header"]["revision"]
        self._etcd_gateway("/v3/kv/compaction", {"revision": revision, "physical": True})

    def _etcd_gateway(self, path: str, body: object) -> Any:
        url = f"http://127.0.0.1:{self._etcd_port}{path}"
        with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=60) as answer:
            return json.load(answer)

    def stop_api(self, *, kill: bool = False) -> None:
        """End kube-apiserver alone: for clients the API is unavailable."""
        _end(self._api, kill=kill)
        self._api = None

    def stop(self) -> None:
        """End both and delete their data."""
        self.stop_api(kill=True)
        _end(self._etcd, kill=True)
        self._etcd = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def log_tail(self) -> str:
        """The last lines of the logs."""
        logs = (self.folder / "etcd.log", self.folder / "kube-apiserver.log")
        return "\n".join("\n".join(log.read_text(errors="replace").splitlines()[-15:]) for log in logs if log.exists())


def _end(process: "subprocess.Popen[bytes] | None", *, kill: bool) -> None:
    if process is None:
        return
    if kill:
        process.kill()
    else:
        process.terminate()
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(PATIENCE_SECONDS)
