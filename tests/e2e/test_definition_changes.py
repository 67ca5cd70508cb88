"""Definitions that change after they were read and before the stream would report it: never unnoticed."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferry_core.consistency.own_tables import CHECKPOINT
from tests.support.compare import assert_equal_schemas, assert_equal_tables
from tests.support.ferry_cli import Ended, FerryCli, ferry
from tests.support.proxy import Proxy
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until

pytestmark = pytest.mark.always

AT_ONCE = {"mode": "Automatic", "watchFor": "0s"}


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20), e ENUM('x', 'y') NOT NULL)",
        "INSERT INTO t VALUES (1, 'one', 'x'), (2, 'two', 'y')",
        "CREATE TABLE other LIKE t",
        "INSERT INTO other VALUES (9, 'nine', 'y')",
    )
    return FerryCli(tmp_path / "ferry", pair, schema, cutover=AT_ONCE)


@contextlib.contextmanager
def reading_only(target: Server) -> Iterator[Callable[[], object]]:
    """The target accepts no writes meanwhile; yields a function that tells whether something waits for that."""
    waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for % read lock'"
    waiting += " OR state LIKE 'Waiting for backup lock'"
    with contextlib.closing(target.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("FLUSH TABLES WITH READ LOCK")
        yield lambda: target.value(waiting)


CHANGES = {
    "a column more": ["ALTER TABLE t ADD COLUMN w INT NOT NULL DEFAULT 1", "UPDATE t SET w = id"],
    "members in another order": ["ALTER TABLE t MODIFY e ENUM('y', 'x') NOT NULL"],
    "longer values": ["ALTER TABLE t MODIFY v VARCHAR(200)", "UPDATE t SET v = REPEAT('z', 100)"],
    "made anew": ["DROP TABLE t", "CREATE TABLE t (id INT PRIMARY KEY, w INT)", "INSERT INTO t VALUES (5, 5)"],
    "a view in its place": ["RENAME TABLE t TO aside", "CREATE VIEW t AS SELECT * FROM aside"],
    "a constraint more": ["ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (id) REFERENCES o2 (id)"],
    "a key less": ["ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (id, v)"],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_table_altered_between_validation_and_the_stream(cli: FerryCli, change: str) -> None:
    """The target accepts no writes, so the run has read everything and cannot start. It reads everything again."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    source.execute(f"USE `{schema}`", "CREATE TABLE o2 (id INT PRIMARY KEY)", "INSERT INTO o2 VALUES (1), (2)")
    with cli.process() as process:
        with reading_only(target) as somebody_waits:
            process.start()
            wait_until(somebody_waits, "write of the run on the target")
            source.execute(f"USE `{schema}`", *CHANGES[change])
        ended = Ended(process.wait_end(), "", process.log.read_text())
    assert ended.code == 0, ended
    assert "nothing is copied yet, validating again: SchemaChanged" in ended.stderr
    assert_equal_schemas(source, target, schema)


