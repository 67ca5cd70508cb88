"""``schema.objects``: views, routines, triggers and events arrive, and no trigger fires for a copied row."""

import contextlib
from pathlib import Path

import pytest

from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Purpose, Session
from ferry_core.schema.objects import Kind, list_objects, read
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.ferry_core.schema.test_object_maker import OBJECTS, TABLES
from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import FerryCli, FerryProcess
from tests.support.ferry_under_load import condition
from tests.support.proxy import Proxy
from tests.support.servers import Pair, Server

GRACE_SECONDS = 60
"""Of a Pod: what is left of a stop then ends by SIGKILL."""
CREATE = {"objects": dict.fromkeys(("views", "routines", "triggers", "events"), "Create")}


def objects_of(server: Server, schema: str) -> dict[tuple[str, str], tuple[object, ...]]:
    """The SHOW CREATE output of each object."""
    with Session(server.endpoint(), Purpose.CONTROL) as session:
        found = [read(session, one) for one in list_objects(session, [schema], list(Kind))]
    return {(one.kind, one.name): one.comparable(definers=True, statuses=True) for one in found}


@pytest.fixture
def cli(pair: Pair, schema: str, tmp_path: Path) -> FerryCli:
    pair.source.execute(
        f"USE `{schema}`",
        *TABLES,
        *OBJECTS,
        "INSERT INTO t (id, v, n) VALUES " + ", ".join(f"({at}, 'v{at}', {at})" for at in range(1, 400)),
    )
    cli = FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "0s"})
    cli.spec["schema"] = CREATE
    return cli


def assert_arrived(cli: FerryCli, to: str = "") -> None:
    pair, schema = cli.pair, cli.schema
    for table in ("t", "log"):
        assert_equal_tables(pair.source, pair.target, f"{schema}.{table}", f"{to or schema}.{table}")
    assert objects_of(pair.source, schema) == objects_of(pair.target, to or schema)


def written(cli: FerryCli) -> None:
    """The source's own triggers fire, and the stream delivers what they write."""
    cli.pair.source.execute(
        f"USE `{cli.schema}`",
        "INSERT INTO t (id, v, n) VALUES (1000, 'late', 3)",
        "UPDATE t SET v = 'changed' WHERE id < 50",
        "DELETE FROM t WHERE id BETWEEN 60 AND 90",
    )


