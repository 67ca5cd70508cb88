"""A whole one-node Kubernetes starts, its Pods reach this machine and are reached from it, and it leaves nothing."""

import contextlib
import functools
import http.server
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.installing import Unavailable
from hack.kubernetes import cluster as clusters
from hack.kubernetes.cluster import Cluster, Parts
from hack.kubernetes.images import write_image
from hack.servers import ProcessId
from tests.support.kube_api import refuse
from tests.support.waits import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - name: web
    image: localhost/box:1
    command: [/bin/sh, -c, "echo hello from a Pod > /said; exec /bin/busybox httpd -f -p 8000 -h /"]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8000}]}
"""
_ORPHAN = """
import sys
from hack.kubernetes.cluster import create

cluster = create(sys.argv[1], owned=True)
print(cluster.init.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        parts = Parts.provide()
    except Unavailable as error:
        refuse(str(error))
    image = tmp_path_factory.mktemp("image") / "box.tar"
    busybox = parts.debian / "bin/busybox"
    files = {f"/bin/{name}": busybox for name in ("busybox", "sh", "wget")}
    write_image(image, "localhost/box:1", files, ["/bin/sh"])
    made = clusters.create(f"test-{os.getpid()}", image, owned=True)
    yield made
    made.remove()


@pytest.fixture(scope="module")
def pod(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A web server in the cluster, behind a Service."""
    manifest = tmp_path_factory.mktemp("pod") / "pod.yaml"
    manifest.write_text(POD)
    cluster.kubectl("apply", "-f", str(manifest))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=180s")
    service = cluster.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}:80")
    # kube-proxy applies a Service's rules some time after the Pod is ready.
    wait_until(lambda: _answer(service, 2) is not None, "the Service answers", 180)
    return "web"


def _answer(address: str, timeout: float = 60) -> bytes | None:
    """The web server's answer, or None."""
    try:
        with urllib.request.urlopen(f"http://{address}/said", timeout=timeout) as answer:
            return bytes(answer.read())
    except OSError:
        return None


def _left(cluster: Cluster) -> list[str]:
    """What is left of it on this machine."""
    cgroups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/ferry-{cluster.name}")]
    links = [name for _, name in socket.if_nameindex() if name == cluster.network.link]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(cluster.folder) in line]
    folder = [str(cluster.folder)] if cluster.folder.exists() else []
    return [*cgroups, *links, *mounts, *folder]


@contextlib.contextmanager
def _web_server(address: str, folder: Path) -> Iterator[int]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer((address, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_pods_and_services_are_reached_from_this_machine(cluster: Cluster, pod: str) -> None:
    addresses = (
        cluster.kubectl("get", "pod", pod, "-o", "jsonpath={.status.podIP}:8000"),
        cluster.kubectl("get", "service", pod, "-o", "jsonpath={.spec.clusterIP}:80"),
    )
    for address in addresses:
        assert _answer(address) == b"hello from a Pod\n"


def test_pods_reach_services_by_name_and_this_machine_by_address(cluster: Cluster, pod: str, tmp_path: Path) -> None:
    by_name = ("exec", pod, "--", "wget", "-qO-", "http://web.default.svc/said")
    wait_until(lambda: cluster.kubectl(*by_name, check=False) == "hello from a Pod", "the name is resolved", 180)
    assert "bad address" in cluster.kubectl("exec", pod, "--", "wget", "-qO-", "http://nowhere.example", check=False)
    (tmp_path / "said").write_text("hello from here")
    with _web_server(cluster.gateway, tmp_path) as port:
        said = cluster.kubectl("exec", pod, "--", "wget", "-qO-", f"http://{cluster.gateway}:{port}/said")
    assert said == "hello from here"


def test_a_program_that_ends_is_started_again(cluster: Cluster) -> None:
    pid = cluster.folder / "pid" / "kube-scheduler"
    before = pid.read_text()
    cluster.signal("kube-scheduler", "KILL")
    while pid.read_text() in (before, ""):
        assert cluster.init.alive


def test_a_cluster_can_be_removed_beside_another_and_leaves_nothing(cluster: Cluster, pod: str) -> None:
    other = clusters.create(f"other-{os.getpid()}", owned=True)
    assert len(_left(other)) > 2
    other.remove()
    assert _left(other) == []
    assert cluster.kubectl("exec", pod, "--", "wget", "-qO-", "http://web.default.svc/said") == "hello from a Pod"


def test_the_cluster_of_a_killed_process_ends_with_it(cluster: Cluster) -> None:
    name = f"orphan-{os.getpid()}"
    line = [sys.executable, "-c", _ORPHAN, name]
    with subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        init = ProcessId.of(int(process.stdout.readline()))
        assert init is not None
        orphan = next(each for each in clusters.clusters() if each.name == name)
        process.kill()
    clusters.sweep()
    assert not init.alive
    assert _left(orphan) == []
    assert cluster.init.alive
