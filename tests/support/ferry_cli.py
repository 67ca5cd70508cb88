"""The ``ferry`` command between two real servers, as a user types it.

``FerryCli`` is a manifest that tests may change, and commands on it that run to their end. ``FerryProcess`` is one
``ferry run`` in the background with its ControlServer on a free port.
"""

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import yaml

from ferry_core.api.spec import Ferry, ferry_uid
from tests.support.manifests import Data, ferry_between, write
from tests.support.servers import Pair, free_port

ROOT = Path(__file__).parents[2]
STREAMING = ("Streaming", "ReadyForCutover")
LONG_SECONDS = 300.0
"""What a whole phase of a run may take on a busy machine."""
_FAILURE = re.compile(r"^ferry: ([A-Z][A-Za-z]+): ", re.MULTILINE)


@dataclass(frozen=True)
class Ended:
    """The result of a finished command."""

    code: int
    stdout: str
    stderr: str

    @property
    def failures(self) -> list[str]:
        """Its error lines: ``ferry: Reason: ...``."""
        return [line for line in self.stderr.splitlines() if _FAILURE.match(line)]

    def refused(self, code: int, reason: str, *words: str) -> str:
        """Asserts this exit code and one line with this reason that contains all ``words``; returns the line."""
        shown = f"exit {self.code}\n{self.stdout}\n{self.stderr}"
        assert self.code == code, shown
        assert "Traceback" not in self.stdout + self.stderr, shown
        assert len(self.failures) == 1, shown
        line = self.failures[0]
        assert line.startswith(f"ferry: {reason}: "), shown
        for word in words:
            assert word in line, f"{word!r} is not in: {line}"
        return line


def ferry(*arguments: str, cwd: Path, seconds: float = LONG_SECONDS) -> Ended:
    """Run the command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "ferry_core", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


class Process(Protocol):
    """The used part of ``subprocess.Popen``."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, _number: int, /) -> None: ...

    def kill(self) -> None: ...

    def terminate(self) -> None: ...


def _launch(arguments: list[str], log: Path) -> Process:
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "ferry_core", *arguments],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )


class FerryProcess:
    """Started again and again over the same state. ``spec`` are sections of the manifest's spec."""

    def __init__(self, folder: Path, pair: Pair, *, target_port: int | None = None, **spec: Any) -> None:
        """``spec`` is merged over the defaults: manual cutover, no watching after it, small chunks.

        It has an identity of its own, because a target remembers the Ferries that were cut over to it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        defaults = {"cutover": {"mode": "Manual", "watchFor": "0s"}, "copy": {"chunkTargetBytes": "64Ki"}}
        target = pair.target.endpoint("target")
        documents = ferry_between(pair.source.endpoint(), target, **(defaults | spec))
        documents[0]["metadata"]["uid"] = str(uuid.uuid4())
        if target_port is not None:
            documents[0]["spec"]["target"]["port"] = target_port
        self.manifest = write(folder, *documents)
        self.state = folder / "state.ferry.db"
        self.log = folder / "ferry.log"
        self.host = "127.0.0.1"
        self.port = free_port()
        self.process: Process | None = None
        self.launch: Callable[[list[str], Path], Process] = _launch
        """Begins ``ferry`` with these arguments, and its output at the end of that file."""
        self.starts = 0
        self.arguments = ["--state", str(self.state)]
        self.options: list[str] = []
        """Further options, for example --take-over."""

    def edit(self, change: Any) -> None:
        """Change the manifest's documents on disk."""
        documents = list(yaml.safe_load_all(self.manifest.read_text()))
        change(documents)
        partial = self.manifest.with_suffix(".partial")  # a copier may start meanwhile
        partial.write_text(yaml.safe_dump_all(documents, allow_unicode=True))
        partial.replace(self.manifest)

    def start(self) -> Self:
        """Start, or start again after an end."""
        assert self.process is None or self.process.poll() is not None, "it still runs"
        self.starts += 1
        with self.log.open("ab") as log:
            log.write(f"--- start {self.starts}\n".encode())
        given = ["run", "-f", str(self.manifest), "--listen", f"{self.host}:{self.port}", "--progress", "plain"]
        self.process = self.launch([*given, *self.arguments, *self.options], self.log)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    # -- its API --------------------------------------------------------------------------------------------------

    def get(self, path: str) -> Any:
        """JSON of a GET; raises OSError while nothing answers."""
        with urllib.request.urlopen(f"http://{self.host}:{self.port}{path}", timeout=60) as answer:
            return json.load(answer)

    def post(self, verb: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"http://{self.host}:{self.port}/api/v1/{verb}",
            data=json.dumps(body or {}).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def status(self) -> dict[str, Any]:
        """The report; empty while the server does not answer."""
        with contextlib.suppress(OSError, urllib.error.URLError):
            found: dict[str, Any] = self.get("/api/v1/status")
            return found
        return {}

    # -- waiting --------------------------------------------------------------------------------------------------

    def wait_status(self, reached: Callable[[dict[str, Any]], bool], seconds: float = LONG_SECONDS) -> dict[str, Any]:
        """Wait until a report satisfies ``reached``. Fails with the log if the process ends or time is up."""
        for status in self._reports(seconds):
            if status and reached(status):
                return status
        raise AssertionError(f"not reached within {seconds} s; last: {self.status()}\n{self.tail()}")

    def wait_stage(self, *stages: str, seconds: float = LONG_SECONDS) -> dict[str, Any]:
        return self.wait_status(lambda status: status["stage"] in stages, seconds)

    def _reports(self, seconds: float) -> Iterator[dict[str, Any]]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process is not None
            yield self.status()
            if self.process.poll() is not None:
                raise AssertionError(f"ferry ended with {self.process.returncode} meanwhile\n{self.tail()}")
            time.sleep(0.03)  # asking every 10 ms takes a tenth of a core

    def wait_end(self, seconds: float = LONG_SECONDS) -> int:
        """Wait for the exit code."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            raise AssertionError(f"still running after {seconds} s: {self.status()}\n{self.tail()}") from None

    def succeed(self, seconds: float = LONG_SECONDS) -> None:
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
        code = self.wait_end()
        took = time.monotonic() - began
        assert code == 143, f"exit code {code}\n{self.tail()}"
        return took

    def tail(self, lines: int = 60) -> str:
        """The end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    # -- its end and its cost --------------------------------------------------------------------------------------

    def start_streaming(self, seconds: float = LONG_SECONDS) -> Self:
        """Start, and wait until every chunk is on the target: later writes arrive through the stream."""
        self.start().wait_stage(*STREAMING, seconds=seconds)
        return self

    def cut_over(self, seconds: float = LONG_SECONDS) -> str:
        """Request the cutover and wait for a successful end; returns the result line."""
        self.post("cutover")
        self.succeed(seconds)
        return self.result()

    def result(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if re.search(r"\bmoved \d+", line)]
        assert lines, self.tail()
        print(f"  {lines[-1]}")
        return lines[-1]

    def fail(self, code: int, *words: str, seconds: float = LONG_SECONDS) -> str:
        """It must end by itself with this exit code and one error line that contains all ``words``."""
        found = self.wait_end(seconds)
        assert found == code, f"exit code {found}\n{self.tail()}"
        log = self.log.read_text(errors="replace")
        assert "Traceback" not in log, self.tail()
        lines = [line for line in log.splitlines() if re.match(r"ferry: [A-Z][A-Za-z]+: ", line)]
        assert lines, self.tail()
        for word in words:
            assert word in lines[-1], f"{word!r} is not in: {lines[-1]}"
        return lines[-1]

    @property
    def rss_peak(self) -> int:
        """Peak memory of the child process in MiB; while it runs."""
        assert self.process is not None
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) // 1024

    def cpu_seconds(self) -> float:
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    # -- other commands on its manifest ---------------------------------------------------------------------------

    def command(self, verb: str, *arguments: str) -> Ended:
        """``ferry VERB -f MANIFEST``, for a Ferry without a running copier."""
        state = ["--state", str(self.state)] if verb in ("abort", "cleanup") and self.arguments else []
        done = ferry(verb, "-f", str(self.manifest), *state, *arguments, cwd=ROOT)
        print(f"ferry {verb}: {done.code} {done.stdout}{done.stderr}")
        return done

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """While entered, the process is stopped (SIGSTOP), like a suspended machine."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)  # no effect if it was killed meanwhile


class FerryCli:
    """A Ferry of one schema between the servers of a pair. Tests may change ``documents`` (Ferry and two Secrets)."""

    def __init__(self, folder: Path, pair: Pair, schema: str, **spec: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.writes = 0
        """Number of the test's own writes that the source has acknowledged."""
        self.pair = pair
        self.schema = schema
        self.state = folder / "state.ferry.db"
        selected: dict[str, Any] = {"tables": {"include": [f"{schema}.*"]}}
        self.documents: tuple[Data, ...] = ferry_between(
            pair.source.endpoint(), pair.target.endpoint("target"), **(selected | spec)
        )
        # A unique name, because a target remembers the Ferries that were cut over to it.
        self.documents[0]["metadata"]["name"] = schema.replace("_", "-")
        for document in self.documents:
            document["metadata"]["namespace"] = "tests"

    @property
    def spec(self) -> Data:
        spec: Data = self.documents[0]["spec"]
        return spec

    @property
    def uid(self) -> str:
        return ferry_uid(Ferry.model_validate(deepcopy(self.documents[0]), by_alias=True, by_name=False))

    def credentials(self, role: str, user: str, password: str) -> None:
        """The content of the Secret of ``role``."""
        self.documents[1 if role == "source" else 2]["stringData"] = {"username": user, "password": password}

    def manifest(self) -> Path:
        """Write the documents to disk."""
        return write(self.folder, *self.documents)

    def run(self, *arguments: str, seconds: float = LONG_SECONDS) -> Ended:
        """``ferry run`` to its end."""
        given = ["--listen", "none"] if "--listen" not in arguments else []
        where = ["-f", str(self.manifest()), "--state", str(self.state)]
        return ferry("run", *where, "--progress", "none", *given, *arguments, cwd=self.folder, seconds=seconds)

    def check(self, *arguments: str) -> Ended:
        return ferry("check", "-f", str(self.manifest()), *arguments, cwd=self.folder)

    def process(self, *arguments: str) -> FerryProcess:
        """``ferry run`` in the background over the same state; not started yet."""
        process = FerryProcess(self.folder, self.pair)
        process.manifest = self.manifest()
        process.state = self.state
        process.arguments = ["--state", str(self.state), *arguments]
        return process

    def tell(self, process: FerryProcess, fault: str) -> None:
        """Print the run's progress at the time of a fault."""
        status = process.status()
        rows = status["progress"]["rowsCopied"]
        print(f"{fault} in {status['stage']}: {rows} rows moved, {self.writes} writes acknowledged")

    # -- what is left behind --------------------------------------------------------------------------------------

    def lease(self) -> list[tuple[Any, ...]]:
        """Epoch and phase of this Ferry's lease row on the target."""
        there = self.pair.target.value(
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'mysql_ferry' AND table_name = 'lease'"
        )
        if not there:
            return []
        return self.pair.target.query("SELECT epoch, phase FROM mysql_ferry.lease WHERE ferry_uid = %s", [self.uid])

    def stored(self) -> Data:
        """The newest checkpoint in the state file."""
        with contextlib.closing(sqlite3.connect(f"file:{self.state}?mode=ro", uri=True, timeout=60)) as database:
            body: Data = json.loads(database.execute("SELECT body FROM ferry_state").fetchone()[0])
        return body

    def target_tables(self) -> list[tuple[Any, ...]]:
        """Everything in target schemas whose names begin with this test's."""
        return self.pair.target.query(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema LIKE %s",
            [self.schema.replace("_", r"\_") + "%"],
        )

    def assert_nothing_begun(self) -> None:
        """No table, no lease, no state, source writable."""
        assert self.target_tables() == []
        assert self.lease() == []
        assert not self.state.exists()
        assert self.pair.source.value("SELECT @@global.read_only") == 0
