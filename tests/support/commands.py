"""The ``ferry`` command between two real servers, as a user types it: a manifest to be spoilt, and what it answered."""

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferry_core.api.spec import Ferry, ferry_uid
from tests.support.ferry_process import ROOT, FerryProcess
from tests.support.manifests import Data, ferry_between, write
from tests.support.servers import Pair, Server

TABLE = "CREATE TABLE `{}`.{} (id INT PRIMARY KEY, v VARCHAR(40), u INT) ENGINE=InnoDB"

_FAILURE = re.compile(r"^ferry: ([A-Z][A-Za-z]+): ", re.MULTILINE)


@dataclass(frozen=True)
class Ended:
    """A command that is over."""

    code: int
    stdout: str
    stderr: str

    @property
    def failures(self) -> list[str]:
        """Lines that are an error for people: ``ferry: Reason: ...``."""
        return [line for line in self.stderr.splitlines() if _FAILURE.match(line)]

    def refused(self, code: int, reason: str, *words: str) -> str:
        """It must have failed with this code and one line of this reason that holds all ``words``; gives the line."""
        shown = f"exit {self.code}\n{self.stdout}\n{self.stderr}"
        assert self.code == code, shown
        assert "Traceback" not in self.stdout + self.stderr, shown
        assert len(self.failures) == 1, shown
        line = self.failures[0]
        assert line.startswith(f"ferry: {reason}: "), shown
        for word in words:
            assert word in line, f"{word!r} is not in: {line}"
        return line


def ferry(*arguments: str, cwd: Path, seconds: float = 120) -> Ended:
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


class Bench:
    """A Ferry of one schema between the servers of a pair; ``documents`` (Ferry and two Secrets) may be changed."""

    def __init__(self, folder: Path, pair: Pair, schema: str, **spec: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.writes = 0
        """What the source has acknowledged of the test's own writes."""
        self.pair = pair
        self.schema = schema
        self.state = folder / "state.ferry.db"
        selected: dict[str, Any] = {"tables": {"include": [f"{schema}.*"]}}
        self.documents: tuple[Data, ...] = ferry_between(
            pair.source.endpoint(), pair.target.endpoint("target"), **(selected | spec)
        )
        # A name of its own: a target remembers the Ferries that were handed over to it.
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
        """What the Secret of ``role`` holds."""
        self.documents[1 if role == "source" else 2]["stringData"] = {"username": user, "password": password}

    def manifest(self) -> Path:
        """The documents as they are now, on disk."""
        return write(self.folder, *self.documents)

    def run(self, *arguments: str, seconds: float = 120) -> Ended:
        """``ferry run`` to its end."""
        given = ["--listen", "none"] if "--listen" not in arguments else []
        where = ["-f", str(self.manifest()), "--state", str(self.state)]
        return ferry("run", *where, "--progress", "none", *given, *arguments, cwd=self.folder, seconds=seconds)

    def check(self, *arguments: str) -> Ended:
        return ferry("check", "-f", str(self.manifest()), *arguments, cwd=self.folder)

    def process(self, *arguments: str) -> FerryProcess:
        """``ferry run`` in the background, not started yet; over the same state."""
        process = FerryProcess(self.folder, self.pair)
        process.manifest = self.manifest()
        process.state = self.state
        process.arguments = ["--state", str(self.state), *arguments]
        return process

    def tell(self, process: FerryProcess, fault: str) -> None:
        """Print where a run stands when a fault befalls it."""
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
        with contextlib.closing(sqlite3.connect(f"file:{self.state}?mode=ro", uri=True, timeout=10)) as database:
            body: Data = json.loads(database.execute("SELECT body FROM ferry_state").fetchone()[0])
        return body

    def target_tables(self) -> list[tuple[Any, ...]]:
        """Everything in target schemas of this test's name."""
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


def fill(server: Server, schema: str, *tables: str) -> None:
    """Tables of two rows."""
    for table in tables:
        server.execute(
            TABLE.format(schema, table), f"INSERT INTO `{schema}`.{table} VALUES (1, 'one', 1), (2, 'two', 2)"
        )
