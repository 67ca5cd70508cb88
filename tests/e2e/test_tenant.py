"""``tables.tenant``: one tenant of all tables, found by an index, while rows join and leave it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ferry_core.report.notifier import signature
from tests.support.compare import Compared, assert_equal_tables
from tests.support.ferry_cli import Ended, FerryCli
from tests.support.ferry_under_load import RECORDS_COMPLETED, FerryUnderLoad, condition
from tests.support.hooks import HANG, HookServer
from tests.support.servers import Pair
from tests.support.waits import wait_until

TABLES = {
    "orders": "id INT PRIMARY KEY, tenant_id INT NOT NULL, v VARCHAR(20), KEY (tenant_id)",
    "items": "tenant_id INT NOT NULL, id INT NOT NULL, v VARCHAR(20), PRIMARY KEY (tenant_id, id)",
    "notes": "id INT PRIMARY KEY, tenant_id VARCHAR(20) CHARACTER SET latin1, v VARCHAR(20)",
}
NUMBERS = range(3000)


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    for name, columns in TABLES.items():
        names = "id, tenant_id, v"
        rows = ", ".join(f"({number}, {number % 100}, 'r{number}')" for number in NUMBERS)
        pair.source.execute(
            f"USE `{schema}`", f"CREATE TABLE {name} ({columns})", f"INSERT INTO {name} ({names}) VALUES {rows}"
        )
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE currencies (id INT PRIMARY KEY)",
        "INSERT INTO currencies VALUES (1), (2)",
    )
    return FerryCli(
        tmp_path / "ferry",
        pair,
        schema,
        tables={"include": [f"{schema}.*"], "tenant": {"column": "tenant_id", "values": ["42", "7"]}},
        cutover={"watchFor": "0s"},
    )


def test_a_table_without_the_column_needs_a_rule(cli: FerryCli) -> None:
    line = cli.run().refused(64, "TenantColumnMissing", f"{cli.schema}.currencies")
    assert f"{cli.schema}.orders" not in line


def test_an_index_that_does_not_exist_is_refused(cli: FerryCli) -> None:
    cli.spec["tables"]["rules"] = [
        {"match": f"{cli.schema}.currencies"},
        {"match": f"{cli.schema}.notes", "index": "tenant_id"},
    ]
    cli.run().refused(64, "RuleIndexInvalid", f"{cli.schema}.notes", "'tenant_id'")


@pytest.mark.parametrize("ours", [False, True])
def test_other_tenants_may_write_on_after_the_cutover(cli: FerryCli, ours: bool) -> None:
    source, schema = cli.pair.source, cli.schema
    cli.spec["tables"]["rules"] = [{"match": f"{schema}.currencies"}]
    cli.spec["cutover"] = {"sourceLock": "None", "watchFor": "5s"}
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.post("cutover")
        wait_until(lambda: "watching the source for late writes" in process.tail(), "the watch")
        for name in TABLES:
            source.execute(
                f"USE `{schema}`",
                f"UPDATE {name} SET v = 'theirs' WHERE tenant_id IN ('5', '6')",
                f"INSERT INTO {name} (id, tenant_id, v) VALUES (9001, '5', 'new')",
                f"DELETE FROM {name} WHERE id = 105",
            )
        if ours:
            source.execute(f"UPDATE `{schema}`.notes SET v = 'late' WHERE id = 42")
        assert process.wait_end() == (65 if ours else 0), process.tail()
        assert ("took 1 row change of selected tables" in process.tail()) == ours
        assert (f"{schema}.notes: 1 row (id=42)" in process.tail()) == ours


def test_rows_of_the_tenants_move_and_no_others(cli: FerryCli) -> None:
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    cli.spec["tables"]["rules"] = [{"match": f"{schema}.currencies"}]
    with cli.process() as process:
        process.start().wait_stage("Streaming", "ReadyForCutover")
        for name in TABLES:
            source.execute(
                f"USE `{schema}`",
                f"UPDATE {name} SET tenant_id = 42 WHERE id = 500",
                f"UPDATE {name} SET tenant_id = 5 WHERE id = 142",
                f"DELETE FROM {name} WHERE id = 7",
                f"INSERT INTO {name} (id, tenant_id, v) VALUES (9001, 7, 'new'), (9002, 8, 'no')",
            )
        process.wait_stage("ReadyForCutover")
        process.post("cutover")
        ended = Ended(process.wait_end(), "", process.log.read_text())
    assert ended.code == 0, ended
    for name in TABLES:
        wanted = source.query(f"SELECT * FROM `{schema}`.{name} WHERE tenant_id IN ('42', '7') ORDER BY id")
        assert len(wanted) == 60
        assert target.query(f"SELECT * FROM `{schema}`.{name} ORDER BY id") == wanted
    assert target.query(f"SELECT id FROM `{schema}`.currencies") == [(1,), (2,)]


TENANTS = ["-1", "0", "1"]
"""Each update by the writers gives a row to one of these tenants, or to another."""
BELL = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bell"}, "stringData": {"token": "t0k"}}


class OfTenants(FerryUnderLoad):
    """The column ``n`` names the tenant."""

    def equal(self) -> Compared:
        source, target = self.pair.source, self.pair.target
        for table in self.tables:
            assert_equal_tables(source, target, (self.schema, table.name), where=f"n IN ({', '.join(TENANTS)})")
        return assert_equal_tables(source, target, (self.schema, "aim"))


def test_tenants_under_writers_at_a_certain_time(pair: Pair, schema: str, tmp_path: Path) -> None:
    """Killed while it copies, while it waits for its window, and in an attempt; notifications tell of each process."""
    rules: list[dict[str, Any]] = [{"match": f"{schema}.aim"}, {"match": f"{schema}.bulk", "index": "tenant"}]
    tables = {"include": [f"{schema}.*"], "exclude": [f"{schema}.aside"], "rules": rules}
    tables |= {"tenant": {"column": "n", "values": TENANTS}}
    opens = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    with HookServer() as hooks:
        bell = {"url": hooks.url("/bell"), "tokenSecretRef": {"name": "bell"}}
        hooks.answers["/hangs"] = [HANG] * 999
        told: dict[str, Any] = {"notifications": [bell, {"url": hooks.url("/hangs")}]}
        window = {"mode": "Scheduled", "notBefore": opens.isoformat()}
        with OfTenants(pair, schema, tmp_path, rows=4000, odd=2, tables=tables, cutover=window, **told) as under_load:
            pair.source.execute(f"ALTER TABLE `{schema}`.bulk ADD INDEX tenant (n)")
            ferry = under_load.ferry
            ferry.edit(lambda documents: documents.append(BELL))
            with under_load.writers() as writers:
                ferry.start()
                wait_until(lambda: under_load.moved() > 0, "rows are copied")
                ferry.kill()
                ferry.start().wait_status(
                    lambda status: condition(status, "ReadyForCutover")["reason"] == "OutsideWindow"
                )
                assert ferry.status()["cutover"]["attempts"] == 0
                writers.plain.wait_for(50)
                ferry.kill()
                earlier = {"notBefore": "2026-01-01T00:00:00Z"}
                ferry.edit(lambda documents: documents[0]["spec"]["cutover"].update(earlier))
                under_load.proxy.hold(RECORDS_COMPLETED)
                ferry.start()
                under_load.proxy.wait_held()
                assert under_load.locked
                ferry.kill()
                under_load.proxy.cut()
                ferry.start()
                under_load.finish(writers=writers, approve=False)
        received = hooks.at("/bell")
    stages = [one.body["value"] for one in received if one.body["event"] == "StageChanged"]
    assert stages[-1] == "Completed"
    assert stages.count("CuttingOver") >= 2, "the process that was killed in its attempt told of it"
    assert hooks.at("/hangs"), "the one that never answers keeps nobody waiting"
    for one in received:
        assert one.headers["X-Ferry-Signature"] == signature("t0k", one.headers["X-Ferry-Timestamp"], one.raw)
