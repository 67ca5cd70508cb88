"""What tests say to a kube-apiserver, whichever it is: requests as admin, the real kubectl, and the CRD."""

import contextlib
import json
import secrets
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

CRD = Path(__file__).resolve().parents[2] / "deploy" / "crds" / "ferries.yaml"


class Admin:
    """Requests to an API server that runs, as somebody who may do everything."""

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
        seconds: float = 10,
    ) -> Any:
        """One request; raises urllib's HTTPError."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=seconds, context=self.tls) as answer:
            text = answer.read().decode()
        return text if as_text else json.loads(text)


class KubeClient(Admin):
    """The same with kubectl."""

    def __init__(self, url: str, token: str, authority: Path, kubeconfig: Path, kubectl: Path) -> None:
        super().__init__(url, token, authority)
        self.kubeconfig = kubeconfig
        self._kubectl = kubectl

    def kubectl(
        self, *arguments: str, given: object = None, kubeconfig: Path | None = None, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """The real kubectl; ``given`` goes to its standard input as YAML."""
        line = [str(self._kubectl), f"--kubeconfig={kubeconfig or self.kubeconfig}", *arguments]
        text = None if given is None else yaml.safe_dump(given)
        done = subprocess.run(line, input=text, capture_output=True, text=True, check=False, timeout=60)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done

    def install_crd(self) -> None:
        """What a user does first; returns once the API serves Ferries."""
        self.kubectl("apply", "--server-side", "-f", str(CRD))
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.HTTPError):
                self.request("GET", "/apis/mysqlferry.io/v1alpha1/ferries")
                return
            time.sleep(0.05)
        raise AssertionError("the API does not serve Ferries")

    def remove_crd(self) -> None:
        """With all Ferries, whoever holds on to them by a finalizer."""
        path = "/apis/mysqlferry.io/v1alpha1"
        with contextlib.suppress(urllib.error.HTTPError):
            for meta in (each["metadata"] for each in self.request("GET", f"{path}/ferries")["items"]):
                one = f"{path}/namespaces/{meta['namespace']}/ferries/{meta['name']}"
                let_go = {"metadata": {"finalizers": None}}
                self.request("PATCH", one, let_go, content_type="application/merge-patch+json")
        self.kubectl("delete", "crd", "ferries.mysqlferry.io", "--ignore-not-found")

    def make_namespace(self, prefix: str) -> str:
        """A namespace of the test's own. Nothing would end it, so it stays until the API server goes."""
        name = f"{prefix}-{secrets.token_hex(3)}"
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name
