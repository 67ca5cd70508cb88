"""Definitions with all that the families print differently are created on the other one, and found to be alike."""

import re

import pytest

from ferry_core.api.selection import Tables
from ferry_core.schema.create import create_missing
from ferry_core.tables.discovery import discover
from tests.support.servers import Pair, Server
from tests.support.table_pair import TablePair

COMMON = r"""id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(20) DEFAULT 'x' COMMENT 'it''s, (\\', n INT,
    ts TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    dt DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3),
    b BINARY(3) DEFAULT 'abc', bits BIT(3) DEFAULT b'101', e ENUM('a\\b', 'it''s', 'x,y') DEFAULT 'x,y',
    v VARCHAR(10) CHARACTER SET latin1 DEFAULT 'é', j JSON, p POINT NOT NULL, t TEXT,
    s VARCHAR(30) GENERATED ALWAYS AS (CONCAT(v, 'é')) STORED, hidden INT INVISIBLE DEFAULT 3,
    KEY down (n DESC) COMMENT 'q', SPATIAL KEY (p), FULLTEXT KEY (t), CHECK (n > 0), CONSTRAINT cc CHECK (v <> 'z\\')"""
OWN = {
    "MySQL": """, u CHAR(36) DEFAULT (uuid()), d DATE DEFAULT (curdate()), words TEXT DEFAULT ('abc'),
        c INT COLUMN_FORMAT FIXED, g INT GENERATED ALWAYS AS (n + 1) VIRTUAL NOT NULL, place POINT SRID 4326,
        KEY out_of_sight (n, id) INVISIBLE, CONSTRAINT nn CHECK (n <> 77) NOT ENFORCED""",
    "MariaDB": """, u UUID DEFAULT uuid(), u6 INET6 DEFAULT '::1', d DATE DEFAULT curdate(), words TEXT DEFAULT 'abc',
        now DATE DEFAULT current_timestamp(), sum INT DEFAULT (1 + 2), since BIGINT DEFAULT unix_timestamp(),
        packed TEXT COMPRESSED, g INT GENERATED ALWAYS AS (n + 1) VIRTUAL, own INT CHECK (own > 5),
        KEY out_of_sight (n, id) IGNORED""",
}
PARTITIONED = "CREATE TABLE parts (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10))"


def created(server: Server, schema: str, table: str) -> str:
    return str(server.query(f"SHOW CREATE TABLE `{schema}`.{table}")[0][1])


@pytest.mark.parametrize("source", ["mysql", "mariadb"])
def test_definitions_are_created_on_the_other_family(
    mysql_pair: Pair, mariadb_pair: Pair, schema: str, source: str
) -> None:
    one, other = (mysql_pair, mariadb_pair) if source == "mysql" else (mariadb_pair, mysql_pair)
    both = TablePair(Pair(one.source, other.target), schema)
    options = "COMMENT = 'it''s' STATS_PERSISTENT = 1"
    both.on_source(f"CREATE TABLE t ({COMMON} {OWN[one.source.flavor.value]}) {options}", PARTITIONED)
    tables = discover(both.control, Tables(include=[f"{schema}.*"]))
    assert create_missing(both.control, both.target, tables, both.fence) == tables  # raises for tables that differ
    text = created(other.target, schema, "t")
    assert "INVISIBLE" in re.search(r"`hidden` .*", text)[0]  # type: ignore[index]
    assert ("IGNORED" if source == "mysql" else "INVISIBLE") in re.search(r"KEY `out_of_sight` .*", text)[0]  # type: ignore[index]
    assert "json_valid(`j`)" in text
    assert "ENFORCED" not in text
    assert text.endswith("COMMENT='it''s'")
    assert "PARTITION BY RANGE" in created(other.target, schema, "parts")
    both.close()
