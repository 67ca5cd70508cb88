"""``ferry check`` on real servers, and its table."""

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from rich.console import Console

from ferry_core.cli.check import as_json, draw, verdict
from ferry_core.cli.main import main
from ferry_core.tables.table import TableName
from hack.servers import Family
from tests.support.manifests import ferry_between, write
from tests.support.servers import Pair, set_global


@dataclass(frozen=True)
class Line:
    name: str
    server: str
    status: str
    reason: str
    message: str
    tables: tuple[TableName, ...] = ()
    statement: str = ""
    keys: tuple[tuple[TableName, str], ...] = ()


LINES = [
    Line("connection", "target", "failed", "AccessDenied", "wrong password; check it"),
    Line("binlog", "source", "passed", "Passed", "ROW"),
    Line("triggers", "target", "acknowledged", "TargetTriggers", "two [bold]triggers[/bold]"),
    Line("time", "both", "warning", "Slow", "long"),
]


def drawn(*lines: Line) -> list[str]:
    stream = io.StringIO()
    draw(lines, Console(file=stream, width=80))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_table_names_reason_and_fix_and_puts_failures_last() -> None:
    assert drawn(*LINES) == [
        "STATUS        SERVER  CHECK: REASON AND FIX",
        "passed        source  binlog: ROW",
        "acknowledged  target  triggers: TargetTriggers: two [bold]triggers[/bold]",
        "warning       both    time: Slow: long",
        "failed        target  connection: AccessDenied: wrong password; check it",
    ]
    assert verdict(LINES) == (
        "1 of 4 checks failed: fix these, then run the check again (1 passed, 1 warning, 1 acknowledged)"
    )
    skipped = Line("selection", "source", "skipped", "NotAsked", "the source could not be reached")
    assert verdict([*LINES, skipped]).startswith("1 of 4 checks failed, 1 could not run: ")
    assert verdict(LINES[1:]) == "3 checks, none failed (1 passed, 1 warning, 1 acknowledged)"


def test_the_table_fits_80_columns_and_only_counts_checks_without_a_word() -> None:
    quiet = [Line(f"check {number}", "source", "passed", "Passed", "") for number in range(50)]
    long = Line("writers past the lock", "source", "warning", "PrivilegedWriters", "word " * 100)
    lines = drawn(*quiet, long)
    assert max(map(len, lines)) <= 80
    assert len(lines) < 15
    assert lines[1] == "passed   both    50 checks with nothing to say (--output json lists them)"


def test_checks_that_could_not_run_for_the_same_reason_share_a_line() -> None:
    away = [Line(f"check {number}", "target", "skipped", "NotAsked", "the target is away") for number in range(70)]
    alone = Line("target's tables", "target", "skipped", "NotAsked", "the selection is empty")
    assert drawn(*away, alone, *LINES[:1]) == [
        "STATUS   SERVER  CHECK: REASON AND FIX",
        "skipped  both    70 checks could not run (--output json lists them): the target",
        "                 is away",
        "skipped  target  target's tables: NotAsked: the selection is empty",
        "failed   target  connection: AccessDenied: wrong password; check it",
    ]


def test_json_holds_the_same() -> None:
    said = json.loads(as_json(LINES, ["note"]))
    assert (said["passed"], said["notices"], len(said["checks"])) == (False, ["note"], 4)
    assert said["checks"][0]["reason"] == "AccessDenied"


def test_tables_that_fail_are_left_out_by_the_lines_that_are_printed(pair: Pair, schema: str, tmp_path: Path) -> None:
    """Also one whose name is a pattern that means another table."""
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE `br[a]` (id INT PRIMARY KEY) ENGINE=MEMORY",
        "CREATE TABLE `b.r*` (id INT PRIMARY KEY) ENGINE=MEMORY",
        "CREATE TABLE bra (id INT PRIMARY KEY)",
    )
    ends = pair.source.endpoint("source"), pair.target.endpoint("target")

    def checked(exclude: list[str]) -> Result:
        tables = {"include": [f"{schema}.*"], "exclude": exclude}
        file = write(tmp_path, *ferry_between(*ends, tables=tables, cutover={"sourceLock": "None"}))
        return CliRunner().invoke(main, ["check", "-f", str(file)], env={"COLUMNS": "200"})

    done = checked([])
    assert done.exit_code == 64
    printed = done.stdout.partition("spec.tables.exclude:\n")[2]
    assert printed
    done = checked(yaml.safe_load(printed))
    assert done.exit_code == 0, done.stdout
    ambiguous = checked([f"{schema}.br[a]"])
    assert f"{schema}.br[[]a] or {schema}.bra?" in " ".join(ambiguous.stdout.split())
    pair.source.execute(
        f"DROP TABLE `{schema}`.bra", f"DROP TABLE `{schema}`.`b.r*`", f"CREATE TABLE `{schema}`.c (id INT PRIMARY KEY)"
    )
    done = checked([f"{schema}.br[a]"])
    assert done.exit_code == 0, done.stdout


