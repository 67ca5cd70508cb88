"""A whole Kubernetes with the operator in it, as a user gets it: image and chart of this clone, one for the session.

``FERRY_TEST_CLUSTER=NAME`` keeps it for the next session, which saves half a minute. Pods run here for real; database
servers run beside the cluster, on the address of this machine that Pods reach. The fixtures are in
``tests/e2e/kubernetes/conftest.py``.
"""

import base64
import contextlib
import functools
import os
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from hack.installing import Unavailable
from hack.kubernetes import cluster as clusters
from tests.support.kube_api import KubeClient, refuse

OPERATOR_NAMESPACE = "ferry-system"
IMAGE = "localhost/mysql-ferry:dev"
ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "ferry"


@functools.cache
def image_archive() -> Path:
    """The OCI archive of the image under test, built once per session by the script of ``make image``.

    If it cannot be built: skips with a message, or fails on a CI machine.
    """
    if os.geteuid() != 0:
        refuse("NO IMAGE, ITS TESTS DO NOT RUN: building it needs root")
    built = subprocess.run([ROOT / "hack/image.sh"], capture_output=True, text=True, check=False)
    if built.returncode:
        refuse(f"NO IMAGE, ITS TESTS DO NOT RUN: hack/image.sh ended with {built.returncode}:\n{built.stderr[-2000:]}")
    return ROOT / built.stdout.split()[-1]


