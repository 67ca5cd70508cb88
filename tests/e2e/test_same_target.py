"""Two Ferries that start at the same time with the same target table: one of them is refused before it writes."""

import contextlib
from pathlib import Path

import pytest

from ferry_core.mysql.literals import string
from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import FerryCli, FerryProcess
from tests.support.proxy import Proxy
from tests.support.servers import Pair

pytestmark = [pytest.mark.slow, pytest.mark.always, pytest.mark.timeout(300)]

TAKES = b"UPDATE mysql_ferry.lease SET epoch = 1"
CLAIMS = f"UPDATE mysql_ferry.lease SET phase = {string('Claimed')}".encode()


@pytest.fixture
def target_table(pair: Pair, schema: str) -> str:
    """Empty, and nobody's."""
    pair.target.execute(
        f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4",
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(20))",
    )
    return f"{schema}.t"


def ferry_of(pair: Pair, schema: str, folder: Path, proxy: Proxy, number: int) -> FerryProcess:
    """A Ferry of a table of its own, which it moves to the target table."""
    own = f"{schema}_{number}"
    pair.source.execute(
        f"CREATE DATABASE `{own}` CHARACTER SET utf8mb4",
        f"CREATE TABLE `{own}`.t (id INT PRIMARY KEY, v VARCHAR(20))",
        f"INSERT INTO `{own}`.t VALUES ({number}, 'of {number}'), (9, 'of {number}')",
    )
    tables = {"include": [f"{own}.*"], "renameSchemas": {own: schema}}
    cli = FerryCli(folder / own, pair, own, tables=tables, cutover={"mode": "Automatic", "watchFor": "0s"})
    cli.spec["target"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
    return cli.process()


@pytest.mark.parametrize("moment", [TAKES, CLAIMS], ids=["before the claims", "during the first claim"])
def test_the_table_is_claimed_once(pair: Pair, schema: str, tmp_path: Path, target_table: str, moment: bytes) -> None:
    """Both have passed preflight before either claims the table."""
    with contextlib.ExitStack() as opened:
        proxies = [opened.enter_context(Proxy(pair.target.host, pair.target.port)) for _ in range(2)]
        first, second = (
            opened.enter_context(ferry_of(pair, schema, tmp_path, proxy, number))
            for number, proxy in enumerate(proxies, 1)
        )
        proxies[0].hold(moment)
        proxies[1].hold(TAKES)
        for process in (first, second):
            process.start()
        for proxy in proxies:
            proxy.wait_held(120)
        for proxy in reversed(proxies):
            proxy.release()
        ends = {process: process.wait_end() for process in (first, second)}
        assert sorted(ends.values()) == [0, 64], f"{first.tail()}\n{second.tail()}"
        refused, done = sorted(ends, key=lambda process: -ends[process])
        refused.fail(64, "TargetOwnedByAnotherFerry", target_table)
    moved = f"{schema}_{1 if done is first else 2}.t"
    assert_equal_tables(pair.source, pair.target, moved, target_table)
