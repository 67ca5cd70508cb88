"""A MariaDB source without gtid_strict_mode logs GTIDs that are not above the earlier ones."""

import time
from pathlib import Path

import pytest

from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.proxy import Proxy
from tests.support.servers import Pair
from tests.support.waits import wait_until

pytestmark = pytest.mark.slow

DUMPS = "SELECT id FROM information_schema.processlist WHERE command = 'Binlog Dump'"
LAST = "SELECT CAST(SUBSTRING_INDEX(@@GLOBAL.gtid_binlog_pos, '-', -1) AS UNSIGNED)"


@pytest.mark.parametrize("lower", [True, False], ids=["lower", "the same"])
def test_an_out_of_order_write_just_before_the_lock_is_not_lost(
    mariadb_pair: Pair, schema: str, tmp_path: Path, lower: bool
) -> None:
    """The stream is cut off when writes are stopped, after it has read a number not below that of the last write."""
    source = mariadb_pair.source
    with Proxy(source.host, source.port) as way, FerryUnderLoad(mariadb_pair, schema, tmp_path, odd=1) as under_load:
        source.execute("SET GLOBAL gtid_strict_mode = OFF")
        try:
            under_load.ferry = under_load.another("run", source_port=way.port)
            under_load.ferry.start()
            with under_load.held_in_acquire() as blocker:
                way.hold(b"slave_connect_state")
                for (dump,) in source.query(DUMPS):
                    source.execute(f"KILL {dump}")
                way.wait_held()
                number = 1 if lower else source.value(LAST)
                cursor = blocker.cursor()
                cursor.execute(f"SET SESSION gtid_seq_no = {number}")
                cursor.execute(f"UPDATE `{schema}`.aim SET v = 7 WHERE id = 1")
            wait_until(lambda: under_load.locked, "the source is locked")
            time.sleep(2)  # duration of the fault: the drain checks many times
            assert under_load.phase() != "Completed"
            way.release()
            under_load.finish(approve=False)
        finally:
            source.execute("SET GLOBAL gtid_strict_mode = ON")