def through(cli: FerryCli, proxy: Proxy) -> FerryProcess:
    """The target behind a proxy that records statements."""
    cli.spec["target"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
    return cli.process()


def triggers(cli: FerryCli) -> list[str]:
    return [row[0] for row in cli.pair.target.query(f"SHOW TRIGGERS FROM `{cli.schema}`")]


def test_everything_arrives(cli: FerryCli) -> None:
    """Including objects that are changed, added and dropped on the source meanwhile."""
    pair, schema = cli.pair, cli.schema
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        there = objects_of(pair.target, schema)
        assert {kind for kind, _ in there} == {"FUNCTION", "PROCEDURE", "VIEW", "EVENT"}
        events = pair.target.query(f"SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '{schema}'")
        assert events == [("DISABLED",)] * 2
        written(cli)
        pair.source.execute(
            f"USE `{schema}`",
            "DROP VIEW a",
            "CREATE OR REPLACE VIEW m AS SELECT 5 AS five",
            "DROP TRIGGER gone",
            "CREATE VIEW added AS SELECT 1 AS one",
            "CREATE PROCEDURE added() SELECT 2",
        )
        process.cut_over()
    assert_arrived(cli)
    assert ("PROCEDURE", "added") in objects_of(pair.target, schema)


def test_under_another_schema(cli: FerryCli) -> None:
    to = f"{cli.schema}_b"
    cli.spec["tables"]["renameSchemas"] = {cli.schema: to}
    cli.spec["cutover"] |= {"mode": "Automatic"}
    done = cli.run()
    assert done.code == 0, done.stderr
    assert_arrived(cli, to)


@pytest.mark.parametrize("store", ["file", "target"])
def test_a_kill_between_the_record_of_the_cutover_and_the_last_trigger(cli: FerryCli, store: str) -> None:
    if store == "target":
        cli.spec["checkpoint"] = {"store": "Target"}
    target = cli.pair.target
    with Proxy(target.host, target.port) as proxy, through(cli, proxy) as process:
        if store == "target":
            process.arguments = []
        process.start().wait_stage("ReadyForCutover")
        written(cli)
        proxy.hold(b" TRIGGER ", skip=2)
        process.post("cutover")
        proxy.wait_held()
        process.kill()
        proxy.cut()
        assert len(triggers(cli)) == 2
        process.start().succeed()
        assert_arrived(cli)
        target.execute(f"DROP TRIGGER `{cli.schema}`.gone")
        process.start().succeed()  # it is over: later changes on the target are not the Ferry's concern
        assert "gone" not in triggers(cli)


def test_a_kill_among_the_views(cli: FerryCli) -> None:
    target = cli.pair.target
    with Proxy(target.host, target.port) as proxy, through(cli, proxy) as process:
        proxy.hold(b" VIEW `", skip=3 + 3 + 1)  # the trial creates each twice
        process.start()
        proxy.wait_held()
        process.kill()
        proxy.cut()
        process.start().wait_stage("ReadyForCutover")
        written(cli)
        process.cut_over()
    assert_arrived(cli)


def test_an_attempt_during_which_a_definition_changes(cli: FerryCli) -> None:
    """The attempt fails, leaves no trigger behind, and rows keep moving; the next one brings the source's new
    objects.
    """
    pair, target = cli.pair, cli.pair.target
    with Proxy(target.host, target.port) as proxy, through(cli, proxy) as process:
        process.start().wait_stage("ReadyForCutover")
        proxy.hold(f"phase = {string('CuttingOver')}".encode())
        process.post("cutover")
        proxy.wait_held()
        pair.source.execute(
            f"USE `{cli.schema}`",
            "ALTER VIEW m AS SELECT 7 AS seven",
            "DROP TRIGGER aa",
            "CREATE TRIGGER aa BEFORE INSERT ON t FOR EACH ROW SET NEW.n = 77",
        )
        proxy.release()
        process.wait_status(lambda status: status["cutover"]["lastResult"] == "ObjectsChanged")
        assert pair.source.value("SELECT @@global.read_only") == 0
        process.succeed()
    assert_arrived(cli)


def test_a_trigger_that_the_target_refuses_at_last(cli: FerryCli) -> None:
    """The cutover stands, and the missing trigger is named until it exists."""
    target, schema = cli.pair.target, cli.schema
    with Proxy(target.host, target.port) as proxy, through(cli, proxy) as process:
        process.start().wait_stage("ReadyForCutover")
        proxy.hold(f"phase = {string('CuttingOver')}".encode())
        process.post("cutover")
        proxy.wait_held()
        target.execute(f"CREATE TRIGGER `{schema}`.gone AFTER DELETE ON `{schema}`.log FOR EACH ROW SET @x = 1")
        proxy.release()
        line = process.fail(65, "ObjectsMissing", "the cutover is recorded", "gone")
        assert "writes" not in line.partition("recorded")[0]
        assert cli.pair.source.value("SELECT @@global.read_only") == 1
        target.execute(f"DROP TRIGGER `{schema}`.gone")
        process.start().succeed()
    assert_arrived(cli)


def test_triggers_keep_their_order_when_the_target_refuses_the_first(cli: FerryCli) -> None:
    """Those of its table that follow it wait until it exists: SHOW CREATE TRIGGER does not tell the order."""
    target, schema = cli.pair.target, cli.schema
    with Proxy(target.host, target.port) as proxy, through(cli, proxy) as process:
        process.start().wait_stage("ReadyForCutover")
        proxy.hold(f"phase = {string('CuttingOver')}".encode())
        process.post("cutover")
        proxy.wait_held()
        target.execute(f"CREATE TRIGGER `{schema}`.mm AFTER DELETE ON `{schema}`.log FOR EACH ROW SET @x = 1")
        proxy.release()
        process.fail(65, "ObjectsMissing", "the cutover is recorded", "mm")
        target.execute(f"DROP TRIGGER `{schema}`.mm")
        process.start().succeed()
    assert_arrived(cli)
    order = (
        "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_TABLE = 't'"
        f" AND ACTION_TIMING = 'BEFORE' AND TRIGGER_SCHEMA = '{schema}' ORDER BY ACTION_ORDER"
    )
    assert cli.pair.source.query(order) == target.query(order) == [("mm",), ("zz",), ("aa",)]


def test_drop_target_takes_what_the_ferry_created(cli: FerryCli) -> None:
    target, schema = cli.pair.target, cli.schema
    cli.spec["deletionPolicy"] = "DropTarget"
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
        target.execute(
            f"CREATE VIEW `{schema}`.theirs AS SELECT 1 AS one", f"CREATE PROCEDURE `{schema}`.also() SELECT 1"
        )
        done = process.command("cleanup")
    assert (done.code, set(objects_of(target, schema))) == (0, {("VIEW", "theirs"), ("PROCEDURE", "also")})
    assert f"view {schema}.z" in done.stdout


# -- between the record of the cutover and the last trigger ------------------------------------------------------------


@pytest.mark.parametrize("drop", ["TRIGGER", "TABLE"])
def test_a_trigger_that_the_source_loses_after_a_kill_is_created(cli: FerryCli, drop: str) -> None:
    """What a later start creates was stored before the cutover, with the events' statuses."""
    pair, schema = cli.pair, cli.schema
    wanted = objects_of(pair.source, schema)
    with Proxy(pair.target.host, pair.target.port) as proxy, through(cli, proxy) as process:
        process.start().wait_stage("ReadyForCutover")
        proxy.hold(b" TRIGGER ", skip=2)
        process.post("cutover")
        proxy.wait_held()
        process.kill()
        proxy.cut()
        pair.source.execute("SET GLOBAL read_only = OFF", f"USE `{schema}`")
        for kind, name in wanted:
            if kind == "EVENT":
                pair.source.execute(f"ALTER EVENT `{schema}`.`{name}` DISABLE")
            elif kind == "TRIGGER" and drop == "TRIGGER":
                pair.source.execute(f"DROP TRIGGER `{schema}`.`{name}`")
        if drop == "TABLE":
            pair.source.execute(f"DROP TABLE `{schema}`.t")
        process.start().succeed()
    assert objects_of(pair.target, schema) == wanted


@pytest.mark.parametrize("store", ["file", "target"])
def test_a_target_that_hangs_while_triggers_are_created(cli: FerryCli, store: str) -> None:
    """The status names the triggers that are missing, a stop is obeyed, and the next start creates them."""
    if store == "target":
        cli.spec["checkpoint"] = {"store": "Target"}
    target = cli.pair.target
    with Proxy(target.host, target.port) as proxy, through(cli, proxy) as process:
        if store == "target":
            process.arguments = []
        process.start().wait_stage("ReadyForCutover")
        proxy.hold(b" TRIGGER ", skip=2)
        process.post("cutover")
        proxy.wait_held()
        proxy.pause()
        status = process.wait_status(lambda now: condition(now, "Stalled")["reason"] == "ObjectsMissing")
        assert f"trigger {cli.schema}.aa" in status["message"]
        assert "CREATE DEFINER" in process.tail(200)
        assert process.terminate() < GRACE_SECONDS
        proxy.resume()
        proxy.release()
        process.start().succeed()
    assert_arrived(cli)


def test_a_table_in_use_while_its_trigger_is_created(cli: FerryCli) -> None:
    """CREATE TRIGGER waits 5 s at a time for its table, and is retried."""
    target = cli.pair.target
    with cli.process() as process, contextlib.closing(target.connect()) as user:
        process.start().wait_stage("ReadyForCutover")
        with user.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"SELECT COUNT(*) FROM `{cli.schema}`.t")
        process.post("cutover")
        process.wait_status(lambda now: "ock wait" in condition(now, "Stalled")["message"])
        user.rollback()
        process.succeed()
    assert_arrived(cli)


