"""Sequences of MariaDB are created before the tables, and the target gives no number that the source gave."""

from contextlib import closing
from pathlib import Path
from typing import Any

from ferry_core.api.selection import Tables
from ferry_core.schema.sequences import raise_sequences
from tests.support.ferry_cli import FerryCli, FerryProcess
from tests.support.servers import Pair, Server
from tests.support.table_pair import TablePair

SEQUENCES = {
    "up": "CACHE 10",
    "down": "INCREMENT BY -2 START WITH -1 CACHE 5",
    "round": "MINVALUE 1 MAXVALUE 3 CYCLE CACHE 2",
    "ahead": "",
    "excluded": "",
}


def given(server: Server, schema: str, name: str, times: int = 1) -> int:
    """The last of so many numbers."""
    return [int(server.value(f"SELECT NEXTVAL(`{schema}`.`{name}`)")) for _ in range(times)][-1]


def test_each_is_raised_to_the_first_number_that_is_not_reserved(mariadb_pair: Pair, schema: str) -> None:
    source, target = mariadb_pair.source, mariadb_pair.target
    target.execute(f"CREATE DATABASE `{schema}`")
    for server in (source, target):
        server.execute(f"USE `{schema}`", *(f"CREATE SEQUENCE {name} {how}" for name, how in SEQUENCES.items()))
    source.execute(f"USE `{schema}`", "CREATE SEQUENCE only_here", "CREATE TABLE t (id INT PRIMARY KEY)")
    last = {name: given(source, schema, name, 7) for name in SEQUENCES}
    target.execute(f"DO SETVAL(`{schema}`.ahead, 5000)")
    selection = Tables.model_validate({"include": [f"{schema}.*"], "exclude": [f"{schema}.excluded"]})
    with closing(TablePair(mariadb_pair, schema)) as both:
        tables = both.selected(f"{schema}.t")
        raised = raise_sequences(both.control, both.target, selection, tables, both.fence)
        again = raise_sequences(both.control, both.target, selection, tables, both.fence)
    assert [one.name for one in raised] == ["down", "round", "up"]
    assert again == []
    assert last["up"] == 7
    assert given(target, schema, "up") == 11
    assert last["down"] == -13
    assert given(target, schema, "down") == -21
    assert given(target, schema, "round") == given(source, schema, "round", 2)
    assert given(target, schema, "ahead") == 5001
    assert given(target, schema, "excluded") == 1


def test_a_table_whose_default_is_a_sequence(mariadb_pair: Pair, schema: str, tmp_path: Path) -> None:
    source, target = mariadb_pair.source, mariadb_pair.target
    target.execute(f"CREATE DATABASE `{schema}`")
    for server in (source, target):
        server.execute(f"CREATE SEQUENCE `{schema}`.s")
    rows = ", ".join(["(1)"] * 20)
    source.execute(
        f"USE `{schema}`",
        f"CREATE TABLE t (id BIGINT DEFAULT NEXTVAL(`{schema}`.s) PRIMARY KEY, v INT)",
        f"INSERT INTO t (v) VALUES {rows}",
        "DELETE FROM t WHERE id > 10",
    )
    done = FerryCli(tmp_path / "ferry", mariadb_pair, schema, cutover={"mode": "Automatic", "watchFor": "0s"}).run()
    assert done.code == 0, done.stderr
    target.execute(f"INSERT INTO `{schema}`.t (v) VALUES (2)")
    assert target.value(f"SELECT MAX(id) FROM `{schema}`.t") > 20


