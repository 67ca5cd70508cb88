"""Names and texts that an author of a database may choose: a whole move with a kill, and all that is told of it."""

import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import FerryCli
from tests.support.servers import Pair

NASTY = "`b\"c'd%s{x}\n\r\t\x1b[31m\\;--/*"
LONG = "é" * (64 - len(NASTY)) + NASTY
"""64 characters, the longest name; its file's name is as long as a file system takes."""
ROWS = 6000


def name(text: str) -> str:
    return f"`{text.replace('`', '``')}`"


def literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def test_hostile_names(pair: Pair, schema: str, tmp_path: Path) -> None:
    home, source = f"{schema}_{NASTY}", pair.source
    table = f"{name(home)}.{name(LONG)}"
    rows = ", ".join(f"({number}, {literal(NASTY)})" for number in range(ROWS))
    source.execute(
        f"CREATE DATABASE {name(home)} CHARACTER SET utf8mb4",
        f"CREATE TABLE {table} ({name('k' + NASTY)} INT PRIMARY KEY, {name(LONG)} VARCHAR(60) NOT NULL "
        f"DEFAULT {literal(NASTY)} COMMENT {literal(NASTY)}, UNIQUE KEY {name('u' + NASTY)} ({name('k' + NASTY)}, "
        f"{name(LONG)}), CONSTRAINT {name('c' + NASTY)} CHECK ({name(LONG)} <> {literal(NASTY + NASTY)})) "
        f"COMMENT {literal(NASTY)}",
        f"INSERT INTO {table} VALUES {rows}",
    )
    cli = FerryCli(tmp_path / "ferry", pair, schema, throttle={"maxRowsPerSecond": 1000})
    cli.spec["tables"] = {"include": [f"{schema}_*.*"]}
    cli.spec["copy"] = {"chunkTargetBytes": "64Ki"}
    cli.spec["cutover"] = {"mode": "Manual", "watchFor": "0s"}
    with cli.process() as ferry:
        ferry.start().wait_status(lambda status: status["progress"]["rowsCopied"] > 0)
        ferry.kill()
        source.execute(
            f"DELETE FROM {table} WHERE {name('k' + NASTY)} % 7 = 0",
            f"UPDATE {table} SET {name(LONG)} = 'later' WHERE {name('k' + NASTY)} % 5 = 0",
        )
        ferry.edit(lambda documents: documents[0]["spec"].pop("throttle"))
        ferry.start_streaming()
        source.execute(f"INSERT INTO {table} ({name('k' + NASTY)}) VALUES (-1)")
        (told,) = ferry.get("/api/v1/tables")["tables"]
        assert NASTY in told["name"]
        with urllib.request.urlopen(f"http://{ferry.host}:{ferry.port}/metrics", timeout=60) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        labels = {text for family in families for sample in family.samples for text in sample.labels.values()}
        assert told["name"] in labels
        ferry.cut_over()
    assert_equal_tables(source, pair.target, (home, LONG))
    assert pair.target.value(f"SELECT COUNT(*) FROM {table} WHERE {name('k' + NASTY)} = -1") == 1
    told_in_log = ferry.log.read_text()
    assert all(character.isprintable() or character == "\n" for character in told_in_log)
    assert "\\x1b[31m" in told_in_log
    assert not any(line.startswith(("\t", "`")) for line in told_in_log.splitlines())
