"""``ferry run`` as a user runs it: a process of its own, a manifest on disk, its ControlServer on a free port."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from tests.support.manifests import ferry_between, write
from tests.support.servers import Pair, free_port

ROOT = Path(__file__).parents[2]


class FerryProcess:
    """Started and started again over the same state. ``spec`` are sections of the manifest's spec."""

    def __init__(self, folder: Path, pair: Pair, *, target_port: int | None = None, **spec: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        target = pair.target.endpoint("target")
        documents = ferry_between(pair.source.endpoint(), target, **spec)
        if target_port is not None:
            documents[0]["spec"]["target"]["port"] = target_port
        self.manifest = write(folder, *documents)
        self.state = folder / "state.ferry.db"
        self.log = folder / "ferry.log"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.arguments = ["--state", str(self.state)]
        self.options: list[str] = []
        """Further ones, for example --take-over."""

    def start(self) -> Self:
        """Start, or start again after an end."""
        assert self.process is None or self.process.poll() is not None, "it still runs"
        self.starts += 1
        with self.log.open("ab") as log:
            log.write(f"--- start {self.starts}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "ferry_core", "run", "-f", str(self.manifest)),
                    *("--listen", f"127.0.0.1:{self.port}", "--progress", "plain", *self.arguments, *self.options),
                ],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    # -- its API --------------------------------------------------------------------------------------------------

    def get(self, path: str) -> Any:
        """JSON of a GET; raises OSError while nobody answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return json.load(answer)

    def post(self, verb: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1/{verb}",
            data=json.dumps(body or {}).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def status(self) -> dict[str, Any]:
        """The report; empty while the server does not answer."""
        with contextlib.suppress(OSError, urllib.error.URLError):
            found: dict[str, Any] = self.get("/api/v1/status")
            return found
        return {}

    # -- waiting --------------------------------------------------------------------------------------------------

    def wait_status(self, reached: Callable[[dict[str, Any]], bool], seconds: float = 120) -> dict[str, Any]:
        """Until a report satisfies ``reached``; fails with the log if the process ends or time is up."""
        for status in self._reports(seconds):
            if status and reached(status):
                return status
        raise AssertionError(f"not reached within {seconds} s; last: {self.status()}\n{self.tail()}")

    def wait_stage(self, *stages: str, seconds: float = 120) -> dict[str, Any]:
        return self.wait_status(lambda status: status["stage"] in stages, seconds)

    def _reports(self, seconds: float) -> Iterator[dict[str, Any]]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process is not None
            yield self.status()
            if self.process.poll() is not None:
                raise AssertionError(f"ferry ended with {self.process.returncode} meanwhile\n{self.tail()}")
            time.sleep(0.01)

    def wait_end(self, seconds: float = 180) -> int:
        """The exit code."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            raise AssertionError(f"still running after {seconds} s: {self.status()}\n{self.tail()}") from None

    def succeed(self, seconds: float = 180) -> None:
        """It must end with 0."""
        code = self.wait_end(seconds)
        assert code == 0, f"exit code {code}\n{self.tail()}"

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self) -> float:
        """SIGTERM; returns how many seconds the end took. The exit code must be 143."""
        assert self.process is not None
        began = time.monotonic()
        self.process.terminate()
        code = self.wait_end(60)
        took = time.monotonic() - began
        assert code == 143, f"exit code {code}\n{self.tail()}"
        return took

    def tail(self, lines: int = 60) -> str:
        """The end of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
