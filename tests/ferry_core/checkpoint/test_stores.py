"""Both checkpoint stores keep a state, refuse foreign ones, and refuse a superseded run."""

import contextlib
import json
import sqlite3
import uuid
from pathlib import Path

import pytest

from ferry_core.checkpoint.marks import FIRST, TargetMarks, forget_marks, newest_held, others_copied, read_marks
from ferry_core.checkpoint.sqlite import SqliteStore
from ferry_core.checkpoint.state import FORMAT, RunState, TableState
from ferry_core.checkpoint.store import parse
from ferry_core.checkpoint.target import TargetStore
from ferry_core.consistency.epochs import Epochs
from ferry_core.consistency.fence import Fence
from ferry_core.errors import ConfigError, Fenced, ServerRestarted
from ferry_core.mysql.session import Purpose, Session
from tests.support.servers import Pair


def state(uid: str = "u-1") -> RunState:
    table = TableState(started=True, frontier=["5", "_utf8mb4 0x61"], unfinished=[(None, ["1", "0x00"])])
    return RunState(ferry_uid=uid, ferry_name="shop/orders", source_id="s", selection="{}", tables={"shop.t": table})


def test_sqlite_keeps_the_state_over_processes(tmp_path: Path) -> None:
    path = tmp_path / "orders.ferry.db"
    SqliteStore(path).save(state(), 1)
    with contextlib.closing(sqlite3.connect(path)) as somebody:
        somebody.execute("ANALYZE")
    assert SqliteStore(path).load() == state()


def test_a_new_state_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """It holds keys of rows."""
    path = tmp_path / "orders.ferry.db"
    store = SqliteStore(path)
    store.save(state(), 1)
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    for mode, kept in ((0o640, 0o640), (0o644, 0o640), (0o666, 0o660)):
        path.chmod(mode)
        SqliteStore(path).save(state(), 2)
        assert path.stat().st_mode & 0o777 == kept


def test_sqlite_refuses_an_older_epoch(tmp_path: Path) -> None:
    path = tmp_path / "orders.ferry.db"
    older, newer = SqliteStore(path), SqliteStore(path)
    older.save(state(), 1)
    newer.save(state(), 2)
    with pytest.raises(Fenced, match="newer run"):
        older.save(state(), 1)


@pytest.mark.parametrize("content", [b"this is no database at all, but text long enough to be read", b"\0" * 4096])
def test_sqlite_refuses_a_file_that_is_not_a_state(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"notes\.txt") as caught:
        SqliteStore(path).load()
    assert caught.value.reason == "StateCorrupt"
    assert path.read_bytes() == content


