"""MySQL may still write row events of version 1, as MariaDB always does (log_bin_use_v1_row_events, removed in 8.3)."""

from hack.servers import Release
from tests.support.servers import ServerPool
from tests.support.stream import Streaming, ids
from tests.support.tables import describe


def test_row_events_of_version_1(server_pool: ServerPool) -> None:
    source = server_pool.start(Release.MYSQL_8_0_33, {"log_bin_use_v1_row_events": True})
    try:
        source.execute("CREATE DATABASE s", "CREATE TABLE s.t (id BIGINT PRIMARY KEY, v VARCHAR(200))")
        changes = ("INSERT INTO s.t VALUES (1, 'a'), (2, 'b')", "UPDATE s.t SET id = 9 WHERE id = 2", "DELETE FROM s.t")
        for image in ("FULL", "MINIMAL", "NOBLOB"):
            with Streaming(source, [describe(source, "s", "t")]) as stream:
                source.execute(f"SET SESSION binlog_row_image = {image}", *changes)
                stream.caught_up()
                assert ids(stream) == [1, 2, 2, 9, 1, 9]
        assert any(event[2] == "Update_rows_v1" for event in source.query("SHOW BINLOG EVENTS"))
    finally:
        server_pool.end(source)