@contextlib.contextmanager
def claiming(target: Server) -> Iterator[Callable[[], object]]:
    """Runs wait before they claim their tables; yields a function that tells whether one does."""
    with contextlib.closing(target.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('ferry-claim', 0)")
        yield lambda: target.value("SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User lock'")


APPEARS = {
    "UnsupportedTable": ("CREATE TABLE {other}.m LIKE t", "ALTER TABLE {other}.m ENGINE=MERGE UNION=({schema}.t)"),
    "TargetTriggers": ("CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 'changed'",),
    "MissingPrivilege": ("REVOKE PROCESS, REPLICATION SLAVE ON *.* FROM {user}",),
}


@pytest.mark.parametrize("reason", APPEARS)
def test_what_neither_the_stream_nor_an_error_would_show(pair: Pair, schema: str, tmp_path: Path, reason: str) -> None:
    """It comes after validation and before the stream's start. Rows written to a MERGE table are logged as its own."""
    source, target, other, user = pair.source, pair.target, f"{schema}_other", f"u{schema[-6:]}"
    for server in (source, target):
        server.execute(
            f"CREATE DATABASE IF NOT EXISTS `{schema}` CHARACTER SET utf8mb4",
            f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(20)) ENGINE=MyISAM",
        )
    source.execute(
        f"CREATE DATABASE {other}", f"CREATE USER {user} IDENTIFIED BY 'pw'", f"GRANT ALL ON *.* TO {user}",
        f"INSERT INTO `{schema}`.t VALUES (1, 'one')",
    )  # fmt: skip
    try:
        with FerryCli(tmp_path / "ferry", pair, schema, cutover=AT_ONCE).process() as process:
            process.edit(lambda documents: documents[1].update(stringData={"username": user, "password": "pw"}))
            with claiming(target) as somebody_waits:
                process.start()
                wait_until(somebody_waits, "the run waits for its claim", 60)
                there = target if reason == "TargetTriggers" else source
                statements = [text.format(user=user, schema=schema, other=other) for text in APPEARS[reason]]
                there.execute(f"USE `{schema}`", *statements)
            ended = Ended(process.wait_end(), "", process.log.read_text())
    finally:
        source.execute(f"DROP USER {user}")
    ended.refused(64, reason)


ROWS = 3000
WHILE_DOWN = {
    "logged": ["ALTER TABLE t ADD COLUMN w INT NOT NULL DEFAULT 1"],
    "not logged": ["SET SESSION sql_log_bin = 0", "ALTER TABLE t ADD COLUMN w INT NOT NULL DEFAULT 1"],
    "without its key": ["ALTER TABLE t DROP PRIMARY KEY, ADD INDEX (id)"],
    "members in another order": ["SET SESSION sql_log_bin = 0", "ALTER TABLE t MODIFY e ENUM('y', 'x') NOT NULL"],
}


