"""Tables that were made on the target by hand with a wider character set: writers, kill -9, a cutover. Every text
arrives in the same bytes, and keys that are equal by their collation stay one.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.support.compare import assert_equal_tables
from tests.support.compare_families import assert_same_across
from tests.support.ferry_cli import STREAMING, FerryProcess, ferry
from tests.support.schemas import OddTable, create_odd_tables, text
from tests.support.servers import Pair
from tests.support.writers import Pace, Writers, seed_of_run

THIN = "CHARACTER SET utf8mb3 COLLATE utf8mb3"
PARENT = f"CREATE TABLE `{{}}`.parent (code VARCHAR(40) {THIN}_general_ci PRIMARY KEY, v INT)"
CHILD = (
    f"CREATE TABLE `{{}}`.child (id INT PRIMARY KEY, code VARCHAR(40) {THIN}_general_ci, name VARCHAR(40) {THIN}_bin, "
    f"note TEXT {THIN}_unicode_ci, kind ENUM('a', 'é') {THIN}_general_ci, "
    f"loud VARCHAR(50) {THIN}_general_ci AS (CONCAT(name, '!')) STORED, UNIQUE (name), KEY (code), "
    "FOREIGN KEY (code) REFERENCES parent (code) ON DELETE CASCADE ON UPDATE CASCADE)"
)
CUTOVER = {"mode": "Manual", "watchFor": "0s", "maxLag": "20s", "maxAttempts": 100, "deadline": "5m"}


def _words(slot: int) -> str:
    return f"{('Zürich', 'kéy', '日本', '', 'Ωmega')[slot % 5]}-{slot * 7919 % 10007:05}"


def _word(slot: int) -> tuple[str, ...]:
    return (text(_words(slot)),)


def _other_word(slot: int) -> tuple[str, ...]:
    return (text(_words(slot).swapcase()),)


def _two_parts(slot: int) -> tuple[str, ...]:
    return text(f"{'Aa'[slot % 2]}{slot % 50}"), str(slot // 50)


WRITTEN = [
    OddTable(
        "names", f"w VARCHAR(40) {THIN}_general_ci NOT NULL PRIMARY KEY", ("w",), _word, True, respelt=_other_word
    ),
    OddTable("words", f"w VARCHAR(40) {THIN}_unicode_ci NOT NULL PRIMARY KEY", ("w",), _word, respelt=_other_word),
    OddTable(
        "codes",
        "c CHAR(9) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, n1 INT NOT NULL, PRIMARY KEY (c, n1)",
        ("c", "n1"),
        _two_parts,
    ),
]


@pytest.fixture(params=["mysql", "mariadb", "mysql to mariadb"])
def ends(request: pytest.FixtureRequest, mysql_pair: Pair, mariadb_pair: Pair) -> Pair:
    pairs = {"mysql": mysql_pair, "mariadb": mariadb_pair}
    return pairs.get(request.param) or Pair(mysql_pair.source, mariadb_pair.target)


def _wide(ddl: str) -> str:
    return ddl.replace("utf8mb3", "utf8mb4").replace("ascii", "utf8mb4")


def test_every_text_arrives_in_the_same_bytes(ends: Pair, schema: str, tmp_path: Path) -> None:
    seed = seed_of_run()
    made = [PARENT.format(schema), CHILD.format(schema)]
    ends.source.execute(*made)
    create_odd_tables(ends.source, schema, WRITTEN, seed=seed)
    ends.target.execute(f"CREATE DATABASE `{schema}`", *map(_wide, [*made, *(table.ddl(schema) for table in WRITTEN)]))
    parents = ", ".join(f"({text(_words(at))}, {at})" for at in range(200))
    children = ", ".join(
        f"({at}, {text(_words(at % 200).swapcase())}, {text(f'ñ{at}')}, {text('日本é' * (at % 9))}, {1 + at % 2})"
        for at in range(1000)
    )
    ends.source.execute(
        f"USE `{schema}`",
        f"INSERT INTO parent VALUES {parents}",
        f"INSERT INTO child (id, code, name, note, kind) VALUES {children}",
    )
    slowly = {"maxRowsPerSecond": 2000}  # so that a copy takes longer than a kill
    spec: dict[str, Any] = {"tables": {"include": [f"{schema}.*"]}, "schema": {"create": "Never"}, "throttle": slowly}
    with FerryProcess(tmp_path / "ferry", ends, cutover=CUTOVER, **spec) as moving:
        with Writers(ends.source, schema, WRITTEN, seed, Pace(3, 0.02, xa=False)) as writers:
            moving.start().wait_stage("Copying", *STREAMING)
            ends.source.execute(
                f"USE `{schema}`",
                "DELETE FROM parent WHERE v < 20",
                "UPDATE parent SET code = CONCAT(code, 'é') WHERE v < 40",
                "UPDATE parent SET code = UPPER(code) WHERE v < 60",
                "UPDATE child SET name = CONCAT('_', name) WHERE id % 10 = 5",
                "UPDATE child SET name = CONCAT('ñ', id + 1) WHERE id % 10 = 4",
            )
            writers.wait_for(100)
            moving.kill()
            moving.start().wait_stage(*STREAMING)
            writers.wait_for(100)
            moving.cut_over()
        compared = ferry("verify", "-f", str(moving.manifest), cwd=tmp_path)
        assert compared.code == 0, compared
    if ends.crosses:
        assert_same_across(ends.source, ends.target, schema, definitions=False)
    else:
        for name in ("parent", "child", *(table.name for table in WRITTEN)):
            assert_equal_tables(ends.source, ends.target, f"{schema}.{name}", definitions=False)
