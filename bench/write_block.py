"""``make bench-block``: for how long writes are blocked by the cutover of a small and of a large table.

python bench/write_block.py [--rows 100000 --rows 10000000] [--family mysql] [--repeat N]

A writer changes and adds rows all the time at the same pace. Every run must be Completed and both ends equal. Exits
with 1 if the largest table's block is longer than the smallest's by more than a factor of two and 0.2 s.
docs/benchmarks.md explains the figures.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import pymysql

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console

from bench.floors import Floor, show_floors
from bench.many_tables import ACCOUNT, block_of, moved, servers
from hack.servers import Family
from tests.support.schemas import fill_narrow
from tests.support.servers import Pair, Server
from tests.support.waits import meanwhile

PACE = 0.01
"""Seconds between two transactions of the writer."""
ALLOWED_SECONDS = 0.2


@contextlib.contextmanager
def _writer(server: Server, schema: str, rows: int) -> Iterator[None]:
    """One transaction each time: a row anywhere in the table is changed, another one is added at its end."""

    def write(over: threading.Event) -> None:
        with contextlib.closing(server.connect(user=ACCOUNT, password=ACCOUNT)) as connection:
            cursor, number = connection.cursor(), 0
            while not over.wait(PACE):
                number += 1
                with contextlib.suppress(pymysql.MySQLError):  # writes are blocked
                    cursor.execute(f"UPDATE {schema}.t SET n = n + 1 WHERE id = {number * 7919 % rows}")
                    cursor.execute(f"INSERT INTO {schema}.t VALUES ({rows + number}, 1, 'new')")

    server.execute(
        f"CREATE USER IF NOT EXISTS {ACCOUNT} IDENTIFIED BY '{ACCOUNT}'", f"GRANT ALL ON {schema}.* TO {ACCOUNT}"
    )
    with meanwhile(write):
        yield


def blocked_seconds(folder: Path, pair: Pair, rows: int, number: int) -> float:
    """As an automatic cutover reports it."""
    schema = f"block{rows}x{number}"
    pair.source.execute(f"CREATE DATABASE {schema}")
    fill_narrow(pair.source, schema, "t", rows)
    with _writer(pair.source, schema, rows):
        told = moved(folder, pair, schema)
    return block_of(told)


def measure(family: Family, sizes: list[int], repeat: int, say: Callable[[str], None]) -> Floor:
    """What the largest table costs more than the smallest."""
    blocks: dict[int, list[float]] = {rows: [] for rows in sizes}
    with servers(family, innodb_buffer_pool_size="1G") as pair, tempfile.TemporaryDirectory() as name:
        for number in range(repeat):
            for rows in sizes:
                blocks[rows].append(blocked_seconds(Path(name), pair, rows, number))
                say(f"{family}: {rows:,} rows: writes were blocked for {blocks[rows][-1]:.2f} s")
    small, large = median(blocks[min(sizes)]), median(blocks[max(sizes)])
    most = max(2 * small, small + ALLOWED_SECONDS)
    return Floor(f"{family}: write block of {max(sizes):,} rows", large, most, at_least=False, unit="s")


def main(arguments: list[str]) -> int:
    """Exit code 1: the limit is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, action="append", default=[])
    parser.add_argument("--family", type=Family, choices=list(Family), action="append", default=[])
    parser.add_argument("--repeat", type=int, default=3, help="cutovers of each size; the median counts")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    if (load := os.getloadavg()[0]) > 1:
        console.print(f"load average {load:.1f}: something else runs on this machine, and all of this takes longer")
    sizes = options.rows or [100_000, 10_000_000]
    families = options.family or list(Family)
    limits = [measure(each, sizes, options.repeat, console.print) for each in families]
    show_floors(limits, console)
    return 0 if all(limit.reached for limit in limits) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