def test_sqlite_leaves_foreign_databases_alone(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE orders (id INTEGER)")
    content = path.read_bytes()
    with pytest.raises(ConfigError, match="holds tables of another program: orders") as caught:
        SqliteStore(path)
    assert caught.value.reason == "StateCorrupt"
    assert path.read_bytes() == content


def test_sqlite_refuses_a_damaged_body_and_a_newer_format(tmp_path: Path) -> None:
    path = tmp_path / "orders.ferry.db"
    store = SqliteStore(path)
    store.save(state(), 1)
    with sqlite3.connect(path) as database:
        database.execute('UPDATE ferry_state SET body = \'{"format": 1, "position\'')
    database.close()
    with pytest.raises(ConfigError, match="damaged"):
        store.load()
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE ferry_state SET format = {FORMAT + 1}")
    database.close()
    with pytest.raises(ConfigError, match="knows up to"):
        store.load()


OLD = '{"format": 1, "ferry_uid": "u", "ferry_name": "n", "source_id": "s", "selection": %s, "tables": {%s}}'


def old_state(include: str, *tables: str) -> str:
    """As in format 1: tables by schema and name joined by a dot."""
    selection = json.dumps(json.dumps({"include": [include]}))
    return OLD % (
        selection,
        ", ".join(f'{json.dumps(name)}: {{"started": true, "frontier": ["7"]}}' for name in tables),
    )


@pytest.mark.parametrize(
    ("include", "joined", "now"),
    [
        ("shop.*", "shop.orders", "shop.orders"),
        ("shop.*", "shop.v1.orders", "shop.`v1.orders`"),
        ("shop.v?.*", "shop.v1.orders", None),
        ("*.*", "shop.v1.orders", None),
        ("*.*", "shop.or`ders", "shop.`or``ders`"),
    ],
)
def test_a_state_of_the_first_format_is_resumed_if_no_table_is_ambiguous(
    include: str, joined: str, now: str | None
) -> None:
    body = old_state(include, "shop.first", joined)
    if now is not None:
        state = parse(body, 1, "here")
        assert state.started == {"shop.first", now}
        assert (state.format, state.tables[now].frontier) == (FORMAT, ["7"])
        return
    with pytest.raises(ConfigError, match=r"`shop`\.`v1\.orders` and `shop\.v1`\.`orders` as one") as caught:
        parse(body, 1, "here")
    assert caught.value.reason == "StateAmbiguous"


def test_a_damaged_state_of_format_8_is_reported_as_damaged() -> None:
    with pytest.raises(ConfigError, match="damaged"):
        parse('{"format": 8, "source_restarted": true, "tables": {"a": []}}', 8, "here")


def test_a_damaged_state_of_the_first_format_is_reported_as_damaged() -> None:
    for body in ('{"tables": []}', '{"tables": {"a.b.c": {}}}', "[]", '{"tables": {"a.b": 1}}'):
        with pytest.raises(ConfigError) as caught:
            parse(body, 1, "here")
        assert caught.value.reason == "StateCorrupt"


@pytest.mark.parametrize("restarted", [True, False])
def test_a_restart_that_format_8_recorded_for_all_tables_is_one_of_each(restarted: bool) -> None:
    tables = {"shop.a": {"started": True, "rebuilt": True}, "shop.b": {}}
    old = {"format": 8, "ferry_uid": "u", "ferry_name": "n", "source_id": "s", "selection": "", "tables": tables}
    state = parse(json.dumps(old | {"source_restarted": restarted}), 8, "here")
    assert {name: table.restarted for name, table in state.tables.items()} == dict.fromkeys(tables, restarted)
    assert state.tables["shop.a"].rebuilt
    assert state.format == FORMAT


def test_sqlite_names_the_file_that_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        SqliteStore(tmp_path / "nowhere" / "x.db")


def test_the_target_stores_the_state_and_refuses_a_superseded_run(pair: Pair) -> None:
    uid = str(uuid.uuid4())

    def connect() -> Session:
        return Session(pair.target.endpoint("target"), Purpose.TARGET)

    older = TargetStore(connect, uid)
    older.fence, _ = Fence.take(connect, uid, "shop/orders", "s")
    older.save(state(uid), older.fence.epoch)
    newer = TargetStore(connect, uid)
    assert newer.load() == state(uid)
    newer.fence, _ = Fence.take(connect, uid, "shop/orders", "s")
    with pytest.raises(Fenced, match="newer run"):
        older.save(state(uid), older.fence.epoch)
    older.close()
    newer.close()


def test_the_target_refuses_a_damaged_body_and_a_newer_format(pair: Pair) -> None:
    uid = str(uuid.uuid4())

    def connect() -> Session:
        return Session(pair.target.endpoint("target"), Purpose.TARGET)

    store = TargetStore(connect, uid)
    store.fence, _ = Fence.take(connect, uid, "shop/orders", "s")
    store.save(state(uid), store.fence.epoch)
    for change, words in (("body = LEFT(body, 30)", "damaged"), (f"format = {FORMAT + 1}", "knows up to")):
        pair.target.execute(f"UPDATE mysql_ferry.checkpoint SET {change} WHERE ferry_uid = '{uid}'")
        with pytest.raises(ConfigError, match=words):
            store.load()
    store.close()


def test_sqlite_thins_out_earlier_states(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "orders.ferry.db")
    for number in range(1, 301):
        store.save(state().model_copy(update={"run": "r", "number": number}), 1)
    kept = [each.number for each in store.earlier()]
    assert kept[:5] == [300, 299, 298, 297, 296]
    assert kept[-1] <= 128
    assert len(kept) < 40, kept
    # The target has lost everything after 296: states stored for that are gone too.
    store.save(state().model_copy(update={"run": "s", "number": 297}), 2)
    assert [(each.run, each.number) for each in store.earlier()][:2] == [("s", 297), ("r", 296)]


def test_the_newest_state_whose_rows_the_target_has_is_chosen(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "orders.ferry.db")
    for number in range(1, 9):
        update = {"run": "one" if number < 5 else "two", "number": number, "paused": number == 8}
        store.save(state().model_copy(update=update), 1)

    def found(**marks: int) -> int | None:
        held = newest_held(store, marks, "target")
        assert held is not None
        assert held.paused, "what people said is not on the target"
        return held.number

    assert found(one=4, two=8) == 8
    assert found(one=4, two=9) == 8  # it was killed before it saved the state
    assert found(one=4, two=6) == 6
    assert found(one=4) == 4
    assert found(one=2) == 2
    with pytest.raises(ConfigError, match="restored from a backup") as caught:
        found(three=9)
    assert caught.value.reason == "StateOfOtherTarget"


def test_the_mark_of_a_state_survives_runs_that_cannot_save_theirs(pair: Pair) -> None:
    """The disk is full for an hour, and a supervisor restarts the run again and again."""
    uid = f"u-{uuid.uuid4()}"

    def connect() -> Session:
        return Session(pair.target.endpoint("target"), Purpose.TARGET)

    fence, _ = Fence.take(connect, uid, "shop/orders", "s")
    for number in range(60):
        with connect() as session:
            before = read_marks(session, uid)
        marks = TargetMarks(connect, fence, uid, f"run {number}", before, "run 0" if number else None)
        marks.write(FIRST + number)
        marks.close()
    with connect() as session:
        kept = read_marks(session, uid)
        assert kept["run 0"] == FIRST
        assert {"run 58", "run 59"} < kept.keys()
        assert len(kept) < 30
        assert others_copied(kept)
        forget_marks(session, uid)
        assert not others_copied(read_marks(session, uid))


def test_an_epoch_that_the_target_has_lost_is_not_reused(pair: Pair) -> None:
    uid = f"u-{uuid.uuid4()}"

    def connect() -> Session:
        return Session(pair.target.endpoint("target"), Purpose.TARGET)

    Fence.take(connect, uid, "shop/orders", "s")
    older, _ = Fence.take(connect, uid, "shop/orders", "s", at_least=4)
    assert older.epoch == 5
    with connect() as session:
        session.execute(f"UPDATE mysql_ferry.lease SET epoch = 2 WHERE ferry_uid = '{uid}'")
    with pytest.raises(ServerRestarted, match="has lost the record of this run"):
        older.read()
    older.refuse_newer(Epochs(older.epoch))
    newer, _ = Fence.take(connect, uid, "shop/orders", "s", Epochs(older.epoch))
    assert newer.epoch == 6
    with pytest.raises(Fenced, match="newer run"):
        older.refuse_newer(Epochs(older.epoch))
