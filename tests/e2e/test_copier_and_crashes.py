"""``ferry copier``, restarted again and again like by its Pod, while a source crashes: its state is on the target."""

import asyncio
import json
import time

import pytest

from ferry_core.api.report import Report
from hack.servers import Family
from tests.e2e.test_copier import Make, RealCopier, fill, linked, make_copier, told, until
from tests.support.compare import assert_equal_schemas
from tests.support.server_faults import binlog_end, cut_tail
from tests.support.servers import Pair
from tests.support.waits import wait_until

__all__ = ["make_copier"]

pytestmark = [pytest.mark.slow, pytest.mark.always]

POSITION = {Family.MYSQL: "SELECT @@GLOBAL.gtid_executed", Family.MARIADB: "SELECT @@GLOBAL.gtid_binlog_pos"}


def ready(copier: RealCopier) -> Report:
    async def wait() -> Report:
        async with linked(copier) as link:
            return await until(link, lambda report: report.stage == "ReadyForCutover", copier)

    return asyncio.run(wait())


def cut_over(copier: RealCopier) -> None:
    async def approve() -> None:
        async with linked(copier) as link:
            await until(link, lambda report: report.stage == "ReadyForCutover", copier)
            await link.send(told(copier, 1).as_json())

    asyncio.run(approve())
    assert copier.wait() == 0, copier.log()


def stored_position(pair: Pair, copier: RealCopier) -> str:
    """Of the newest checkpoint."""
    body = pair.target.value(f"SELECT body FROM mysql_ferry.checkpoint WHERE ferry_uid = '{copier.uid}'")
    return str(json.loads(body)["position"])


def test_a_copier_is_restarted_until_the_source_is_back(pair: Pair, schema: str, make_copier: Make) -> None:
    """Both are killed at once, as with their node. Without a source each start ends with 75, so that the Pod tries
    again.
    """
    fill(pair, schema)
    copier = make_copier(pair, schema)
    assert ready(copier).copier.epoch == 1
    pair.source.kill()
    copier.kill()
    for _ in range(2):
        copier.start()
        assert copier.wait() == 75, copier.log()
        last = copier.last_report
        assert "cannot be reached" in last.message, last.message
    pair.source.start()
    pair.source.execute(f"UPDATE {schema}.orders SET note = 'while it was down' WHERE id = 7")
    began = time.monotonic()
    copier.start()
    assert ready(copier).copier.epoch == 2, "starts that met no source have taken nothing"
    print(f"ready again after {time.monotonic() - began:.1f} s")
    pair.source.kill()
    pair.source.start()
    wait_until(lambda: "this run writes as epoch 3" in copier.log(), "it goes on in the same process")
    cut_over(copier)
    assert_equal_schemas(pair.source, pair.target, schema)


def test_a_source_that_lost_its_last_transaction_fails_the_ferry(pair: Pair, schema: str, make_copier: Make) -> None:
    """A crash with sync_binlog=0 while the copier is down: another transaction has the number by then."""
    fill(pair, schema)
    copier = make_copier(pair, schema)
    ready(copier)
    end = binlog_end(pair.source)
    rows = f"{schema}.orders"
    pair.source.execute(f"INSERT INTO {rows} VALUES (900001, 'lost')")
    wait_until(lambda: pair.target.value(f"SELECT COUNT(*) FROM {rows} WHERE id = 900001") == 1, "it is on the target")
    wait_until(lambda: stored_position(pair, copier) == pair.source.value(POSITION[pair.family]), "a checkpoint")
    copier.kill()
    cut_tail(pair.source, end)
    copier.start()
    assert copier.wait() == 75, copier.log()
    pair.source.start()
    pair.source.execute(f"INSERT INTO {rows} VALUES (900002, 'its number')")
    copier.start()
    assert copier.wait() == 65, copier.log()
    assert "SourceHistoryLost" in copier.last_report.model_dump_json()
    assert pair.source.value("SELECT @@global.read_only") == 0
