"""``make bench-indexes``: a copy of a table with five secondary indexes, which are deferred or created with the table.

python bench/indexes.py [--rows N] [--family mysql] [--repeat N]

Both ways in turn, on the same servers and data; the ratio of the medians counts. Every run must be Completed and both
ends equal, definitions included; exits with 1 if deferring is slower. docs/benchmarks.md explains the figures.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console

from bench import dataset
from bench.floors import Floor, show_floors
from bench.many_tables import servers
from ferry_core.errors import ServerRole
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Purpose, Session
from hack.servers import Family
from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryCli
from tests.support.servers import Pair

MORE_INDEXES = ("by_email (email)", "by_state (state, created_at)", "by_total (total)", "by_payload (payload)")
"""Beside that of the dataset. Their values are in no order, as those of most indexes."""
_RUN_SECONDS = 1800.0


def run_seconds(folder: Path, pair: Pair, *, deferred: bool) -> float:
    """The whole run, from the start of the process to Completed, without verification."""
    cutover = {"mode": "Automatic", "watchFor": "0s"}
    parts = {"verify": {"mode": "None"}, "acknowledge": ["Unverified"]}
    ferry = FerryCli(folder, pair, dataset.SCHEMA, cutover=cutover, **parts)
    ferry.spec["schema"] = {"deferIndexes": deferred}
    began = time.monotonic()
    ended = ferry.run(seconds=_RUN_SECONDS)
    seconds = time.monotonic() - began
    assert ended.code == 0, (ended.stdout + ended.stderr)[-3000:]
    assert_equal_schemas(pair.source, pair.target, dataset.SCHEMA)
    pair.source.execute("SET GLOBAL read_only = OFF")
    pair.target.execute(f"DROP DATABASE {dataset.SCHEMA}", "DROP DATABASE mysql_ferry")
    return seconds


def measure(family: Family, rows: int, repeat: int, say: Callable[[str], None]) -> Floor:
    """The ratio of one family."""
    taken: dict[bool, list[float]] = {False: [], True: []}
    with servers(family, innodb_buffer_pool_size="1G") as pair, tempfile.TemporaryDirectory() as name:
        source = pair.source
        endpoint = Endpoint(
            ServerRole.SOURCE, source.host, source.port, source.user, source.password, trusts_public_key=True
        )
        with Session(endpoint, Purpose.CONTROL) as session:
            dataset.fill(session, rows)
            added = ", ".join(f"ADD KEY {index}" for index in MORE_INDEXES)
            session.execute(f"ALTER TABLE {dataset.table_name()} {added}")
            session.execute(f"ANALYZE TABLE {dataset.table_name()}")
        for number in range(2 * repeat):
            deferred = bool(number % 2)
            taken[deferred].append(run_seconds(Path(name) / str(number), pair, deferred=deferred))
            way = "deferred" if deferred else "created with the table"
            say(f"{family}: {rows:,} rows, five indexes {way}: {taken[deferred][-1]:.1f} s")
    ratio = median(taken[False]) / median(taken[True])
    return Floor(f"{family}: five indexes deferred, against not", ratio, 1, at_least=True, unit="x")


def main(arguments: list[str]) -> int:
    """Exit code 1: the limit is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help=f"a multiple of {dataset.BATCH:,}")
    parser.add_argument("--family", type=Family, choices=list(Family), action="append", default=[])
    parser.add_argument("--repeat", type=int, default=3, help="runs of each way; the medians count")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    if (load := os.getloadavg()[0]) > 1:
        console.print(f"load average {load:.1f}: something else runs on this machine, and the ratio may be wrong")
    families = options.family or list(Family)
    limits = [measure(each, options.rows, options.repeat, console.print) for each in families]
    show_floors(limits, console)
    return 0 if all(limit.reached for limit in limits) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