class WholeCluster(KubeClient):
    """The session's cluster, and faults that are caused from outside of Kubernetes."""

    def __init__(self, *, policies: bool = False) -> None:
        """With ``policies`` its network enforces NetworkPolicies."""
        archive = image_archive()
        kept = os.environ.get("FERRY_TEST_CLUSTER")
        self.keep = kept is not None
        try:
            found = clusters.find(kept) if kept else None
            if found is not None:
                found.load(archive)
            self.machine = found or clusters.create(
                kept or f"e2e-{os.getpid()}", archive, owned=not kept, policies=policies
            )
        except Unavailable as error:
            refuse(f"NO KUBERNETES, ITS TESTS DO NOT RUN: {error}")
        config = yaml.safe_load(self.machine.kubeconfig.read_text())
        reached = config["clusters"][0]["cluster"]
        authority = self.machine.folder / "admin-ca.crt"
        authority.write_bytes(base64.b64decode(reached["certificate-authority-data"]))
        token = config["users"][0]["user"]["token"]
        super().__init__(reached["server"], token, authority, self.machine.kubeconfig, clusters.kubectl_path())

    @property
    def gateway(self) -> str:
        """The address of this machine that Pods can reach."""
        return self.machine.gateway

    def install_operator(self, chart: Path = CHART, tag: str = "dev") -> None:
        """With the chart, overriding foreign changes; returns once the operator is ready."""
        line = ("upgrade", "--install", "ferry", str(chart), "--create-namespace", "--force-conflicts")
        self.helm(*line, f"--set=image.tag={tag}")
        if self.keep:  # the same tag may be another image now
            self.roll_operator()
        self.await_operator()

    def await_operator(self) -> None:
        wait = ("rollout", "status", "deployment/ferry-operator", "-n", OPERATOR_NAMESPACE, "--timeout=170s")
        done = self.kubectl(*wait, check=False)
        assert done.returncode == 0, f"{done.stderr}\n{self.operator_log()}"

    def helm(self, *arguments: str) -> str:
        """The real helm, in the operator's namespace."""
        found = subprocess.run([ROOT / "hack/kubernetes/helm.sh"], stdout=subprocess.PIPE, text=True, check=True)
        line = [found.stdout.strip(), f"--kubeconfig={self.kubeconfig}", f"--namespace={OPERATOR_NAMESPACE}"]
        done = subprocess.run([*line, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(f"helm {' '.join(arguments)}: {done.stderr}\n{self.operator_log()}")
        return done.stdout

    @contextlib.contextmanager
    def operators(self, number: int) -> Iterator[None]:
        """Run so many operators instead of one, until the end of the block."""
        try:
            self._scale(number)
            yield
        finally:
            self._scale(1)

    def _scale(self, number: int) -> None:
        self.kubectl("scale", "deployment/ferry-operator", f"--replicas={number}", "-n", OPERATOR_NAMESPACE)
        self.await_operator()
        if not number:  # the Pod works until it ends
            pods = ("pods", "--selector=app.kubernetes.io/component=operator", "-n", OPERATOR_NAMESPACE)
            self.kubectl("wait", "--for=delete", *pods, "--timeout=170s")

    @contextlib.contextmanager
    def without_crd(self) -> Iterator[None]:
        """Inside, an operator runs without its CRD, which is installed at the end of the block."""
        self.kubectl("wait", "--for=delete", "ferries", "--all", "--all-namespaces", "--timeout=170s")
        scale = ("scale", "deployment/ferry-operator", "-n", OPERATOR_NAMESPACE)
        try:
            self.kubectl(*scale, "--replicas=0")
            self.kubectl("delete", "crd", "ferries.mysqlferry.io")
            self.kubectl(*scale, "--replicas=1")
            yield
        finally:
            self.install_operator()

    def roll_operator(self) -> None:
        """``kubectl rollout restart``; returns once another Pod is ready."""
        self.kubectl("rollout", "restart", "deployment/ferry-operator", "-n", OPERATOR_NAMESPACE)
        self.await_operator()

    def restart_operator(self) -> None:
        """Delete its Pod, as when its node is drained."""
        self.kubectl("delete", "pod", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/component=operator")
        self.await_operator()

    def kill_operator(self) -> None:
        """With kill -9. Another Pod takes over at once, without the kubelet's restart delay."""
        of_it = ("-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/component=operator")
        self.kubectl("delete", "pod", *of_it, "--grace-period=0", "--force", "--wait=false")

    @contextlib.contextmanager
    def another_node(self) -> Iterator[None]:
        """A simulated one that only sends heartbeats and accepts no Pods. If no node at all answers, Kubernetes assumes
        that it is cut off itself, and gives none of them up.
        """
        node, beating = "/api/v1/nodes/elsewhere", threading.Event()

        def beat() -> None:
            ready = {"type": "Ready", "status": "True", "reason": "Here", "message": "its heart beats"}
            while not beating.wait(1):
                ready["lastHeartbeatTime"] = f"{datetime.now(UTC):%FT%TZ}"
                body = {"status": {"conditions": [ready]}}
                with contextlib.suppress(OSError):  # a beat may be missed: ten make a node that does not answer
                    self.request("PATCH", f"{node}/status", body, content_type="application/strategic-merge-patch+json")

        taint = {"key": "elsewhere", "effect": "NoSchedule"}
        self.request("POST", "/api/v1/nodes", {"metadata": {"name": "elsewhere"}, "spec": {"taints": [taint]}})
        thread = threading.Thread(target=beat, name="heartbeat")
        thread.start()
        try:
            self.kubectl("wait", "--for=condition=Ready", "node/elsewhere", "--timeout=170s")
            yield
        finally:
            beating.set()
            thread.join()
            self.request("DELETE", node)

    def signal_operator(self, signal: str) -> None:
        """Send a signal to the operator's process, from outside."""
        self.kill_process(OPERATOR_NAMESPACE, self._operator_pod["metadata"]["name"], signal)

    @property
    def operator_restarts(self) -> int:
        """Restarts of the container in its Pod."""
        return int(self._operator_pod["status"]["containerStatuses"][0]["restartCount"])

    @property
    def _operator_pod(self) -> Any:
        selector = "labelSelector=app.kubernetes.io/component=operator"
        (pod,) = self.request("GET", f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods?{selector}")["items"]
        return pod

    def operator_log(self, lines: int = 40) -> str:
        """The end of the operator's log, and of the previous process's if it was restarted."""
        # By itself kubectl waits for a Pod for 20 s where there is none.
        logs = ("logs", "deployment/ferry-operator", "-n", OPERATOR_NAMESPACE, "--pod-running-timeout=1s")
        said = [self.kubectl(*logs, f"--tail={lines}", *more, check=False) for more in (("--previous",), ())]
        return "\n".join(each.stdout for each in said)

    def kill_process(self, namespace: str, pod: str, signal: str = "KILL") -> None:
        """Send a signal to the process of a Pod's one container, from outside as the kernel would."""
        status: Any = self.request("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}")["status"]
        container = status["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        self.machine.signal_container(container, signal)

    def close(self) -> None:
        if not self.keep:
            self.machine.remove()