@pytest.mark.parametrize("change", WHILE_DOWN)
def test_a_table_altered_while_the_run_was_stopped(cli: FerryCli, change: str) -> None:
    """Reported before preflight can compare the target with the source; the advice in the message works."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    numbers = ", ".join(f"({number}, 'v', 'x')" for number in range(10, ROWS))
    source.execute(f"USE `{schema}`", f"INSERT INTO t VALUES {numbers}")
    cli.spec["throttle"] = {"maxRowsPerSecond": 200}
    with cli.process() as process:
        process.start().wait_status(lambda status: 300 < status["progress"]["rowsCopied"] < ROWS)
        process.kill()
    cli.spec["throttle"] = {}
    source.execute(f"USE `{schema}`", *WHILE_DOWN[change])
    line = cli.run().refused(65, "SchemaChanged", f"{schema}.t")
    if change != "without its key":
        assert f"drop the changed tables on the target (`{schema}`.`t`)" in line
        where = ["-f", str(cli.manifest()), "--state", str(cli.state)]
        assert ferry("cleanup", *where, cwd=cli.folder).code == 0
        target.execute(f"DROP TABLE `{schema}`.t", f"DELETE FROM `{schema}`.other")
        assert cli.run().code == 0
        assert_equal_tables(source, target, f"{schema}.t")


@pytest.mark.parametrize(
    "statement", ["ALTER TABLE t ADD COLUMN w INT NOT NULL DEFAULT 1", "ALTER TABLE t ADD INDEX (v)"]
)
def test_a_table_altered_between_the_streams_start_and_its_first_event(cli: FerryCli, statement: str) -> None:
    """Everything was read again and the stream is not connected yet. Its start is fixed, so it sees the statement."""
    source, schema = cli.pair.source, cli.schema
    with Proxy(source.host, source.port) as proxy:
        cli.spec["source"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        proxy.hold(b"heartbeat_period")  # the first packet of the stream's connection
        with cli.process() as process:
            process.start()
            proxy.wait_held()
            source.execute(f"USE `{schema}`", statement, "UPDATE t SET v = 'later'")
            proxy.release()
            ended = Ended(process.wait_end(), "", process.log.read_text())
    if "INDEX" in statement:
        assert ended.code == 0, ended
        assert "t was altered on the source (ALTER TABLE t ADD INDEX (v))" in ended.stderr
        assert_equal_tables(source, cli.pair.target, f"{schema}.t", definitions=False)
    else:
        assert ended.code == 0, ended
        assert "nothing is copied yet, validating again: SchemaChanged" in ended.stderr
        assert_equal_schemas(source, cli.pair.target, schema)


def test_a_hand_made_target_table_whose_source_is_altered_before_the_first_chunk(cli: FerryCli) -> None:
    """It was created by hand, so it is not dropped, and differs from the source's now. Rows of the first start are
    gone.
    """
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    target.execute(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4")
    target.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(20), e ENUM('x', 'y') NOT NULL)")
    with Proxy(source.host, source.port) as proxy:
        cli.spec["source"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        proxy.hold(b"heartbeat_period")
        with cli.process() as process:
            process.start()
            proxy.wait_held()
            source.execute(f"USE `{schema}`", "UPDATE t SET v = 'later'", "ALTER TABLE t ADD COLUMN w INT")
            proxy.release()
            ended = Ended(process.wait_end(), "", process.log.read_text())
    ended.refused(64, "TargetTableDiffers", "the column w is missing")
    target.execute(f"ALTER TABLE `{schema}`.t ADD COLUMN w INT")
    del cli.spec["source"]["tls"]
    cli.spec["source"]["port"] = source.port
    assert cli.run().code == 0
    assert_equal_schemas(source, target, schema)


@pytest.mark.parametrize("cut_off", ["killed", "connection lost"])
def test_an_undone_start_that_is_killed_before_it_drops_its_tables(cli: FerryCli, cut_off: str) -> None:
    """The tables equal the source's old ones, and nothing was copied: the next start creates them again."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    dropping = "SELECT id FROM information_schema.processlist WHERE info LIKE 'DROP TABLE%`t`'"
    with Proxy(source.host, source.port) as proxy, contextlib.closing(target.connect()) as holder:
        cli.spec["source"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        proxy.hold(b"heartbeat_period")
        with cli.process() as process:
            process.start()
            proxy.wait_held()
            held = holder.cursor()
            held.execute(f"LOCK TABLES `{schema}`.t READ")
            source.execute(f"ALTER TABLE `{schema}`.t ADD COLUMN w INT NOT NULL DEFAULT 1")
            proxy.release()
            wait_until(lambda: target.query(dropping), "DROP of the run")
            if cut_off == "killed":
                process.kill()
            target.execute(f"KILL {target.value(dropping)}")
            wait_until(lambda: not target.query(dropping), "end of the DROP")
            held.execute("UNLOCK TABLES")
            if cut_off == "killed":
                assert not cli.stored()["tables"]
                process.start()
            ended = Ended(process.wait_end(), "", process.log.read_text())
    assert ended.code == 0, ended
    assert_equal_schemas(source, target, schema)


@pytest.mark.parametrize("cut_off", ["killed", "connection lost"])
def test_an_undone_start_that_ends_while_it_drops_a_table(cli: FerryCli, cut_off: str) -> None:
    """That table takes no rows any more. The source's was not altered, so nothing else tells them apart."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    with Proxy(target.host, target.port) as proxy:
        cli.spec["target"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        proxy.hold(f"CREATE TABLE `{schema}`.`t`".encode())
        with cli.process() as process:
            process.start()
            proxy.wait_held()
            source.execute(f"ALTER TABLE `{schema}`.t ADD COLUMN w INT NOT NULL DEFAULT 1")
            proxy.release()
            proxy.hold(f"DROP TABLE IF EXISTS `{schema}`.`other`".encode())
            proxy.wait_held()
            if cut_off == "killed":
                process.kill()
            proxy.cut()
            assert target.value(f"SELECT COUNT(*) FROM `{schema}`.other") == 0
            if cut_off == "killed":
                process.start()
            ended = Ended(process.wait_end(), "", process.log.read_text())
    assert ended.code == 0, ended
    assert_equal_schemas(source, target, schema)


def test_a_start_that_is_killed_right_before_it_is_undone(cli: FerryCli) -> None:
    """Its state says that the copy has begun, so the next start ends. What the message advises works."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    with Proxy(source.host, source.port) as from_source, Proxy(target.host, target.port) as to_target:
        for end, proxy in (("source", from_source), ("target", to_target)):
            cli.spec[end] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        from_source.hold(b"heartbeat_period")
        with cli.process() as process:
            process.start()
            from_source.wait_held(120)
            to_target.hold(f"DELETE FROM {CHECKPOINT}".encode())  # the first statement of the undo that writes
            source.execute(f"ALTER TABLE `{schema}`.t ADD COLUMN w INT NOT NULL DEFAULT 1")
            from_source.release()
            to_target.wait_held(120)
            process.kill()
    for end, server in (("source", source), ("target", target)):
        cli.spec[end]["port"] = server.port
    assert all(table["started"] and not table["rows_copied"] for table in cli.stored()["tables"].values())
    line = cli.run().refused(65, "SchemaChanged", f"{schema}.t")
    assert f"drop the changed tables on the target (`{schema}`.`t`)" in line
    assert source.value("SELECT @@global.read_only") == 0
    assert ferry("cleanup", "-f", str(cli.manifest()), "--state", str(cli.state), cwd=cli.folder).code == 0
    target.execute(f"DROP TABLE `{schema}`.t", f"DELETE FROM `{schema}`.other")
    assert cli.run().code == 0
    assert_equal_schemas(source, target, schema)


def test_a_table_altered_after_a_start_that_was_killed_once_it_had_created_its_tables(cli: FerryCli) -> None:
    """Nothing of the start is undone: the next start knows which tables are its own, and creates them again."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    with Proxy(target.host, target.port) as proxy:
        cli.spec["target"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        proxy.hold(f"CREATE TABLE `{schema}`.`t`".encode())  # the second: `other` is created
        with cli.process() as process:
            process.start()
            proxy.wait_held()
            process.kill()
    source.execute(f"ALTER TABLE `{schema}`.other ADD COLUMN w INT NOT NULL DEFAULT 1")
    cli.spec["target"]["port"] = target.port
    target.execute(f"INSERT INTO `{schema}`.other (id, v) VALUES (4711, 'by hand')")
    refused = cli.run()
    assert (refused.code, "TargetTableDiffers" in refused.stderr) == (64, True), refused
    # it has rows that somebody loaded: not dropped
    assert target.query(f"SELECT id FROM `{schema}`.other") == [(4711,)]
    target.execute(f"DELETE FROM `{schema}`.other")
    ended = cli.run()
    assert ended.code == 0, ended
    assert_equal_schemas(source, target, schema)


def test_a_foreign_key_dropped_after_a_start_that_was_killed_once_it_had_created_its_tables(cli: FerryCli) -> None:
    """The target's table has the constraint, and differs in nothing else."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    source.execute(
        f"USE `{schema}`",
        "CREATE TABLE a_child (id INT PRIMARY KEY, o INT, CONSTRAINT gone FOREIGN KEY (o) REFERENCES other (id))",
    )
    with Proxy(target.host, target.port) as proxy:
        cli.spec["target"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        proxy.hold(f"CREATE TABLE `{schema}`.`t`".encode())
        with cli.process() as process:
            process.start()
            proxy.wait_held()
            process.kill()
    assert "`gone`" in str(target.query(f"SHOW CREATE TABLE `{schema}`.a_child"))
    source.execute(f"ALTER TABLE `{schema}`.a_child DROP FOREIGN KEY gone")
    cli.spec["target"]["port"] = target.port
    ended = cli.run()
    assert ended.code == 0, ended
    assert_equal_schemas(source, target, schema)


def test_an_irrelevant_alteration_while_the_run_was_stopped(cli: FerryCli) -> None:
    """The run resumes from its checkpoint after the statements; only one of them requires a comparison alone."""
    source, schema = cli.pair.source, cli.schema
    cli.spec["cutover"] = {"watchFor": "0s"}
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    source.execute(
        f"USE `{schema}`", "ALTER TABLE t ADD INDEX (v)", "ALTER TABLE t MODIFY v VARCHAR(20) COMMENT 'a remark'",
        "ALTER TABLE t ENGINE=InnoDB", "UPDATE t SET v = 'later'",
    )  # fmt: skip
    cli.spec["cutover"] = AT_ONCE
    ended = cli.run()
    assert ended.code == 0, ended
    assert ended.stderr.count("was altered on the source") == 3
    assert_equal_tables(source, cli.pair.target, f"{schema}.t", definitions=False)


def test_a_table_altered_outside_of_the_binlog_while_streaming(cli: FerryCli) -> None:
    """No event reports it. The last check before the cutover finds it, and nothing is locked."""
    source, schema = cli.pair.source, cli.schema
    cli.spec["cutover"] = {"watchFor": "0s"}
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        source.execute(
            f"USE `{schema}`", "SET SESSION sql_log_bin = 0", "ALTER TABLE t ADD COLUMN w INT NOT NULL DEFAULT 1"
        )
        process.post("cutover")
        ended = Ended(process.wait_end(), "", process.log.read_text())
    ended.refused(65, "SchemaChanged", f"{schema}.t", "since this run began", "w int")
    assert source.value("SELECT @@global.read_only") == 0


def test_a_table_of_the_target_altered_between_validation_and_the_copy(cli: FerryCli) -> None:
    """Created by hand beforehand; loses a column after the run has read it."""
    target, schema = cli.pair.target, cli.schema
    columns = "id INT PRIMARY KEY, v VARCHAR(20), e ENUM('x', 'y') NOT NULL"
    target.execute(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4", f"CREATE TABLE `{schema}`.t ({columns})")
    with Proxy(target.host, target.port) as proxy:
        cli.spec["target"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        proxy.hold(f"CREATE DATABASE IF NOT EXISTS `{schema}`".encode())  # done for the missing table
        with cli.process() as process:
            process.start()
            proxy.wait_held()
            target.execute(f"ALTER TABLE `{schema}`.t DROP COLUMN v")
            proxy.release()
            ended = Ended(process.wait_end(), "", process.log.read_text())
    ended.refused(64, "TargetTableDiffers", f"{schema}.t", "the column v is missing")


def test_partitions_that_exist_only_on_the_source(cli: FerryCli) -> None:
    """The target has no partition for a row; once it has one, the run continues."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    by_range = "PARTITION BY RANGE (id) (PARTITION low VALUES LESS THAN (10))"
    more = f"ALTER TABLE `{schema}`.parts ADD PARTITION (PARTITION high VALUES LESS THAN (20))"
    source.execute(f"CREATE TABLE `{schema}`.parts (id INT PRIMARY KEY) {by_range}")
    cli.spec["cutover"] = {"watchFor": "0s"}
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        source.execute(more, f"INSERT INTO `{schema}`.parts VALUES (15)")
        ended = Ended(process.wait_end(), "", process.log.read_text())
    ended.refused(65, "StatementFailed", f"`{schema}`.`parts`", "add them to the target's too and start again")
    target.execute(more)
    cli.spec["cutover"] = AT_ONCE
    assert cli.run().code == 0
    assert_equal_tables(source, target, f"{schema}.parts")
