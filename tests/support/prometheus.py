"""A real Prometheus that scrapes what the chart's PodMonitors select, as the Prometheus operator would.

Each PodMonitor becomes one scrape configuration with the same selectors, port, labels and relabelings. Debian's build
cannot discover Pods: ``discover`` writes the targets to a file which Prometheus watches.
"""

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from hack.chart import ROOT
from tests.support.servers import free_port
from tests.support.waits import wait_until

Object = dict[str, Any]
RULES = ROOT / "deploy" / "monitoring" / "rules" / "mysql-ferry.yaml"


def program(name: str) -> Path:
    """``prometheus`` or ``promtool``, from Debian's package, unpacked into the cache folder."""
    script = ROOT / "hack" / "kubernetes" / "debian.sh"
    folder = subprocess.run([script, "prometheus"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return Path(folder, "usr", "bin", name)


def discover(pods: Sequence[Object]) -> list[Object]:
    """The targets of these Pods, with the labels that Prometheus' own discovery gives them."""
    return [
        {
            "targets": [f"{pod['status']['podIP']}:{port['containerPort']}"],
            "labels": {
                "__meta_kubernetes_namespace": pod["metadata"]["namespace"],
                "__meta_kubernetes_pod_name": pod["metadata"]["name"],
                "__meta_kubernetes_pod_container_port_name": port.get("name", ""),
                **{_pod_label(name): value for name, value in pod["metadata"].get("labels", {}).items()},
            },
        }
        for pod in pods
        if pod["status"].get("podIP")
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
    ]


def _pod_label(name: str) -> str:
    return "__meta_kubernetes_pod_label_" + re.sub(r"[^a-zA-Z0-9_]", "_", name)


def scrape_configuration(monitor: Object, targets: Path) -> Object:
    """The scrape configuration that the Prometheus operator would generate from a PodMonitor, with a scrape every
    second.
    """
    spec = monitor["spec"]
    (endpoint,) = spec["podMetricsEndpoints"]
    names = spec.get("namespaceSelector", {"matchNames": [monitor["metadata"]["namespace"]]})
    keep = [
        {"source_labels": [_pod_label(label)], "regex": value}
        for label, value in spec["selector"]["matchLabels"].items()
    ]
    if not names.get("any"):
        keep.append({"source_labels": ["__meta_kubernetes_namespace"], "regex": "|".join(names["matchNames"])})
    keep.append({"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": endpoint["port"]})
    relabelings = [
        {"source_labels": each["sourceLabels"], "target_label": each["targetLabel"]}
        for each in endpoint.get("relabelings", ())
    ]
    return {
        "job_name": monitor["metadata"]["name"],
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "honor_labels": endpoint["honorLabels"],
        "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}],
        "relabel_configs": [
            *({"action": "keep"} | each for each in keep),
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
            *relabelings,
        ],
    }


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int, targets: Path) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._targets = targets

    def discover(self, pods: Sequence[Object]) -> None:
        """Scrape those of these Pods that the PodMonitors select."""
        written = self._targets.with_suffix(".tmp")
        written.write_text(json.dumps(discover(pods)))
        written.rename(self._targets)

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=60) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def query(self, expression: str) -> list[Object]:
        """The current series of an expression. Fails if it is not a valid expression."""
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self._url}/api/v1/query?{query}", timeout=60) as answer:
            found: list[Object] = json.load(answer)["data"]["result"]
        return found

    def history(self, expression: str, seconds: float) -> list[Object]:
        """The series of an expression over the last seconds, in 200 steps."""
        now = time.time()
        span = {"start": now - seconds, "end": now, "step": max(seconds / 200, 1)}
        query = urllib.parse.urlencode({"query": expression} | span)
        with urllib.request.urlopen(f"{self._url}/api/v1/query_range?{query}", timeout=60) as answer:
            found: list[Object] = json.load(answer)["data"]["result"]
        return found


@contextmanager
def prometheus(monitors: Sequence[Object], folder: Path) -> Iterator[Prometheus]:
    """Scrapes until the end of the block."""
    port = free_port()
    configuration, targets = folder / "prometheus.yml", folder / "targets.json"
    content = {
        "global": {"evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [scrape_configuration(monitor, targets) for monitor in monitors],
    }
    configuration.write_text(yaml.safe_dump(content))
    log = folder / "prometheus.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stderr=output,
        )
    try:
        running = Prometheus(port, targets)
        wait_until(lambda: process.poll() is not None or running.ready(), "Prometheus is ready", 120)
        assert process.poll() is None, log.read_text()
        yield running
    finally:
        process.terminate()
        process.wait(60)
