"""Preflight looks for values that the target cannot hold."""

import pytest

from ferry_core.preflight import Status, samples
from ferry_core.preflight.facts import ServerFacts
from tests.support.preflight import check, opened, told
from tests.support.servers import Pair

LAST = "2030-01-01 00:00:00"


def rows(pair: Pair, schema: str, table: str, *values: str) -> None:
    pair.source.execute(*(f"INSERT INTO `{schema}`.{table} VALUES ({value})" for value in values))


def test_json_that_does_not_survive_its_text(mysql_pair: Pair, schema: str) -> None:
    """MariaDB's JSON is text. The first and the last rows that match the filter are examined."""
    pair = mysql_pair
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE plain (id INT PRIMARY KEY, j JSON)",
        "CREATE TABLE decimals (id INT PRIMARY KEY, j JSON)",
        "CREATE TABLE dates (id INT PRIMARY KEY, j JSON, k JSON)",
    )
    rows(pair, schema, "plain", "1, '{\"a\": 1.5}'", "2, NULL")
    rows(pair, schema, "decimals", "1, JSON_OBJECT('a', CAST(1.10 AS DECIMAL(5,2)))", "2, '{}'")
    rows(pair, schema, "dates", "1, '{}', NULL", "2, '[]', JSON_OBJECT('d', CAST('2024-01-01' AS DATE))")
    found = told(check(pair.source, pair.target, schema))
    assert list(found) == ["JsonPrecision"]
    assert f"{schema}.dates, {schema}.decimals hold JSON" in found["JsonPrecision"]
    known = check(pair.source, pair.target, schema, acknowledge=["JsonPrecision"])
    assert not told(known)
    assert "JsonPrecision" in told(known, Status.ACKNOWLEDGED)
    tables = {"include": [f"{schema}.d*"], "rules": [{"match": f"{schema}.d*", "where": "id = 2"}]}
    assert f"{schema}.dates hold" in told(check(pair.source, pair.target, schema, tables=tables))["JsonPrecision"]


def test_timestamps_after_the_targets_last_moment(pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As between MariaDB 11.8 and 10.11, with a last moment that these servers can hold."""
    pair.source.execute(
        f"USE `{schema}`",
        "SET SESSION time_zone = '+00:00'",
        "CREATE TABLE t (id INT PRIMARY KEY, a TIMESTAMP NULL, b TIMESTAMP(6) NULL, d DATETIME)",
        f"INSERT INTO t VALUES (1, '{LAST}', '{LAST}.999999', '2100-01-01'), (2, NULL, NULL, NULL)",
        "CREATE TABLE late (id INT PRIMARY KEY, a TIMESTAMP NULL, b TIMESTAMP(6) NULL)",
        "INSERT INTO late VALUES (1, '2000-01-01', NULL), (2, NULL, '2030-01-01 00:00:01')",
    )
    at_first = samples.last_timestamp
    with opened(pair.source, pair.target, schema) as context:
        assert not list(samples.CHECKS[1].find(context))
        target = context.target_facts
        monkeypatch.setattr(samples, "last_timestamp", lambda of: LAST if of is target else at_first(of))
        (finding,) = samples.CHECKS[1].find(context)
        assert finding.reason == "TimestampOutOfRange"
        assert f"{schema}.late hold TIMESTAMPs after {LAST} UTC" in finding.message
        monkeypatch.setattr(samples, "BUDGET_SECONDS", -1.0)
        (finding,) = samples.CHECKS[1].find(context)
        assert finding.reason == "RowsNotSampled"
        assert f"{schema}.late, {schema}.t" in finding.message


def test_a_statement_that_takes_too_long_is_given_up(pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE t (id INT PRIMARY KEY, a TIMESTAMP NULL)",
        "INSERT INTO t VALUES (1, NULL), (2, NULL)",
    )
    monkeypatch.setattr(samples, "TABLE_SECONDS", 1)
    at_first = samples.last_timestamp
    with opened(pair.source, pair.target, schema) as context:
        target = context.target_facts
        monkeypatch.setattr(samples, "last_timestamp", lambda of: LAST if of is target else at_first(of))
        monkeypatch.setattr(samples, "_anywhere", lambda *_: iter([f"SELECT SLEEP(0.7) FROM `{schema}`.t"]))
        (finding,) = samples.CHECKS[1].find(context)
        assert finding.reason == "RowsNotSampled"


@pytest.mark.parametrize(
    ("mariadb", "version", "last"),
    [(False, (9, 7), "2038"), (True, (10, 11), "2038"), (True, (11, 4), "2038"), (True, (11, 5), "2106")],
)
def test_the_last_moment_of_a_version(mariadb: bool, version: tuple[int, int], last: str) -> None:
    class Facts(ServerFacts):
        def __init__(self) -> None:
            self.mariadb = mariadb

        @property
        def version(self) -> tuple[int, ...]:
            return version

    assert samples.last_timestamp(Facts()).startswith(last)