# -- whose they are ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("equal", [False, True])
def test_a_view_that_a_person_makes_after_a_kill_is_kept(cli: FerryCli, equal: bool) -> None:
    """Its name was recorded before this Ferry could create it."""
    pair, schema = cli.pair, cli.schema
    cli.spec["deletionPolicy"] = "DropTarget"
    killed_before_a_view(cli)
    text = "SELECT id FROM t" if equal else "SELECT 5 AS five"
    pair.target.execute(f"USE `{schema}`", f"CREATE OR REPLACE VIEW only AS {text}")
    with cli.process() as process:
        done = process.command("cleanup")
    assert done.code == 0
    assert f"kept view {schema}.only" in done.stdout
    assert ("VIEW", "only") in objects_of(pair.target, schema)


def test_a_view_that_a_person_makes_after_a_kill_is_not_replaced(cli: FerryCli) -> None:
    pair, schema = cli.pair, cli.schema
    killed_before_a_view(cli)
    pair.target.execute(f"USE `{schema}`", "CREATE OR REPLACE VIEW only AS SELECT 5 AS five")
    done = cli.run()
    assert done.refused(64, "TargetObjectDiffers", f"view {schema}.only")
    assert pair.target.query(f"SELECT * FROM `{schema}`.only") == [(5,)]


