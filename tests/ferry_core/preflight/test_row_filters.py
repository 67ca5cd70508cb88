"""Row filters: what is refused, and what a server says about them."""

import pytest

from ferry_core.mysql.flavor import Flavor
from ferry_core.preflight import Status
from ferry_core.preflight.filter_words import unproven_words
from tests.support.preflight import check, told
from tests.support.servers import Pair, Server, set_global

FILTERED = (
    "CREATE TABLE `{}`.t (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20) CHARACTER SET latin1, "
    "kind ENUM('a','b'), "
    "nihongo VARCHAR(9) CHARACTER SET ujis, at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, "
    "f FLOAT, twice INT AS (f * 2) STORED, doc JSON, rand INT, "
    "flags SET('x','y'), raw VARBINARY(9))"
)


def _filtered(pair: Pair, schema: str, where: str) -> dict[str, str]:
    tables = {"include": [f"{schema}.*"], "rules": [{"match": f"{schema}.t", "where": where}]}
    return told(check(pair.source, pair.target, schema, tables=tables))


def test_row_filters(pair: Pair, schema: str) -> None:
    pair.source.execute(FILTERED.format(schema))
    schemas_before = set(pair.target.query("SHOW DATABASES"))
    good = [
        "id % 2 = 0", "id", "name = 'Zoë' OR nihongo LIKE '日本%'", "at >= '2024-01-01' AND kind = 'b'", "twice > 3",
        "JSON_EXTRACT(doc, '$.a') = 1", "`rand` IS NULL", "id IN (1, 2) -- a remark", "raw = X'00' AND flags & 1",
        "(id = 1) OR (id = 2)", "name = ')' AND name <> ';'",
    ]  # fmt: skip
    invalid = [
        "id =",
        "nosuch = 1",
        "id = 1)",
        "(id = 1",
        "id = 1) OR (1",
        "id = 1; DROP TABLE t",
        "name = 'x",
        "/* id",
        "id = 1 /*!99999 ( */ ) OR (1",
        "id = 1 /*M!999999 ( */ ) OR (1",
        "id = 1 /*!50000 OR 1 */",
        "name <> '日本'",  # which latin1 cannot hold
    ]
    impure = [
        "at < NOW()", "at > CURRENT_TIMESTAMP - INTERVAL 1 DAY", "RAND() < 0.5", "id = @x", "id < @@server_id",
        "id IN (SELECT 1)", "EXISTS (SELECT 1)", "UUID() <> ''", "USER() = 'x'", "CONNECTION_ID() = id", "SLEEP(0) = 0",
        "GET_LOCK('preflight', 0)", "at < SYSDATE()", "CURDATE() > at",
    ]  # fmt: skip
    if pair.flavor is Flavor.MYSQL:
        impure += ["RANDOM_BYTES(2) = raw", "PS_CURRENT_THREAD_ID() = id"]
    for where in good:
        assert not _filtered(pair, schema, where), where
    for where in invalid:
        assert list(_filtered(pair, schema, where)) == ["RowFilterInvalid"], where
    for where in impure:
        found = _filtered(pair, schema, where)
        print(where, found)
        assert list(found) == ["RowFilterNotPure"], where
        assert "must depend on the row alone" in found["RowFilterNotPure"]
    left = set(pair.target.query("SHOW DATABASES")) - schemas_before
    assert left <= {("mysql_ferry",)}
    assert ("row_filter_check",) not in pair.target.query(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'mysql_ferry'"
    )


def test_a_row_filter_with_a_stored_function(pair: Pair, schema: str) -> None:
    pair.source.execute(
        FILTERED.format(schema), f"CREATE FUNCTION `{schema}`.fine(a INT) RETURNS INT DETERMINISTIC NO SQL RETURN a"
    )
    found = _filtered(pair, schema, f"`{schema}`.fine(id) = 1")
    assert list(found) == ["RowFilterNotPure"]