def test_sequences_are_created_before_the_tables_that_use_them(mariadb_pair: Pair, schema: str, tmp_path: Path) -> None:
    source, target, renamed = mariadb_pair.source, mariadb_pair.target, f"{schema}_moved"
    source.execute(
        f"USE `{schema}`",
        "CREATE SEQUENCE s CACHE 10",
        "CREATE SEQUENCE `we``ird` INCREMENT BY -2 START WITH -1 NOCACHE COMMENT = 'it''s `s`'",
        "CREATE SEQUENCE left_out",
        "CREATE TABLE t (id BIGINT DEFAULT NEXTVAL(s) PRIMARY KEY, w BIGINT DEFAULT (NEXTVAL(`we``ird`) + 1),"
        f" z VARCHAR(99) DEFAULT 'nextval(`{schema}`.`s`)', v INT)",
        "CREATE VIEW later AS SELECT v FROM t",
        f"INSERT INTO t (v) VALUES {', '.join(['(1)'] * 20)}",
        "DELETE FROM t WHERE id > 10",
    )
    ferry = FerryCli(tmp_path / "ferry", mariadb_pair, schema, cutover={"mode": "Automatic", "watchFor": "0s"})
    ferry.spec["tables"] |= {"exclude": [f"{schema}.left_out"], "renameSchemas": {schema: renamed}}
    refused = ferry.check()
    assert "schema.objects.sequences: Create" in refused.stdout + refused.stderr
    ferry.spec["schema"] = {"objects": {"sequences": "Create", "views": "Create"}}
    checked = ferry.check()
    assert checked.code == 0, checked.stdout + checked.stderr
    done = ferry.run()
    assert done.code == 0, done.stderr
    target.execute(f"INSERT INTO `{renamed}`.t (v) VALUES (2)")
    assert target.value(f"SELECT MAX(id) FROM `{renamed}`.t") > 20
    assert target.value(f"SELECT w FROM `{renamed}`.t WHERE v = 2") == -40
    for name in ("s", "we``ird"):
        shown = [
            server.query(f"SHOW CREATE SEQUENCE `{of}`.`{name}`")
            for server, of in ((source, schema), (target, renamed))
        ]
        assert shown[0] == shown[1]
    found = target.query(f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{renamed}'")
    assert {name for (name,) in found} == {"s", "we`ird", "t", "later"}


def test_a_sequence_changed_during_the_run_is_made_again(mariadb_pair: Pair, schema: str, tmp_path: Path) -> None:
    source, target = mariadb_pair.source, mariadb_pair.target
    source.execute(f"USE `{schema}`", "CREATE SEQUENCE s", "CREATE TABLE t (id BIGINT DEFAULT NEXTVAL(s) PRIMARY KEY)")
    spec: Any = {"tables": {"include": [f"{schema}.*"]}, "schema": {"objects": {"sequences": "Create"}}}
    with FerryProcess(tmp_path / "ferry", mariadb_pair, **spec) as ferry:
        ferry.start().wait_stage("ReadyForCutover")
        assert target.value(f"SELECT increment FROM `{schema}`.s") == 1
        ferry.kill()
        source.execute(f"ALTER SEQUENCE `{schema}`.s INCREMENT BY 7")
        ferry.start().wait_stage("ReadyForCutover")
        source.execute(
            f"ALTER SEQUENCE `{schema}`.s CACHE 3",
            f"CREATE SEQUENCE `{schema}`.new",
            f"INSERT INTO `{schema}`.t VALUES (DEFAULT), (DEFAULT)",
        )
        ferry.cut_over()
    shown = [
        server.query(f"SHOW CREATE SEQUENCE `{schema}`.`{name}`")
        for name in ("s", "new")
        for server in (source, target)
    ]
    assert shown[0] == shown[1]
    assert shown[2] == shown[3]
    assert target.value(f"SELECT NEXTVAL(`{schema}`.s)") > source.value(f"SELECT MAX(id) FROM `{schema}`.t")


def test_another_sequence_of_that_name_on_the_target_is_kept(mariadb_pair: Pair, schema: str, tmp_path: Path) -> None:
    source, target = mariadb_pair.source, mariadb_pair.target
    source.execute(f"USE `{schema}`", "CREATE SEQUENCE s", "CREATE TABLE t (id BIGINT DEFAULT NEXTVAL(s) PRIMARY KEY)")
    target.execute(f"CREATE DATABASE `{schema}`", f"CREATE SEQUENCE `{schema}`.s INCREMENT BY 5")
    ferry = FerryCli(tmp_path / "ferry", mariadb_pair, schema)
    ferry.spec["schema"] = {"objects": {"sequences": "Create"}}
    ended = ferry.check()
    assert ended.code == 64
    assert "TargetObjectDiffers" in ended.stdout
    assert target.value(f"SELECT increment FROM `{schema}`.s") == 5