REFUSED = {
    "memory": "(id INT PRIMARY KEY) ENGINE=MEMORY",
    "csv": "(id INT NOT NULL) ENGINE=CSV",
    "merged": "(id INT NOT NULL PRIMARY KEY) ENGINE=MERGE UNION=(part)",
    "outside": "(id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES {0}_other.p (id) ON DELETE CASCADE)",
    "below": "(id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES outside (id))",
    "full": "(id INT PRIMARY KEY)",
    "unlike": "(id INT PRIMARY KEY, v INT)",
}
"""Tables that a move refuses, with ``below``, which references one of them."""
OF_FAMILY = {
    Family.MYSQL: {
        "archive": "(id INT) ENGINE=ARCHIVE",
        "decimals": "(id INT PRIMARY KEY, j JSON)",
        "subtracts": "(a INT UNSIGNED NOT NULL) PARTITION BY RANGE (a - 5) (PARTITION p VALUES LESS THAN (-1))",
    },
    Family.MARIADB: {
        "versioned": "(id INT PRIMARY KEY) WITH SYSTEM VERSIONING",
        "periods": "(id INT, a DATE, b DATE, PERIOD FOR p (a, b), UNIQUE (id, p WITHOUT OVERLAPS))",
        "numbered": "(id INT PRIMARY KEY, n BIGINT DEFAULT NEXTVAL({0}.seq))",
    },
}
REASONS = {
    Family.MYSQL: ["DefinitionRefused", "JsonPrecision"],
    Family.MARIADB: ["DefinitionRefused", "ForeignKeyCascades", "SystemVersionedHistory"],
}


def test_one_round_of_pasting_leaves_out_everything_that_is_refused(pair: Pair, schema: str, tmp_path: Path) -> None:
    refused = REFUSED | OF_FAMILY[pair.family]
    mine = pair.family is Family.MARIADB
    pair.source.execute(
        f"CREATE DATABASE {schema}_other",
        f"CREATE TABLE {schema}_other.p (id INT PRIMARY KEY)",
        f"USE `{schema}`",
        "SET SESSION sql_mode = 'NO_UNSIGNED_SUBTRACTION'",
        *(["CREATE SEQUENCE seq"] if mine else []),
        "CREATE TABLE kept (id INT PRIMARY KEY)",
        "CREATE TABLE part (id INT NOT NULL PRIMARY KEY) ENGINE=MyISAM",
        *(f"CREATE TABLE {name} {text.format(schema)}" for name, text in refused.items()),
        *([] if mine else ["INSERT INTO decimals VALUES (1, JSON_OBJECT('price', 12.30))"]),
    )
    pair.target.execute(
        f"CREATE DATABASE {schema}",
        f"CREATE TABLE {schema}.`full` (id INT PRIMARY KEY)",
        f"INSERT INTO {schema}.`full` VALUES (1)",
        f"CREATE TABLE {schema}.unlike (id INT PRIMARY KEY)",
    )
    ends = pair.source.endpoint("source"), pair.target.endpoint("target")

    def checked(exclude: list[str]) -> Result:
        tables = {"include": [f"{schema}.*"], "exclude": exclude}
        file = write(tmp_path, *ferry_between(*ends, tables=tables, cutover={"sourceLock": "None"}))
        return CliRunner().invoke(main, ["check", "-f", str(file)], env={"COLUMNS": "200"})

    try:
        done = checked([])
        print(done.stdout)
        said = re.findall(r"^failed .*?: ([A-Z]\w+): ", done.stdout, re.MULTILINE)
        both = ["ForeignKeyOutsideSelection", "TargetNotEmpty", "TargetTableDiffers", "UnsupportedTable"]
        assert sorted(set(said)) == sorted([*both, *REASONS[pair.family]])
        assert said == sorted(said), "those of one reason stand together"
        pasted = yaml.safe_load(done.stdout.partition("spec.tables.exclude:\n")[2])
        assert pasted == sorted(f"{schema}.{name}" for name in [*refused, "part"]), "a MERGE table writes to part"
        done = checked(pasted)
        assert done.exit_code == 0, done.stdout
    finally:
        pair.source.execute(f"DROP DATABASE {schema}", f"DROP DATABASE {schema}_other", f"CREATE DATABASE {schema}")


