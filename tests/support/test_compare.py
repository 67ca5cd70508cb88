"""The comparer must detect every kind of difference, because all other tests rely on it."""

import ast
import inspect
import random

import pytest

from tests.support import all_types, compare
from tests.support.compare import assert_equal_schemas, assert_equal_tables
from tests.support.schemas import create_odd_tables, odd_tables
from tests.support.servers import Pair


@pytest.fixture
def twins(pair: Pair, schema: str) -> Pair:
    """The odd tables, alike on both servers."""
    pair.target.execute(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")
    for server in (pair.source, pair.target):
        create_odd_tables(server, schema, odd_tables(pair.family), share=0.02)
    return pair


def test_twins_are_equal(twins: Pair, schema: str) -> None:
    compared = assert_equal_schemas(twins.source, twins.target, schema)
    assert compared.tables == len(odd_tables(twins.family))
    assert compared.rows > 1000


def test_every_column_of_every_type_counts(pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One changed value in each writable column, with as few comparisons as there are rows."""
    pair.target.execute(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")
    for server in (pair.source, pair.target):
        server.execute(all_types.ddl(pair.family, schema), *all_types.rows(pair.family, schema))
    assert_equal_tables(pair.source, pair.target, (schema, "all_types"))
    per_pass = all_types.row_count(pair.family) - 4
    monkeypatch.setattr(compare, "_SHOWN_KEYS", per_pass)
    writable = [column for column in all_types.columns(pair.family) if len(column.literals) > 1]
    for start in range(0, len(writable), per_pass):
        batch = writable[start : start + per_pass]
        for server, literal in ((pair.source, 0), (pair.target, 1)):
            change = "UPDATE {}.all_types SET {} = {} WHERE id = {}"
            changes = [change.format(schema, one.name, one.literals[literal], row) for row, one in enumerate(batch)]
            server.execute(all_types.SESSION, *changes)
        with pytest.raises(AssertionError) as caught:
            assert_equal_tables(pair.source, pair.target, (schema, "all_types"))
        unseen = [column.name for column in batch if f" {column.name}: source " not in str(caught.value)]
        assert not unseen
        assert f"{len(batch)} with other values" in str(caught.value)
        for row, one in enumerate(batch):
            pair.target.execute(all_types.SESSION, change.format(schema, one.name, one.literals[0], row))
    assert_equal_tables(pair.source, pair.target, (schema, "all_types"))


@pytest.mark.parametrize("on_target", ["(3), (3), (2)", "(1), (2), (2)"])
def test_sees_another_number_of_equal_rows(pair: Pair, schema: str, on_target: str) -> None:
    pair.target.execute(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")
    for server, rows in ((pair.source, "(1), (1), (2)"), (pair.target, on_target)):
        server.execute(f"CREATE TABLE {schema}.keyless (n INT)", f"INSERT INTO {schema}.keyless VALUES {rows}")
    with pytest.raises(AssertionError, match="rows differ: "):
        assert_equal_tables(pair.source, pair.target, (schema, "keyless"))


def test_sees_null_instead_of_empty(twins: Pair, schema: str) -> None:
    twins.source.execute(f"UPDATE {schema}.k_signed SET s = '', b = NULL")
    twins.target.execute(f"UPDATE {schema}.k_signed SET s = NULL, b = ''")
    with pytest.raises(AssertionError, match=r"s: source  target ~\n\s+b: source ~ target 0:e3b0"):
        assert_equal_tables(twins.source, twins.target, (schema, "k_signed"))


def test_names_missing_rows_and_ghosts(twins: Pair, schema: str) -> None:
    table = next(one for one in odd_tables(twins.family) if one.name == "k_composite")
    ghost = list(table.inserts(schema, [3999], random.Random(0)))
    twins.target.execute(f"DELETE FROM {schema}.k_composite WHERE {table.where(3999)}", *ghost)
    twins.source.execute(f"DELETE FROM {schema}.k_composite WHERE {table.where(3999)}")
    twins.target.execute(f"DELETE FROM {schema}.k_composite WHERE NOT ({table.where(3999)}) LIMIT 1")
    with pytest.raises(AssertionError, match=r"1 missing on the target, 1 only there, 0 with other values"):
        assert_equal_tables(twins.source, twins.target, (schema, "k_composite"))


def test_a_filter_chooses_rows_of_the_source(twins: Pair, schema: str) -> None:
    chosen = f"{schema}.k_any_case"
    twins.target.execute(f"DELETE FROM {chosen} WHERE NOT (w LIKE 'Ö%' OR w LIKE 'k%')")
    where = "w LIKE 'Ö%' OR w LIKE 'k%'"
    assert_equal_tables(twins.source, twins.target, chosen, where=where)
    twins.target.execute(f"DELETE FROM {chosen} LIMIT 1")
    with pytest.raises(AssertionError, match="1 missing on the target, 0 only there"):
        assert_equal_tables(twins.source, twins.target, chosen, where=where)


@pytest.mark.parametrize(
    "change",
    [
        "ADD COLUMN extra INT",
        "DROP COLUMN f",
        "MODIFY s VARCHAR(301) CHARACTER SET utf8mb4 NULL",
        "MODIFY s VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL",
        "ADD INDEX more (n)",
        "DROP INDEX u",
        "COMMENT 'other'",
    ],
)
def test_sees_other_definitions(pair: Pair, schema: str, change: str) -> None:
    pair.target.execute(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")
    table = next(one for one in odd_tables(pair.family) if one.name == "k_second_unique")
    pair.source.execute(table.ddl(schema))
    pair.target.execute(table.ddl(schema))
    assert_equal_tables(pair.source, pair.target, (schema, table.name))
    pair.target.execute(f"ALTER TABLE {schema}.{table.name} {change}")
    with pytest.raises(AssertionError, match="definitions differ"):
        assert_equal_tables(pair.source, pair.target, (schema, table.name))


def test_sees_missing_and_extra_tables(twins: Pair, schema: str) -> None:
    twins.target.execute(f"RENAME TABLE {schema}.k_enum TO {schema}.k_other")
    with pytest.raises(AssertionError, match=r"missing on the target: \['k_enum'\]; only there: \['k_other'\]"):
        assert_equal_schemas(twins.source, twins.target, schema)


def test_the_next_id_and_names_of_constraints_may_differ(pair: Pair, schema: str) -> None:
    pair.target.execute(f"CREATE DATABASE {schema}_new CHARACTER SET utf8mb4")
    for server, name, table in ((pair.source, schema, "child"), (pair.target, f"{schema}_new", "kid")):
        server.execute(
            f"CREATE TABLE {name}.parent (id INT AUTO_INCREMENT PRIMARY KEY)",
            f"CREATE TABLE {name}.{table} (id INT PRIMARY KEY, p INT, CHECK (p > 0), "
            f"FOREIGN KEY (p) REFERENCES {name}.parent (id))",
        )
    pair.source.execute(f"ALTER TABLE {schema}.parent AUTO_INCREMENT = 77")
    renames = {schema: f"{schema}_new"}
    for old, new in (("parent", "parent"), ("child", "kid")):
        assert_equal_tables(pair.source, pair.target, (schema, old), (f"{schema}_new", new), schema_renames=renames)


def test_it_is_independent_of_the_engine() -> None:
    tree = ast.parse(inspect.getsource(compare))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imported if name.startswith("ferry")]
