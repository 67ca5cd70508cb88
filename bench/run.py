"""``make bench``: compares ferry with common tools in one run, on the same data and servers.

python bench/run.py [--rows N]

Starts two temporary MySQL servers, fills one, lets each tool copy the table to the other (emptied in between), checks
that every copy is equal, prints a table, writes build/bench.json, and exits with 1 if a floor is missed. A change must
not make a figure worse than its floor; docs/benchmarks.md explains the figures.
"""

import argparse
import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.table import Table

from bench import crossing, dataset, key_walk, rivals
from bench.floors import Floor, show_floors
from bench.rivals import Measured
from ferry_core.errors import ServerRole
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Purpose, Session
from hack.servers import Family, Instance, create, install

BUILD = Path(__file__).resolve().parents[1] / "build"
FLAGS = {"innodb_buffer_pool_size": "1G", "innodb_redo_log_capacity": "1G"}
MIB = 1 << 20


@dataclass(frozen=True)
class Results:
    """Everything that one run measured."""

    rows: int
    fill_seconds: float
    ways: list[Measured]
    ferry: Measured
    verified: crossing.Crossed
    walked_per_second: float

    def floors(self) -> list[Floor]:
        per_million = 1_000_000 / self.rows
        times = {way.name: way.seconds / self.ferry.seconds for way in self.ways}
        return [
            Floor("copy against mysqldump | mysql", times["mysqldump | mysql"], 1.5, at_least=True, unit="x"),
            Floor("copy against mydumper, myloader", times["mydumper, myloader -t 4"], 1.3, at_least=True, unit="x"),
            Floor("CPU a million rows", self.ferry.cpu_seconds * per_million, 5, at_least=False, unit="s"),
            Floor("peak memory", self.ferry.peak_bytes / MIB, 190, at_least=False, unit="MiB"),
            Floor("key walk", self.walked_per_second, 120_000, at_least=True, unit="row changes/s"),
        ]


@contextlib.contextmanager
def servers() -> Iterator[tuple[Instance, Instance]]:
    """Starts source and target with the same flags; removes them at the end."""
    install(Family.MYSQL)
    pair = [create(Family.MYSQL, flags=FLAGS) for _ in ("source", "target")]
    try:
        for instance in pair:
            instance.start()
        yield pair[0], pair[1]
    finally:
        for instance in pair:
            instance.remove()


def control(server: Instance, role: ServerRole) -> Session:
    """A session for the bench's own statements."""
    return Session(
        Endpoint(role, server.host, server.port, server.user, server.password, trusts_public_key=True), Purpose.CONTROL
    )


def wipe(target: Instance) -> None:
    """Empty the target (schemas, lease, binlogs), so that every tool starts with the same target."""
    with control(target, ServerRole.TARGET) as session:
        for schema in (dataset.SCHEMA, "mysql_ferry"):
            session.execute(f"DROP DATABASE IF EXISTS {schema}")
        session.execute("RESET BINARY LOGS AND GTIDS")


def cpu_seconds(*servers: Instance) -> float:
    """CPU time that the servers' processes have used so far."""
    ticks = 0
    for server in servers:
        assert server.process is not None
        fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def assert_equal(source: Instance, target: Instance, name: str) -> None:
    """A copy that is not equal does not count, however fast it was."""
    sums = []
    for server, role in ((source, ServerRole.SOURCE), (target, ServerRole.TARGET)):
        with control(server, role) as session:
            sums.append(session.query(f"CHECKSUM TABLE {dataset.table_name()}")[0][1])
    if sums[0] is None or sums[0] != sums[1]:
        raise rivals.ToolFailed(f"{name}: the target's table is not equal to the source's")


def measure(rows: int, say: Callable[[str], None]) -> Results:
    """The whole bench."""
    rivals.install()
    if (load := os.getloadavg()[0]) > 1:
        say(f"load average {load:.1f}: something else runs on this machine, and the ratios will not be worth much")
    folder = BUILD / "bench"
    crossing.forget(folder)
    with servers() as (source, target):
        started = time.monotonic()
        with control(source, ServerRole.SOURCE) as session:
            dataset.fill(session, rows)
        fill_seconds = time.monotonic() - started
        say(f"{rows:,} rows made in {fill_seconds:.0f} s")
        ways = []
        for tool in (rivals.mysqldump_pipe, rivals.mydumper_myloader):
            wipe(target)
            before = cpu_seconds(source, target)
            done = tool(source, target, folder)
            ways.append(replace(done, servers_cpu_seconds=cpu_seconds(source, target) - before))
            assert_equal(source, target, ways[-1].name)
            say(f"{ways[-1].name}: {ways[-1].seconds:.1f} s")
        crossed = []
        for verify in (False, True):
            wipe(target)
            before = cpu_seconds(source, target)
            one = crossing.cross(source, target, folder, rows, verify=verify)
            servers_cpu = cpu_seconds(source, target) - before
            crossed.append(replace(one, copy=replace(one.copy, servers_cpu_seconds=servers_cpu)))
            assert_equal(source, target, crossed[-1].copy.name)
            say(f"{crossed[-1].copy.name}: {crossed[-1].copy.seconds:.1f} s")
        wipe(target)
    walked = key_walk.slowest(list(Family))
    return Results(rows, fill_seconds, ways, crossed[0].copy, crossed[1], walked)


def show(results: Results, console: Console) -> None:
    """Print the table and the floors."""
    table = Table(title=f"{results.rows:,} rows of 12 columns, MySQL to MySQL, {os.cpu_count()} cores for all")
    for heading in ("way", "seconds", "rows/s", "tool's CPU s", "servers' CPU s", "peak MiB", "ferry is"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for way in [*results.ways, results.ferry, results.verified.copy]:
        times = f"{way.seconds / results.ferry.seconds:.2f}x" if way in results.ways else ""
        speed = f"{results.rows / way.seconds:,.0f}"
        memory = f"{way.peak_bytes / MIB:.0f}"
        cpu = (f"{way.cpu_seconds:.1f}", f"{way.servers_cpu_seconds:.1f}")
        table.add_row(way.name, f"{way.seconds:.1f}", speed, *cpu, memory, times)
    console.print(table)
    if results.verified.verify_seconds is not None:
        verified = results.rows / max(results.verified.verify_seconds, 0.001)
        console.print(f"verification: {results.verified.verify_seconds:.1f} s, {verified:,.0f} rows/s of both ends")
    show_floors(results.floors(), console)


def as_json(results: Results) -> str:
    """The content of build/bench.json."""
    floors = [asdict(floor) | {"reached": floor.reached} for floor in results.floors()]
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    return json.dumps({"machine": machine, **asdict(results), "floors": floors}, indent=2) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="ferry beside mysqldump and mydumper, on throwaway servers")
    parser.add_argument("--rows", type=int, default=1_000_000, help="a multiple of 50,000 (default 1,000,000)")
    options = parser.parse_args()
    console = Console()
    try:
        results = measure(options.rows, lambda text: console.print(text, style="dim"))
    except rivals.ToolFailed as error:
        console.print(str(error), style="bold red", markup=False)
        return 1
    BUILD.mkdir(exist_ok=True)
    (BUILD / "bench.json").write_text(as_json(results))
    show(results, console)
    return 0 if all(floor.reached for floor in results.floors()) else 1


if __name__ == "__main__":
    sys.exit(main())
