"""Texts that servers print as question marks: a whole run transfers them, and accepts tables created by hand."""

from pathlib import Path

from tests.support.ferry_cli import FerryCli
from tests.support.servers import Pair

AT_ONCE = {"mode": "Automatic", "watchFor": "0s"}
COLUMNS = (
    "id INT PRIMARY KEY, e ENUM('\U0001f600', '?', 'a') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT "
    "'\U0001f600', s SET('?', '\U0001f601') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, v VARCHAR(9) CHARACTER SET "
    "utf8mb4 DEFAULT '\U0001f602', b VARBINARY(9) DEFAULT x'ff00'"
)


def test_unprintable_texts_arrive(pair: Pair, schema: str, tmp_path: Path) -> None:
    source, target = pair.source, pair.target
    source.execute(
        f"USE `{schema}`",
        *(f"CREATE TABLE {name} ({COLUMNS})" for name in ("made", "there")),
        *(f"INSERT INTO {name} (id, e, s) VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3)" for name in ("made", "there")),
        *(f"INSERT INTO {name} (id) VALUES (4)" for name in ("made", "there")),
    )
    target.execute(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4", f"CREATE TABLE `{schema}`.there ({COLUMNS})")
    ended = FerryCli(tmp_path, pair, schema, cutover=AT_ONCE).run()
    assert ended.code == 0, ended.stderr
    for name in ("made", "there"):
        rows = f"SELECT HEX(e), HEX(s), HEX(v), HEX(b) FROM `{schema}`.{name}"
        assert target.query(rows) == source.query(rows)
        target.execute(f"INSERT INTO `{schema}`.{name} (id) VALUES (5)")
        assert target.query(rows)[3:] == [("F09F9880", None, "F09F9882", "FF00")] * 2
