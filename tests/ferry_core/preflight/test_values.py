"""Preflight and texts that information_schema prints as question marks."""

import pytest

from ferry_core.preflight import Status
from tests.support.preflight import check, told
from tests.support.servers import Pair, set_global

ENUM = "id INT PRIMARY KEY, e ENUM({}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ("'\U0001f600', '?', 'a'", ""),
        ("'?', '\U0001f600', 'a'", "e is enum(0x3f,0xf09f9880,'a') and not enum(0xf09f9880,0x3f,'a')"),
        ("'\U0001f601', '?', 'a'", "e is enum(0xf09f9881,0x3f,'a')"),
    ],
    ids=["alike", "question marks", "another one"],
)
def test_members_beyond_the_basic_plane(pair: Pair, schema: str, there: str, said: str) -> None:
    here = "'\U0001f600', '?', 'a'"
    pair.source.execute(f"CREATE TABLE `{schema}`.t ({ENUM.format(here)})")
    pair.target.execute(f"CREATE DATABASE `{schema}`", f"CREATE TABLE `{schema}`.t ({ENUM.format(there)})")
    found = told(check(pair.source, pair.target, schema))
    assert list(found) == (["TargetTableDiffers"] if said else [])
    assert said in found.get("TargetTableDiffers", "")


def test_stored_values_that_depend_on_settings(mysql_pair: Pair, schema: str) -> None:
    """MariaDB does not store values that depend on them."""
    mysql_pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, at DATETIME, c CHAR(9), v VARCHAR(9), n VARCHAR(20) AS "
        "(DAYNAME(at)) STORED, f VARCHAR(30) AS (DATE_FORMAT(at, '%Y %M')) STORED, y INT AS (DATE_FORMAT(at, '%Y')) "
        "STORED, p DECIMAL(9,5) AS (id / 7) STORED, l INT AS (LENGTH(c)) STORED, o INT AS (LENGTH(v)) STORED, "
        "z DATETIME AS (FROM_UNIXTIME(id)) STORED, w VARCHAR(20) AS (DAYNAME(at)) VIRTUAL, INDEX x ((MONTHNAME(at))))"
    )
    source, target = mysql_pair.source, mysql_pair.target
    found = told(check(source, target, schema), Status.WARNING)
    assert f"{schema}.t.z store values" in found["GeneratedFromTimestamp"]
    assert f": {schema}.t.f, {schema}.t.index x, {schema}.t.n of lc_time_names (en_US" in found["GeneratedBySession"]
    assert "acknowledge: [GeneratedValues]" in found["GeneratedBySession"]
    assert "div_precision_increment" not in found["GeneratedBySession"]
    with set_global(source, "div_precision_increment = 7", "sql_mode = 'PAD_CHAR_TO_FULL_LENGTH'"):
        said = told(check(source, target, schema), Status.WARNING)["GeneratedBySession"]
        assert f"{schema}.t.p of div_precision_increment (7 globally, 4 on the target)" in said
        assert f"{schema}.t.l of sql_mode (PAD_CHAR_TO_FULL_LENGTH globally" in said
    known = told(check(source, target, schema, acknowledge=["GeneratedValues"]), Status.ACKNOWLEDGED)
    assert list(known) == ["GeneratedFromTimestamp", "GeneratedBySession"]
