"""Sequences of MariaDB at the cutover: the target gives no number that the source gave."""

from contextlib import closing
from pathlib import Path

from ferry_core.api.selection import Tables
from ferry_core.schema.sequences import raise_sequences
from tests.support.ferry_cli import FerryCli
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
