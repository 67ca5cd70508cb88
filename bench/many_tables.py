"""``make bench-tables``: what hundreds of small tables cost, on both families.

python bench/many_tables.py [--family mysql] [--repeat N]

Prints how long `ferry check` of 400 tables takes, how long writes are blocked by the cutover of 351 tables that writers
change all the time, and how long 194 tables with and without foreign keys take to create and to copy, and exits with 1
if a limit is missed. Two temporary servers for each family; docs/benchmarks.md explains the figures.
"""

import argparse
import contextlib
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import pymysql

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console

from bench.floors import Floor, show_floors
from hack.servers import Family, create
from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryCli
from tests.support.servers import Flag, Pair, Server

CHECKED, BLOCKED, LINKED = 400, 351, 194
ROWS = 40
WRITERS, ACCOUNT = 2, "app"
PACE = 0.02
_RUN_SECONDS = 900.0
_COPIED = re.compile(r"all rows are copied: \d+, ([\d.]+) s in this run")
_BLOCK = re.compile(r"writes blocked (?:for )?([\d,]+) ms")


@contextlib.contextmanager
def servers(family: Family, **flags: Flag) -> Iterator[Pair]:
    with contextlib.ExitStack() as stack:
        both = []
        for _ in range(2):
            instance = create(family, flags=flags)
            stack.callback(instance.remove)
            instance.start()
            both.append(Server.of(instance))
        yield Pair(*both)


def _fill(source: Server, schema: str, tables: int, *, linked: bool = False) -> None:
    """Small tables like an application's; with ``linked``, each but the first references the one before."""
    source.execute(f"CREATE DATABASE {schema}")
    values = ", ".join(f"({1 + number % 3}, 'row {number}')" for number in range(ROWS))
    for number in range(tables):
        parent = f", FOREIGN KEY (n) REFERENCES {schema}.t{number - 1} (id)" if linked and number else ""
        source.execute(
            f"CREATE TABLE {schema}.t{number} (id INT AUTO_INCREMENT PRIMARY KEY, n INT NOT NULL,"
            f" v VARCHAR(80) NOT NULL, at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, KEY (n), KEY (v){parent})",
            f"INSERT INTO {schema}.t{number} (n, v) VALUES {values}",
        )


@contextlib.contextmanager
def _writers(server: Server, schema: str, tables: int) -> Iterator[None]:
    """New, changed and deleted rows in all tables in turn: some 80 tables a second."""
    over = threading.Event()

    def write(first: int) -> None:
        with contextlib.closing(server.connect(user=ACCOUNT, password=ACCOUNT)) as connection:
            cursor, number = connection.cursor(), first
            while not over.wait(PACE):
                number += WRITERS
                table = f"{schema}.t{number % tables}"
                with contextlib.suppress(pymysql.MySQLError):  # writes are blocked
                    cursor.execute(f"INSERT INTO {table} (n, v) VALUES (1, 'new {number}')")
                    cursor.execute(f"UPDATE {table} SET v = 'changed' ORDER BY id DESC LIMIT 1")
                    if not number % 5:
                        cursor.execute(f"DELETE FROM {table} ORDER BY id LIMIT 1")

    server.execute(
        f"CREATE USER IF NOT EXISTS {ACCOUNT} IDENTIFIED BY '{ACCOUNT}'", f"GRANT ALL ON {schema}.* TO {ACCOUNT}"
    )
    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _ferry(folder: Path, pair: Pair, schema: str) -> FerryCli:
    cutover = {"mode": "Automatic", "watchFor": "0s"}
    return FerryCli(folder / schema, pair, schema, cutover=cutover, verify={"mode": "Final"})


def check_seconds(folder: Path, pair: Pair) -> float:
    """The whole command, also the start of Python."""
    _fill(pair.source, "checked", CHECKED)
    ferry = _ferry(folder, pair, "checked")
    began = time.monotonic()
    ended = ferry.check()
    seconds = time.monotonic() - began
    assert ended.code == 0, ended.stdout + ended.stderr
    pair.source.execute("DROP DATABASE checked")
    return seconds


