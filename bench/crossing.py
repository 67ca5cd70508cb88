"""Runs ``ferry run`` as a user would, in a process of its own, and watches it through its ControlServer.

Called by ``bench/run.py``. The copy is timed from the start of the process, so it includes reading the manifest,
preflight and creating the table, as for the rival tools. It ends when the stage is no longer Copying.
"""

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from bench.dataset import SCHEMA, TABLE
from bench.rivals import Ended, Measured, reap
from hack.servers import Instance

LOOK_SECONDS = 0.05
BEFORE_STREAMING = {"Pending", "Validating", "Copying"}


@dataclass
class Watch:
    """Times of one run, in seconds since the process started, observed from outside."""

    started: float = field(default_factory=time.monotonic)
    copying: float | None = None
    copied: float | None = None
    verified: float | None = None

    def see(self, report: dict[str, object], rows: int) -> None:
        """``report`` is the JSON of GET /api/v1/status."""
        now = time.monotonic() - self.started
        stage = report["stage"]
        if stage == "Copying" and self.copying is None:
            self.copying = now
        if stage not in BEFORE_STREAMING and self.copied is None:
            self.copied = now
        verification = report["verification"]
        assert isinstance(verification, dict)
        if self.verified is None and verification["rowsVerified"] >= rows:
            self.verified = now


@dataclass(frozen=True)
class Crossed:
    """One finished ``ferry run``."""

    copy: Measured  # seconds are for the copy; CPU and memory for the whole run
    verify_seconds: float | None


def cross(source: Instance, target: Instance, folder: Path, rows: int, *, verify: bool) -> Crossed:
    """Move the bench's table with 4 workers. Nothing writes to the source."""
    name = "verified" if verify else "copy-only"
    manifest = folder / f"{name}.yaml"
    manifest.write_text(yaml.safe_dump_all(_documents(source, target, name, verify=verify)))
    log = folder / f"{name}.log"
    port = _free_port()
    command = [sys.executable, "-m", "ferry_core", "run", "-f", str(manifest), "--progress", "none"]
    command += ["--state", str(folder / f"{name}.ferry.db")]
    watch = Watch()
    ended = threading.Event()
    with log.open("wb") as output:
        child = subprocess.Popen([*command, "--listen", f"127.0.0.1:{port}"], stdout=output, stderr=output)
    looker = threading.Thread(target=_look, args=(watch, port, rows, ended))
    looker.start()
    try:
        usage = reap(child, log)
    finally:
        ended.set()
        looker.join()
    return _crossed(watch, usage, verify=verify)


def _crossed(watch: Watch, usage: Ended, *, verify: bool) -> Crossed:
    if watch.copied is None:
        raise AssertionError("the run ended without a look at it after the copy")
    label = "ferry run, verify Final" if verify else "ferry run"
    copy = Measured(label, watch.copied, usage.cpu_seconds, usage.peak_bytes)
    verified = watch.verified - watch.copied if watch.verified is not None else None
    return Crossed(copy, verified)


def _look(watch: Watch, port: int, rows: int, ended: threading.Event) -> None:
    while not ended.wait(LOOK_SECONDS):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/status", timeout=5) as answer:
                report = json.load(answer)
        except OSError:
            continue  # not listening yet, or no longer
        watch.see(report, rows)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _documents(source: Instance, target: Instance, name: str, *, verify: bool) -> list[dict[str, object]]:
    spec: dict[str, object] = {
        "source": _server(source, "source"),
        "target": _server(target, "target"),
        "tables": {"include": [f"{SCHEMA}.{TABLE}"]},
        "copy": {"workers": 4},
        "verify": {"mode": "Final" if verify else "None", "onMismatch": "Fail"},
        "cutover": {"mode": "Automatic", "sourceLock": "None", "watchFor": "0s"},
        "acknowledge": [] if verify else ["Unverified"],
    }
    metadata = {"name": f"bench-{name}", "namespace": "bench"}
    ferry: dict[str, object] = {
        "apiVersion": "mysqlferry.io/v1alpha1",
        "kind": "Ferry",
        "metadata": metadata,
        "spec": spec,
    }
    return [ferry, _secret(source, "source"), _secret(target, "target")]


def _server(server: Instance, role: str) -> dict[str, object]:
    return {
        "host": server.host,
        "port": server.port,
        "credentialsSecretRef": {"name": role},
        "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True},
    }


def _secret(server: Instance, role: str) -> dict[str, object]:
    data = {"username": server.user, "password": server.password}
    metadata = {"name": role, "namespace": "bench"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


def forget(folder: Path) -> None:
    """Remove the files that runs of this bench left in the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