def test_check_passes_on_suitable_servers(pair: Pair, schema: str, tmp_path: Path) -> None:
    pair.source.execute(
        f"CREATE TABLE {schema}.t (id INT PRIMARY KEY, note TEXT)", f"INSERT INTO {schema}.t VALUES (1, 'x')"
    )
    ends = pair.source.endpoint("source"), pair.target.endpoint("target")
    cutover = {"sourceLock": "None"}
    file = write(tmp_path, *ferry_between(*ends, tables={"include": [f"{schema}.*"]}, cutover=cutover))
    done = CliRunner().invoke(main, ["check", "-f", str(file)], env={"COLUMNS": "160"})
    print(done.stdout)
    assert (done.exit_code, "none failed" in done.stdout) == (0, True), done.output
    asked = CliRunner().invoke(main, ["check", "-f", str(file), "--output", "json"])
    said = json.loads(asked.stdout)
    assert said["passed"]
    assert len(said["checks"]) > 5
    assert pair.target.query(f"SHOW DATABASES LIKE '{schema}'") == []


def test_check_names_both_servers_that_refuse(pair: Pair, tmp_path: Path) -> None:
    documents = ferry_between(pair.source.endpoint("source"), pair.target.endpoint("target"))
    documents[1]["stringData"]["password"] = "wrong"
    documents[0]["spec"]["target"]["port"] = 9
    done = CliRunner().invoke(main, ["check", "-f", str(write(tmp_path, *documents)), "--output", "json"])
    checks = json.loads(done.stdout)["checks"]
    assert done.exit_code == 64
    reasons = {(one["server"], one["reason"]) for one in checks if one["status"] == "failed"}
    assert reasons == {("source", "AccessDenied"), ("target", "ServerUnreachable")}
    passed = {one["name"] for one in checks if one["status"] not in ("failed", "skipped")}
    passed = {name for name in passed if "primary" not in name}  # the spec names none
    without_server = {"tenant", "new tables", "webhooks", "window of the cutover"}
    assert passed == without_server, "what was not asked has not passed"


@pytest.mark.parametrize("away", ["source", "target"])
def test_an_unreachable_server_does_not_hide_failures_of_the_other(
    pair: Pair, schema: str, tmp_path: Path, away: str
) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.t (a INT) ENGINE=MEMORY")
    ends = pair.source.endpoint("source"), pair.target.endpoint("target")
    documents = ferry_between(*ends, tables={"include": [f"{schema}.*"]})
    documents[0]["spec"][away]["port"] = 9
    setting = "read_only = 1" if away == "source" else "binlog_row_image = NOBLOB"
    asked = pair.target if away == "source" else pair.source
    with set_global(asked, setting):
        done = CliRunner().invoke(main, ["check", "-f", str(write(tmp_path, *documents)), "--output", "json"])
    checks = json.loads(done.stdout)["checks"]
    failed = [one["reason"] for one in checks if one["status"] == "failed"]
    here = ["TargetReadOnly"] if away == "source" else ["UnsupportedTable"]
    assert failed == ["ServerUnreachable", *here]
    skipped = {one["name"]: one["message"] for one in checks if one["status"] == "skipped"}
    assert f"the {away} could not be reached" in skipped["versions"]
    assert f"the {away} could not be reached" in skipped["tables there"]


def test_a_pattern_that_matches_nothing(pair: Pair, tmp_path: Path) -> None:
    ends = pair.source.endpoint("source"), pair.target.endpoint("target")
    file = write(tmp_path, *ferry_between(*ends, tables={"include": ["no_such_schema.*"]}))
    done = CliRunner().invoke(main, ["check", "-f", str(file)], env={"COLUMNS": "200"})
    assert done.exit_code == 64
    assert "no_such_schema.*" in done.stdout


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_bad_manifest_is_one_line_here_too(tmp_path: Path, output: str) -> None:
    (tmp_path / "x").write_text("kind: Ferry")
    done = CliRunner().invoke(main, ["check", "-f", str(tmp_path / "x"), "--output", output])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (64, "", 1)
