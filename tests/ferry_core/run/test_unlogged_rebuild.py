"""Rebuilds and repairs of a source table that change rows without an event."""

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
from tests.support.servers import Pair, Server
from tests.support.waits import Background, wait_until

COLUMNS = "id INT PRIMARY KEY, d DATE, note TEXT, day VARCHAR(20) AS (DAYNAME(d)) STORED, FULLTEXT KEY (note)"


class Prepared:
    """A run that is ready for its cutover, with a pass of the verification that is not repeated."""

    def __init__(self, pair: Pair, schema: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(attempts, "LONGEST_SECONDS", 0.1)
        monkeypatch.setattr(attempts, "BETWEEN_ATTEMPTS_SECONDS", 0.1)
        monkeypatch.setattr(background_verifier, "QUICK_SECONDS", -1.0)  # as after a long pass
        documents = ferry_between(
            pair.source.endpoint("source"),
            pair.target.endpoint("target"),
            tables={"include": [f"{schema}.*"]},
            cutover={"mode": "Manual", "watchFor": "0s", "maxLag": "60s", "maxAttempts": 100, "deadline": "5m"},
        )
        documents[0]["metadata"]["uid"] = schema
        self._ferry = Ferry(load([write(folder, *documents)]), RunOptions(state_path=folder / "state.db"))
        self._ended: list[ExitCode | FerryError] = []
        self._running = Background(self._run)
        wait_until(lambda: self._ferry.snapshot().stage == "ReadyForCutover", "it is ready", 180)
        times = "COALESCE(check_time, create_time)"
        built = f"SELECT 1 FROM information_schema.tables WHERE table_schema = '{schema}' AND {times} < NOW()"
        wait_until(lambda: pair.source.query(built), "another second begins")

    def _run(self) -> None:
        try:
            self._ended.append(self._ferry.run())
        except FerryError as error:
            self._ended.append(error)

    def verify(self) -> ExitCode | FerryError:
        """How the run ends after a pass on request."""
        self._ferry.verify([])
        self._running.join(180)
        return self._ended[0]

    def cut_over(self) -> ExitCode | FerryError:
        """How the run ends."""
        self._ferry.cutover()
        self._running.join(180)
        return self._ended[0]


MYISAM = (
    "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(200)) ENGINE=MyISAM",
    f"INSERT INTO t VALUES {', '.join(f'({n}, REPEAT(CHAR(65 + {n % 20}), 100))' for n in range(100))}",
)


def repaired(source: Server, schema: str, repair: str, *, lost: bool) -> None:
    """``lost``: the table's file is damaged before."""
    source.execute(f"FLUSH TABLES `{schema}`.t")
    if lost:
        assert source.instance is not None
        with (source.instance.folder / "data" / schema / "t.MYD").open("r+b") as rows:
            rows.seek(3000)
            rows.write(bytes(1000))
    source.execute(f"{repair} `{schema}`.t")


@pytest.mark.parametrize("language", ["de_DE", "en_US"])
def test_optimize_local_after_the_pass_is_found(
    mysql_pair: Pair, schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    """MySQL computes DAYNAME again in the session's language. MariaDB refuses to store it."""
    source = mysql_pair.source
    source.execute(
        f"USE `{schema}`",
        f"CREATE TABLE t ({COLUMNS})",
        "INSERT INTO t (id, d, note) VALUES (1, '2024-01-01', 'x')",
    )
    prepared = Prepared(mysql_pair, schema, tmp_path, monkeypatch)
    with contextlib.closing(source.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET lc_time_names = '{language}'")
        cursor.execute(f"OPTIMIZE LOCAL TABLE `{schema}`.t")
    assert source.value(f"SELECT day FROM `{schema}`.t") == ("Montag" if language == "de_DE" else "Monday")
    ended = prepared.cut_over()
    if language == "de_DE":
        assert isinstance(ended, RowsDiffer)
    else:
        assert ended == ExitCode.DONE


@pytest.mark.parametrize("repair", ["REPAIR TABLE", "REPAIR LOCAL TABLE"])
@pytest.mark.parametrize("lost", [True, False], ids=["a row was lost", "nothing was lost"])
def test_a_repair_that_loses_rows_is_found(
    pair: Pair, schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repair: str, *, lost: bool
) -> None:
    """MyISAM drops rows that it cannot read, and no event reports that."""
    source = pair.source
    if source.instance is None:
        pytest.skip("the files of this server are out of reach")
    source.execute(f"USE `{schema}`", *MYISAM)
    prepared = Prepared(pair, schema, tmp_path, monkeypatch)
    repaired(source, schema, repair, lost=lost)
    assert (source.value(f"SELECT COUNT(*) FROM `{schema}`.t") < 100) == lost
    ended = prepared.cut_over()
    if lost:
        assert isinstance(ended, RowsDiffer)
        assert source.value("SELECT @@global.read_only") == 0
    else:
        assert ended == ExitCode.DONE


def test_a_pass_deletes_no_row_that_a_repair_dropped_on_the_source(
    pair: Pair, schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target has the only copy of it."""
    source = pair.source
    if source.instance is None:
        pytest.skip("the files of this server are out of reach")
    source.execute(f"USE `{schema}`", *MYISAM)
    prepared = Prepared(pair, schema, tmp_path, monkeypatch)
    repaired(source, schema, "REPAIR LOCAL TABLE", lost=True)
    assert source.value(f"SELECT COUNT(*) FROM `{schema}`.t") < 100
    ended = prepared.verify()
    assert isinstance(ended, RowsDiffer)
    assert "these rows stay as they are on the target" in ended.message
    assert pair.target.value(f"SELECT COUNT(*) FROM `{schema}`.t") == 100


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


def test_a_table_that_starts_over_hides_no_rebuild_of_another_one(pair: Pair, schema: str) -> None:
    pair.source.execute(f"USE `{schema}`", *MYISAM, "CREATE TABLE u (id INT PRIMARY KEY, v INT) ENGINE=MyISAM")
    with Session(pair.source.endpoint(), Purpose.CONTROL) as source:
        moves = MoveSet.of(discover(source, Tables(include=[f"{schema}.*"])), Copy())
        rebuilds = Rebuilds(moves)
        rebuilds.note(source)
        for name in "tu":
            pair.source.execute("DO SLEEP(1.1)", f"REPAIR LOCAL TABLE `{schema}`.{name}")  # its time is in seconds
        rebuilds.note(source, [move for move in moves if move.table.source.name == "u"])
        assert [move.table.source.name for move in rebuilds.look(source)] == ["t"]
