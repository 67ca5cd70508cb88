"""A rebuild of a source table that the binlog does not report, and that computes stored generated values again."""

import contextlib
from pathlib import Path

import pytest

from ferry_core.api.selection import Tables
from ferry_core.api.spec import Copy
from ferry_core.errors import ExitCode, FerryError
from ferry_core.manifest import load
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.session import Purpose, Session
from ferry_core.run import attempts
from ferry_core.run.ferry import Ferry
from ferry_core.run.options import RunOptions
from ferry_core.run.rebuilds import Rebuilds
from ferry_core.tables.discovery import discover
from ferry_core.verify.difference import RowsDiffer
from ferry_core.workers import background_verifier
from tests.support.manifests import ferry_between, write
from tests.support.servers import Pair
from tests.support.waits import Background, wait_until

COLUMNS = "id INT PRIMARY KEY, d DATE, note TEXT, day VARCHAR(20) AS (DAYNAME(d)) STORED, FULLTEXT KEY (note)"


@pytest.mark.parametrize("language", ["de_DE", "en_US"])
def test_optimize_local_after_the_pass_is_found(
    mysql_pair: Pair, schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    """MySQL computes DAYNAME again in the session's language. MariaDB refuses to store it."""
    monkeypatch.setattr(attempts, "LONGEST_SECONDS", 0.1)
    monkeypatch.setattr(attempts, "BETWEEN_ATTEMPTS_SECONDS", 0.1)
    monkeypatch.setattr(background_verifier, "QUICK_SECONDS", -1.0)  # as after a long pass: it is not repeated
    source = mysql_pair.source
    source.execute(
        f"USE `{schema}`",
        f"CREATE TABLE t ({COLUMNS})",
        "INSERT INTO t (id, d, note) VALUES (1, '2024-01-01', 'x')",
    )
    documents = ferry_between(
        source.endpoint("source"),
        mysql_pair.target.endpoint("target"),
        tables={"include": [f"{schema}.*"]},
        cutover={"mode": "Manual", "watchFor": "0s", "maxLag": "60s", "maxAttempts": 100, "deadline": "5m"},
    )
    documents[0]["metadata"]["uid"] = schema
    ferry = Ferry(load([write(tmp_path, *documents)]), RunOptions(state_path=tmp_path / "state.db"))
    ended: list[ExitCode | FerryError] = []

    def run() -> None:
        try:
            ended.append(ferry.run())
        except FerryError as error:
            ended.append(error)

    running = Background(run)
    wait_until(lambda: ferry.snapshot().stage == "ReadyForCutover", "it is ready", 180)
    built = f"SELECT create_time FROM information_schema.tables WHERE table_schema = '{schema}' AND create_time < NOW()"
    wait_until(lambda: source.query(built), "another second begins")
    with contextlib.closing(source.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET lc_time_names = '{language}'")
        cursor.execute(f"OPTIMIZE LOCAL TABLE `{schema}`.t")
    assert source.value(f"SELECT day FROM `{schema}`.t") == ("Montag" if language == "de_DE" else "Monday")
    ferry.cutover()
    running.join(180)
    if language == "de_DE":
        assert isinstance(ended[0], RowsDiffer)
    else:
        assert ended == [ExitCode.DONE]


@pytest.mark.parametrize("noted", [True, False], ids=["noted before the pass", "the source could not be asked then"])
def test_a_table_counts_as_rebuilt_unless_its_time_was_noted(mysql_pair: Pair, schema: str, *, noted: bool) -> None:
    mysql_pair.source.execute(
        f"CREATE TABLE `{schema}`.t ({COLUMNS})", f"CREATE TABLE `{schema}`.u (id INT PRIMARY KEY)"
    )
    with Session(mysql_pair.source.endpoint(), Purpose.CONTROL) as source:
        moves = MoveSet.of(discover(source, Tables(include=[f"{schema}.*"])), Copy())
        rebuilds = Rebuilds(moves)
        if noted:
            rebuilds.note(source)
        assert [move.table.source.name for move in rebuilds.look(source)] == ([] if noted else ["t"])
        assert rebuilds.look(source) == []