def test_a_row_filter_is_compiled_even_if_the_tables_have_other_problems(pair: Pair, schema: str) -> None:
    pair.source.execute(FILTERED.format(schema), f"CREATE TABLE `{schema}`.m (id INT PRIMARY KEY) ENGINE=MEMORY")
    assert list(_filtered(pair, schema, "at < NOW()")) == ["UnsupportedTable", "RowFilterNotPure"]
    assert list(_filtered(pair, schema, "at <")) == ["UnsupportedTable", "RowFilterInvalid"]


def test_nothing_is_created_on_a_wrong_target(pair: Pair, schema: str) -> None:
    pair.source.execute(FILTERED.format(schema))
    tables = {"include": [f"{schema}.*"], "rules": [{"match": f"{schema}.t", "where": "at < NOW()"}]}
    pair.target.execute("DROP DATABASE IF EXISTS mysql_ferry")
    with set_global(pair.target, "read_only = 1"):
        results = check(pair.source, pair.target, schema, tables=tables)
    assert list(told(results)) == ["TargetReadOnly"]
    assert "until writable passes" in told(results, Status.SKIPPED)["NotAsked"]
    assert not pair.target.query("SHOW DATABASES LIKE 'mysql\\_ferry'")


def _refused_across(ends: tuple[Server, Server], schema: str, where: str) -> list[str]:
    tables = {"include": [f"{schema}.*"], "rules": [{"match": f"{schema}.t", "where": where}]}
    return list(told(check(*ends, schema, tables=tables)))


@pytest.mark.parametrize("source", ["mysql", "mariadb"])
def test_row_filters_of_a_move_to_the_other_family(
    mysql_pair: Pair, mariadb_pair: Pair, schema: str, source: str
) -> None:
    """The target neither has the source's collations and types, nor understands all that its filters say."""
    one, other = (mysql_pair, mariadb_pair) if source == "mysql" else (mariadb_pair, mysql_pair)
    ends = (one.source, other.target)
    own = {"mysql": "w VARCHAR(9) COLLATE utf8mb4_0900_ai_ci", "mariadb": "w VARCHAR(9), u UUID, a INET6"}[source]
    one.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, doc JSON, {own}) CHARACTER SET utf8mb4")
    good = {
        "mysql": ["id > 3 AND w = 'é'", "doc->>'$.a' = 'x' OR id = 1.5", "`w` COLLATE utf8mb4_0900_as_cs = 'x'"],
        "mariadb": ["id > 3 AND w = 'é'", "u = '6ccd780c-baba-1026-9564-5b8c656024db'", "a = '::1'",
                    "w COLLATE utf8mb4_uca1400_as_cs IN (_utf8mb4'x', X'61')"],
    }  # fmt: skip
    impure = {
        "mysql": ["doc->>'$.a' < NOW()", "doc->>'$.a' = @x", "doc->>'$.a' = RANDOM_BYTES(2)", "id < RAND()"],
        "mariadb": ["w COLLATE utf8mb4_uca1400_as_cs < NOW()", "w COLLATE utf8mb4_uca1400_as_cs = @x", "id < RAND()"],
    }
    for where in good[source]:
        assert not _refused_across(ends, schema, where), where
    for where in impure[source]:
        assert _refused_across(ends, schema, where) == ["RowFilterNotPure"], where


def test_words_that_prove_a_filter() -> None:
    columns = ["id", "Doc", "now", "current_time"]
    for proven in ("id = 1e-5 AND `now` IS NOT NULL", "NOT (doc->>'$.a' <=> x'00')", "LEFT(`doc`, 1) IN ('a', 0x61)"):
        assert unproven_words(proven, columns) == [], proven
    for text, word in {
        "now() > id": "now()",
        "`now`() > id": "`now`()",
        "id.abs(1) = 1": ".",
        "id < @@server_id": "@",
        "id < CURRENT_DATE": "CURRENT_DATE",
        "id < current_time": "current_time",
        "id = s.f(1)": "s",
        "id IN (SELECT id)": "SELECT",
    }.items():
        assert word in unproven_words(text, columns), text
