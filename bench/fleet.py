"""``make bench-fleet``: what a thousand Ferries cost the operator, and how soon a patch reaches a copier.

python bench/fleet.py [--ferries N]

Uses a real etcd and kube-apiserver, the operator in its own process, and simulated copiers in another one (TLS servers
that answer as a copier does). Prints a table, writes build/bench-fleet.json, and exits with 1 if a bound is missed.
docs/benchmarks.md explains the figures.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.table import Table

from bench.floors import Floor, show_floors
from tests.support.kube_api import KubeApi
from tests.support.kubelet import SPEC

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
PORT = 18080
MIB = 1 << 20
SETTLE_SECONDS = 20.0
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
rules: [{level: Metadata, omitStages: [RequestReceived, ResponseStarted]}]
"""


@dataclass(frozen=True)
class Cost:
    """What the operator used during one activity."""

    state: str
    rss_mib: float
    cores: float
    requests_per_second: float
    by_verb: dict[str, float]


@dataclass(frozen=True)
class Latency:
    """Time from a patch of spec.paused until the copier has the directive."""

    state: str
    patches: int
    p50_ms: float
    p99_ms: float
    worst_ms: float


@dataclass(frozen=True)
class Results:
    """Everything that one run measured."""

    ferries: int
    start_seconds: float
    costs: list[Cost]
    latencies: list[Latency]

    def cost(self, state: str) -> Cost:
        return next(each for each in self.costs if each.state == state)

    def floors(self) -> list[Floor]:
        bounds = {"running": (333, 0.5, 10), "idle": (190, 0.05, 1)}  # the memory limits are 350 and 200 MB
        floors = [
            Floor(f"{each.state}: patch to directive, p99", each.p99_ms, 2000, at_least=False, unit="ms")
            for each in self.latencies
        ]
        for state, (rss, cores, requests) in bounds.items():
            cost = self.cost(state)
            floors += [
                Floor(f"{state}: memory", cost.rss_mib, rss, at_least=False, unit="MiB"),
                Floor(f"{state}: CPU", cost.cores, cores, at_least=False, unit="cores"),
                Floor(f"{state}: API requests", cost.requests_per_second, requests, at_least=False, unit="/s"),
            ]
        return floors


class Farm:
    """The process of the copiers."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        script = str(ROOT / "bench" / "copier_farm.py")
        line = [sys.executable, script, api.url, api.token, str(api.folder / "ca.crt"), namespace]
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, what: str, **arguments: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class Operator:
    """The operator's process and its resource usage."""

    def __init__(self, api: KubeApi, log: Path) -> None:
        environment = os.environ | {
            "KUBECONFIG": str(api.kubeconfig),
            "FERRY_OPERATOR_NAMESPACE": "default",
            "FERRY_IMAGE": "localhost/mysql-ferry:bench",
            "FERRY_LISTEN": "127.0.0.1",
            "FERRY_PORT": str(PORT),
        }
        self._audit = log.with_name("audit.log")
        with log.open("w") as output:
            self.process = subprocess.Popen([sys.executable, "-m", "ferry_operator"], env=environment, stderr=output)

    def ready(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=5).status == 200)
        return False

    def measure(self, state: str, seconds: float) -> Cost:
        """Measure for that many seconds."""
        began, cpu, place = time.monotonic(), self._cpu_seconds(), self._audit.stat().st_size
        time.sleep(seconds)
        lasted = time.monotonic() - began
        used = self._cpu_seconds() - cpu
        verbs = self._requests(place)
        per_second = {verb: round(count / lasted, 3) for verb, count in verbs.items()}
        return Cost(state, self._rss_mib(), used / lasted, sum(verbs.values()) / lasted, per_second)

    def _rss_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def _cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _requests(self, place: int) -> dict[str, int]:
        """Requests of the operator in kube-apiserver's audit log, which records both of its clients."""
        found: dict[str, int] = {}
        with self._audit.open() as log:
            log.seek(place)
            for line in log:
                entry = json.loads(line)
                if entry["user"]["username"] == "admin" and "urllib" not in entry["userAgent"]:
                    what = (
                        f"{entry['verb']} {entry['objectRef']['resource']}/{entry['objectRef'].get('subresource', '')}"
                    )
                    found[what] = found.get(what, 0) + 1
        return found


@contextlib.contextmanager
def processes(folder: Path) -> Iterator[tuple[KubeApi, str, Farm, Operator]]:
    """Starts API server, copiers and operator; stops them at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    policy = folder / "audit-policy.yaml"
    policy.write_text(AUDIT_POLICY)
    api = KubeApi(f"--audit-policy-file={policy}", f"--audit-log-path={folder / 'audit.log'}")
    started: list[subprocess.Popen[Any]] = []
    try:
        api.start()
        api.install_crd()
        namespace = api.make_namespace("fleet")
        farm = Farm(api, namespace)
        started.append(farm.process)
        operator = Operator(api, folder / "operator.log")
        started.append(operator.process)
        yield api, namespace, farm, operator
    finally:
        for process in started:
            process.kill()
            process.wait()
        api.stop()


def wait(what: Callable[[], bool], seconds: float, name: str) -> None:
    """Wait until the condition is true."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise SystemExit(f"it did not come to be in {seconds:.0f} s: {name}")
        time.sleep(0.5)


def patch(api: KubeApi, namespace: str, name: str, spec: object) -> int:
    """Patch a Ferry; returns the new generation."""
    path = f"/apis/mysqlferry.io/v1alpha1/namespaces/{namespace}/ferries/{name}"
    body = api.request("PATCH", path, {"spec": spec}, content_type="application/merge-patch+json", seconds=60)
    return int(body["metadata"]["generation"])