def moved(folder: Path, pair: Pair, schema: str) -> str:
    """A run to Completed; both ends are equal, and the schema is gone at the end. Returns its log."""
    ended = _ferry(folder, pair, schema).run(seconds=_RUN_SECONDS)
    told = ended.stdout + ended.stderr
    assert ended.code == 0, told[-3000:]
    assert_equal_schemas(pair.source, pair.target, schema)
    pair.source.execute("SET GLOBAL read_only = OFF", f"DROP DATABASE {schema}")
    pair.target.execute(f"DROP DATABASE {schema}")
    return told


def blocked_seconds(folder: Path, pair: Pair, schema: str, say: Callable[[str], None]) -> float:
    """As an automatic cutover reports it."""
    _fill(pair.source, schema, BLOCKED)
    with _writers(pair.source, schema, BLOCKED):
        told = moved(folder, pair, schema)
    for line in told.splitlines():
        if "cutover attempt" in line:
            say(f"  {line.partition('cutover ')[2]}")
    return block_of(told)


def block_of(told: str) -> float:
    """For how many seconds writes were blocked, from the log of a run."""
    found = _BLOCK.search(told)
    assert found, told[-3000:]
    return int(found[1].replace(",", "")) / 1000


def created_seconds(folder: Path, pair: Pair, schema: str, *, linked: bool) -> tuple[float, float]:
    """The time from the end of preflight until all tables are there, and the time of the copy."""
    _fill(pair.source, schema, LINKED, linked=linked)
    told = moved(folder, pair, schema)
    at = [re.search(rf"^(\d+:\d+:\d+) .*{text}", told, re.MULTILINE) for text in (" Passed: ", "stage Copying")]
    copied = _COPIED.search(told)
    assert copied, told[-3000:]
    began, ended = (datetime.strptime(found[1], "%H:%M:%S").replace(tzinfo=UTC) for found in at if found)
    return (ended - began).seconds, float(copied[1])


def measure(family: Family, repeat: int, say: Callable[[str], None]) -> list[Floor]:
    """All figures of one family."""
    with servers(family) as pair, tempfile.TemporaryDirectory(prefix="ferry-tables-") as name:
        folder = Path(name)
        checked = check_seconds(folder, pair)
        say(f"{family}: ferry check of {CHECKED} tables: {checked:.1f} s")
        created = {linked: created_seconds(folder, pair, f"made{linked:d}", linked=linked) for linked in (False, True)}
        for linked, (seconds, copying) in created.items():
            keys = f"{LINKED - 1} foreign keys" if linked else "no foreign key"
            say(f"{family}: {LINKED} tables with {keys}: created in {seconds:.0f} s, copied in {copying:.1f} s")
        blocks = []
        for number in range(repeat):
            blocks.append(blocked_seconds(folder, pair, f"busy{number}", say))
            say(f"{family}: writes on {BLOCKED} tables were blocked for {blocks[-1]:.2f} s")
    added = created[True][0] - created[False][0]
    return [
        Floor(f"{family}: ferry check of {CHECKED} tables", checked, 15, at_least=False, unit="s"),
        Floor(f"{family}: write block of {BLOCKED} tables", median(blocks), 0.5, at_least=False, unit="s"),
        Floor(f"{family}: foreign keys of {LINKED} tables", added, max(1, created[True][1]), at_least=False, unit="s"),
    ]


def main(arguments: list[str]) -> int:
    """Exit code 1: a limit is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", type=Family, choices=list(Family), action="append", default=[])
    parser.add_argument("--repeat", type=int, default=3, help="number of cutovers; the median counts")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    if (load := os.getloadavg()[0]) > 1:
        console.print(f"load average {load:.1f}: something else runs on this machine, and all of this takes longer")
    limits = [each for one in options.family or list(Family) for each in measure(one, options.repeat, console.print)]
    show_floors(limits, console)
    return 0 if all(limit.reached for limit in limits) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
