"""A real validating webhook that decides about copiers' Pods: it denies them, does not answer, and lets them in."""

import base64
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ferry_operator.conftest import CUT_CONNECTIONS, Cluster
from tests.support.kube_api import Authority
from tests.support.kubelet import Kubelet
from tests.support.waits import PATIENCE_SECONDS, wait_until

pytestmark = [pytest.mark.usefixtures("operator", "hasty"), CUT_CONNECTIONS]

HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
HOST = "127.0.0.1"


class Webhook(http.server.ThreadingHTTPServer):
    """Allows Pods unless ``why`` says why not. While ``answers`` is not set it is silent."""

    def __init__(self) -> None:
        super().__init__((HOST, 0), Handler)
        self.why = ""
        self.answers = threading.Event()
        self.answers.set()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
        self.server.answers.wait(PATIENCE_SECONDS)
        why = self.server.why
        response = {"uid": request["uid"], "allowed": not why} | ({"status": {"message": why}} if why else {})
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """The test says what went wrong."""


@contextmanager
def webhook(cluster: Cluster, folder: Path) -> Iterator[Webhook]:
    """Registered for the namespace's Pods until the end of the block."""
    authority = Authority()
    signed = authority.sign("webhook", HOST)
    (folder / "tls.crt").write_bytes(signed.certificate)
    (folder / "tls.key").write_bytes(signed.key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    with Webhook() as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        hook = {
            "name": "pods.example.com",
            "clientConfig": {
                "url": f"https://{HOST}:{server.server_port}/",
                "caBundle": base64.b64encode(authority.certificate).decode(),
            },
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": cluster.namespace}},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 1,
        }
        cluster.api.request("POST", HOOKS, {"metadata": {"name": cluster.namespace}, "webhooks": [hook]})
        try:
            yield server
        finally:
            server.answers.set()
            cluster.api.request("DELETE", f"{HOOKS}/{cluster.namespace}")
            server.shutdown()
            thread.join()


def refuses_pods(cluster: Cluster) -> bool:
    """The API server learns of a new webhook a moment later."""
    probe = {"metadata": {"name": "probe"}, "spec": {"containers": [{"name": "probe", "image": "none"}]}}
    try:
        cluster.api.request("POST", f"{cluster.pods}?dryRun=All", probe)
    except OSError:
        return True
    return False


def test_a_webhook_that_denies_or_does_not_answer_is_reported_and_obeyed(
    cluster: Cluster, kubelet: Kubelet, tmp_path: Path
) -> None:
    with webhook(cluster, tmp_path) as hook:
        hook.why = "no Pods on Sundays"
        wait_until(lambda: refuses_pods(cluster), "the webhook is in force")
        cluster.apply("orders")
        wait_until(lambda: "no Pods on Sundays" in cluster.status("orders").get("message", ""))
        assert 'admission webhook "pods.example.com" denied the request' in cluster.status("orders")["message"]
        assert cluster.condition("orders", "Stalled")["reason"] == "PodRefused"
        assert cluster.pod("orders-copier") is None

        hook.answers.clear()
        wait_until(lambda: "failed calling webhook" in cluster.status("orders")["message"])
        assert cluster.pod("orders-copier") is None

        hook.why = ""
        hook.answers.set()
        kubelet.copier("orders")
        wait_until(lambda: cluster.condition("orders", "Stalled").get("status") == "False")
