"""`make demo-local`: two temporary servers, tables that are hard to copy, writers that never stop, and one `ferry run`.

It shows a whole migration in half a minute and compares the result with the tests' comparer, which shares no code with
the engine.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml

from hack.servers import Family, Instance, Unavailable, create, install
from tests.support import all_types
from tests.support.compare import assert_equal_schemas
from tests.support.schemas import OddTable, create_odd_tables, odd_tables
from tests.support.servers import Server
from tests.support.writers import Pace, Writers

SCHEMA = "harbour"
_ODD = ("k_signed", "k_unsigned", "k_composite", "k_any_case", "k_uuid", "k_enum", "k_no_primary", "k_second_unique")
_FIRST_ROWS = 2000
_POLL_SECONDS = 0.1


def _number(slot: int) -> tuple[str, ...]:
    return (str(slot),)


_CARGO = OddTable("cargo", "id BIGINT NOT NULL PRIMARY KEY", ("id",), _number, slots=_FIRST_ROWS)


@dataclass
class Watch:
    """What the run's ControlServer reported."""

    address: str
    last: dict[str, Any] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)  # stage -> when it was first seen
    ended: threading.Event = field(default_factory=threading.Event)

    def follow(self) -> None:
        while not self.ended.wait(_POLL_SECONDS):
            with (
                contextlib.suppress(OSError, ValueError),
                urllib.request.urlopen(f"http://{self.address}/api/v1/status", timeout=2) as answer,
            ):
                self.last = json.load(answer)
                self.stages.setdefault(self.last["stage"], time.monotonic())


def _say(text: str) -> None:
    print(f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text, flush=True)


@contextlib.contextmanager
def _server(family: Family) -> Iterator[Server]:
    instance: Instance = create(family)
    try:
        instance.start()
        yield Server.of(instance)
    finally:
        instance.remove()


def _fill(source: Server, family: Family, rows: int) -> list[OddTable]:
    """Create and fill the tables; returns those that the writers know."""
    source.execute(f"CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4")
    tables = [table for table in odd_tables(family) if table.name in _ODD]
    create_odd_tables(source, SCHEMA, tables, share=0.5)
    create_odd_tables(source, SCHEMA, [_CARGO], share=1)
    count = _FIRST_ROWS
    while count < rows:
        # After the writers' slots, so that every doubling finds its ids free.
        source.execute(f"INSERT INTO {SCHEMA}.cargo SELECT id + {count}, n, s, f, b FROM {SCHEMA}.cargo")
        count *= 2
    source.execute(all_types.ddl(family, SCHEMA), *all_types.rows(family, SCHEMA))
    return [*tables, _CARGO]


def _manifest(folder: Path, source: Server, target: Server) -> Path:
    def end(role: str, server: Server) -> dict[str, Any]:
        return {"host": server.host, "port": server.port, "credentialsSecretRef": {"name": role}}

    ferry = {
        "apiVersion": "mysqlferry.io/v1alpha1",
        "kind": "Ferry",
        "metadata": {"name": "demo", "namespace": "default"},
        "spec": {
            "source": end("source", source),
            "target": end("target", target),
            "tables": {"include": [f"{SCHEMA}.*"]},
            "verify": {"mode": "Final"},
            "cutover": {"mode": "Automatic", "watchFor": "2s"},
        },
    }
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": role, "namespace": "default"},
            "stringData": {"username": server.user, "password": server.password},
        }
        for role, server in (("source", source), ("target", target))
    ]
    path = folder / "ferry.yaml"
    path.write_text(yaml.safe_dump_all([ferry, *secrets], sort_keys=False))
    return path


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _ferry(folder: Path, manifest: Path) -> tuple[int, Watch]:
    """`ferry run` in a process of its own, on this terminal; returns its exit code and what was observed."""
    watch = Watch(_free_address())
    command = [sys.executable, "-m", "ferry_core", "run", "-f", str(manifest)]
    command += ["--listen", watch.address, "--state", str(folder / "demo.ferry.db"), "--log-level", "warning"]
    follower = threading.Thread(target=watch.follow, daemon=True)
    follower.start()
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1], env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        code = process.wait()
    finally:
        if process.poll() is None:  # it received the Ctrl-C too: it unlocks and keeps its state
            process.wait(15)
        watch.ended.set()
        follower.join()
    return code, watch


def _report(watch: Watch, writers: Writers, seconds: float) -> list[str]:
    copied = int(watch.last.get("progress", {}).get("rowsCopied", 0))
    began, ended = watch.stages.get("Copying"), watch.stages.get("Streaming")
    copying = ended - began if began and ended else seconds
    blocked = watch.last.get("cutover", {}).get("writesBlockedMilliseconds")
    return [
        f"{copied:,} rows copied in {copying:.1f} s, {copied / copying:,.0f} rows/s; all in {seconds:.1f} s",
        f"{writers.total:,} transactions written to the source meanwhile: {dict(writers.acknowledged.most_common())}",
        f"writes on the source were blocked for {blocked} ms before they could go to the target",
    ]


def _cross(family: Family, rows: int, seed: int | None) -> int:
    _say(f"{family} {install(family)}: starting a source and a target")
    with contextlib.ExitStack() as stack:
        source, target = (stack.enter_context(_server(family)) for _ in range(2))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ferry-demo-")))
        tables = _fill(source, family, rows)
        _say(f"filled {len(tables) + 1} tables of {SCHEMA}; writers keep changing them from now on until the cutover")
        writers = Writers(source, SCHEMA, tables, seed, Pace(3, 0.01, stop_when_read_only=False))
        with writers:
            writers.wait_for(20)
            began = time.monotonic()
            code, watch = _ferry(folder, _manifest(folder, source, target))
            seconds = time.monotonic() - began
        if code:
            print(f"ferry run ended with {code}; seed {writers.seed}", file=sys.stderr)
            return code
        compared = assert_equal_schemas(source, target, SCHEMA)
        for line in _report(watch, writers, seconds):
            _say(line)
        _say(f"both sides are equal: {compared.tables} tables, {compared.rows:,} rows, definitions included")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--family", type=Family, choices=list(Family), default=Family.MYSQL)
    parser.add_argument("--rows", type=int, default=256_000, help="of the largest table")
    parser.add_argument("--seed", type=int, help="of the writers; default FERRY_TEST_SEED or a new one")
    options = parser.parse_args()
    try:
        return _cross(options.family, options.rows, options.seed)
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