def test_a_view_of_ours_that_a_person_has_changed_is_kept(cli: FerryCli) -> None:
    target, schema = cli.pair.target, cli.schema
    cli.spec["deletionPolicy"] = "DropTarget"
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
        target.execute(f"USE `{schema}`", "DROP VIEW a", "CREATE VIEW a AS SELECT 5 AS five")
        done = process.command("cleanup")
    assert (done.code, set(objects_of(target, schema))) == (0, {("VIEW", "a")})
    assert f"kept view {schema}.a" in done.stdout


def killed_before_a_view(cli: FerryCli) -> None:
    """A run that is killed when the name of a new view is recorded, and the view does not exist yet."""
    pair, schema = cli.pair, cli.schema
    with Proxy(pair.target.host, pair.target.port) as proxy, through(cli, proxy) as process:
        process.start().wait_stage("ReadyForCutover")
        pair.source.execute(f"USE `{schema}`", "CREATE VIEW only AS SELECT id FROM t")
        proxy.hold(b" VIEW `only`")
        process.post("cutover")
        proxy.wait_held()
        process.kill()
        proxy.cut()
    cli.spec["target"] |= {"port": pair.target.port}


# -- time zones --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", list(Family))
def test_events_that_would_run_at_other_times(
    make_server: ServerFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, family: Family
) -> None:
    """Their time zone is SYSTEM, and the systems differ. Also refused if they appear during the run."""
    source = make_server(family)
    monkeypatch.setenv("TZ", "JST-9")
    target = make_server(family)
    source.execute("CREATE DATABASE zoned", "USE zoned", "CREATE TABLE t (id INT PRIMARY KEY)")
    cli = FerryCli(tmp_path / "ferry", Pair(source, target), "zoned", cutover={"watchFor": "0s"})
    cli.spec["schema"] = CREATE
    source.execute("USE zoned", "SET time_zone = '+00:00'", "CREATE EVENT fixed ON SCHEDULE EVERY 1 DAY DO SELECT 1")
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        source.execute("USE zoned", "SET time_zone = SYSTEM", "CREATE EVENT local ON SCHEDULE EVERY 1 DAY DO SELECT 1")
        process.post("cutover")
        said = process.fail(64, "EventTimeZone", "event zoned.local", "JST")
    assert "zoned.fixed" not in said
    assert source.value("SELECT @@global.read_only") == 0
    assert "EventTimeZone" in cli.check().stdout