def latency(api: KubeApi, namespace: str, farm: Farm, state: str, patches: int) -> Latency:
    """Ten patches a second, each of spec.paused of a different Ferry."""
    asked: dict[str, tuple[int, float]] = {}
    paused = state == "running"
    for number in range(patches):
        name = f"ferry-{number:04d}"
        began = time.monotonic()
        asked[name] = (patch(api, namespace, name, {"paused": paused}), began)
        time.sleep(max(0.0, began + 0.1 - time.monotonic()))

    def took() -> list[float]:
        told = farm.ask("told")
        found = []
        for name, (generation, began) in asked.items():
            at = [when for which, when in told[name] if which >= generation]
            found += [(at[0] - began) * 1000] if at else []
        return found

    wait(lambda: len(took()) == patches, 60, "every patch reaches its copier")
    found = sorted(took())
    for name in asked:
        patch(api, namespace, name, {"paused": not paused})
    cut = statistics.quantiles(found, n=100)
    return Latency(state, patches, cut[49], cut[98], found[-1])


def settled(api: KubeApi, namespace: str, phase: str) -> bool:
    """Whether every Ferry has this status and no request is in progress."""
    listed = api.request("GET", f"/apis/mysqlferry.io/v1alpha1/namespaces/{namespace}/ferries", seconds=60)
    return all(
        item["status"].get("phase") == phase
        and item["status"]["copier"].get("acknowledgedGeneration") == item["metadata"]["generation"]
        for item in listed["items"]
    )


def measure(ferries: int, seconds: float, folder: Path, say: Callable[[str], None]) -> Results:
    """The whole bench."""
    with processes(folder) as (api, namespace, farm, operator):
        wait(operator.ready, 60, "the operator is ready")
        costs = [operator.measure("no Ferries", 10)]
        began = time.monotonic()
        path = f"/apis/mysqlferry.io/v1alpha1/namespaces/{namespace}/ferries"
        for number in range(ferries):
            meta = {"name": f"ferry-{number:04d}"}
            body = {"apiVersion": "mysqlferry.io/v1alpha1", "kind": "Ferry", "metadata": meta, "spec": SPEC}
            api.request("POST", path, body, seconds=60)
        wait(lambda: bool(farm.ask("count") == ferries), 600, "every copier was told what to do")
        start_seconds = time.monotonic() - began
        say(f"{ferries} copiers run after {start_seconds:.0f} s")
        farm.ask("look", every=3600)
        farm.ask("stage", stage="Copying")
        farm.ask("move")
        wait(lambda: settled(api, namespace, "Copying"), 300, "every Ferry copies")
        time.sleep(SETTLE_SECONDS)
        costs.append(operator.measure("running", seconds))
        latencies = [latency(api, namespace, farm, "running", min(ferries, 300))]
        say(f"running: {costs[-1].rss_mib:.0f} MiB")
        farm.ask("rest")
        for number in range(ferries):
            patch(api, namespace, f"ferry-{number:04d}", {"paused": True})
        wait(lambda: settled(api, namespace, "Paused"), 300, "every Ferry is paused")
        time.sleep(SETTLE_SECONDS)
        costs.append(operator.measure("idle", seconds))
        latencies.append(latency(api, namespace, farm, "idle", min(ferries, 300)))
    return Results(ferries, start_seconds, costs, latencies)


def show(results: Results, console: Console) -> None:
    """Print tables, bounds and the estimate for ten thousand Ferries."""
    table = Table(title=f"{results.ferries:,} Ferries, one operator, {os.cpu_count()} cores for all")
    for heading in ("state", "memory MiB", "CPU cores", "API requests/s", "of which"):
        table.add_column(heading, justify="left" if heading == "state" else "right")
    for cost in results.costs:
        asked = ", ".join(f"{verb} {rate:.2f}" for verb, rate in sorted(cost.by_verb.items()))
        table.add_row(cost.state, f"{cost.rss_mib:.0f}", f"{cost.cores:.3f}", f"{cost.requests_per_second:.2f}", asked)
    console.print(table)
    for each in results.latencies:
        console.print(
            f"{each.state}: patch to directive p50 {each.p50_ms:.0f} ms, p99 {each.p99_ms:.0f} ms, "
            f"worst {each.worst_ms:.0f} ms of {each.patches}"
        )
    base = results.cost("no Ferries").rss_mib
    for state in ("idle", "running"):
        slope = (results.cost(state).rss_mib - base) / results.ferries
        console.print(
            f"{state}: {slope * 1024:.0f} KiB a Ferry; 10,000 on paper: {base + slope * 10_000:.0f} MiB, "
            f"{results.cost(state).cores / results.ferries * 10_000:.2f} cores"
        )
    show_floors(results.floors(), console)


def as_json(results: Results) -> str:
    """The content of build/bench-fleet.json."""
    floors = [asdict(floor) | {"reached": floor.reached} for floor in results.floors()]
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    return json.dumps({"machine": machine, **asdict(results), "floors": floors}, indent=2) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="what many Ferries cost the operator")
    parser.add_argument("--ferries", type=int, default=1000, help="how many (default 1,000)")
    parser.add_argument("--seconds", type=float, default=60, help="how long each state is measured (default 60)")
    options = parser.parse_args()
    console = Console()
    if (load := os.getloadavg()[0]) > 1:
        console.print(f"load average {load:.1f}: something else runs on this machine", style="dim")
    results = measure(
        options.ferries, options.seconds, BUILD / "bench-fleet", lambda text: console.print(text, style="dim")
    )
    (BUILD / "bench-fleet.json").write_text(as_json(results))
    show(results, console)
    return 0 if all(floor.reached for floor in results.floors()) else 1


if __name__ == "__main__":
    sys.exit(main())
