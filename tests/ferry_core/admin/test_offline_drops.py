"""Which tables of the target ``ferry cleanup -f`` drops, and what it must know before."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from ferry_core.api.spec import ferry_uid
from ferry_core.checkpoint.sqlite import SqliteStore
from ferry_core.checkpoint.state import RunState, TableState
from ferry_core.manifest import LoadedFerry
from ferry_core.mysql.session import Purpose, Session
from ferry_core.run.claim import take_fence
from ferry_core.run.setup import RunContext
from ferry_core.schema.fingerprints import fingerprint
from ferry_core.schema.objects import Kind, list_objects, read
from ferry_core.tables.discovery import discover
from ferry_core.workers.connections import Connections
from tests.support.offline_verbs import died, ferry
from tests.support.servers import Pair
from tests.support.waits import wait_until


def test_no_table_is_dropped_while_the_source_cannot_be_asked_whether_they_are_live(
    pair: Pair, manifest: Path, loaded: LoadedFerry
) -> None:
    """As after a cutover that the target has lost the record of: the source's read_only alone tells of it."""
    died(loaded).record(tables=["shop.t"])
    document, source, *others = yaml.safe_load_all(manifest.read_text())
    document["spec"] |= {"deletionPolicy": "DropTarget", "checkpoint": {"store": "Target"}}
    whole = document["spec"]["source"]["port"]
    document["spec"]["source"]["port"] = 1
    manifest.write_text(yaml.safe_dump_all([document, source, *others]))
    done = ferry("cleanup", manifest)
    assert (done.exit_code, "Nothing was dropped or removed" in done.stderr) == (75, True)
    known = "SELECT COUNT(*) FROM mysql_ferry.lease WHERE ferry_uid = %s"
    assert pair.target.query(known, (ferry_uid(loaded.ferry),)) == [(1,)]
    document["spec"]["source"]["port"] = whole
    manifest.write_text(yaml.safe_dump_all([document, source, *others]))
    assert ferry("cleanup", manifest).exit_code == 0


def no_other_ferries(pair: Pair, loaded: LoadedFerry) -> None:
    """Those of other tests have left tables in the same schema."""
    pair.target.execute(f"DELETE FROM mysql_ferry.lease WHERE ferry_uid <> '{ferry_uid(loaded.ferry)}'")


@pytest.mark.parametrize("phase", ["Claimed", "Copying"])
def test_a_table_that_was_claimed_and_not_written_to_is_not_dropped(
    pair: Pair, manifest: Path, loaded: LoadedFerry, tmp_path: Path, phase: str
) -> None:
    """Its rows are somebody else's, whatever a state tells of another target, or of this one before a restore."""
    pair.target.execute(
        "CREATE DATABASE IF NOT EXISTS shop",
        "CREATE TABLE shop.claimed (id INT PRIMARY KEY)",
        "INSERT INTO shop.claimed VALUES (1)",
        "CREATE VIEW shop.seen AS SELECT 1 AS one",
    )
    try:
        fence, claimed = died(loaded), ["shop.claimed"]
        no_other_ferries(pair, loaded)
        with fence.exclusively() as (session, _):
            fence.update(session, tables=claimed, unwritten=claimed if phase == "Claimed" else [], phase=phase)
        state = RunState(ferry_uid=ferry_uid(loaded.ferry), ferry_name="o", source_id="s", selection="{}")
        state.tables["shop.claimed"] = TableState(started=True)
        with Session(pair.target.endpoint(), Purpose.CONTROL) as session:
            [seen] = list_objects(session, ["shop"], [Kind.VIEW])
            state.objects.ours["VIEW shop.seen"] = [fingerprint(read(session, seen))]
        with contextlib.closing(SqliteStore(tmp_path / "state.db")) as store:
            store.save(state, 1)
        document, *others = yaml.safe_load_all(manifest.read_text())
        document["spec"]["deletionPolicy"] = "DropTarget"
        manifest.write_text(yaml.safe_dump_all([document, *others]))
        done = ferry("cleanup", manifest, "--state", str(tmp_path / "state.db"))
        assert done.exit_code == 0
        left = pair.target.query("SHOW TABLES FROM shop")
        assert left == ([("claimed",), ("seen",)] if phase == "Claimed" else [])
        assert ("kept shop.claimed (this Ferry has not written to them)" in done.stdout) is (phase == "Claimed")
    finally:
        pair.target.execute("DROP DATABASE shop")


@pytest.mark.parametrize("theirs", ["shop.other", "elsewhere.t"])
def test_objects_are_kept_while_another_ferry_uses_their_schema(
    pair: Pair, manifest: Path, loaded: LoadedFerry, filled: Path, theirs: str
) -> None:
    """The other Ferry found them equal to its source's, so it created none; its tables may be live by now."""
    pair.target.execute("CREATE VIEW shop.seen AS SELECT 1 AS one")
    with Session(pair.target.endpoint(), Purpose.CONTROL) as session:
        [seen] = list_objects(session, ["shop"], [Kind.VIEW])
        mark = fingerprint(read(session, seen))
    with contextlib.closing(SqliteStore(filled)) as store:
        state = store.load()
        assert state is not None
        state.objects.ours["VIEW shop.seen"] = [mark]
        store.save(state, 1)
    pair.target.execute(
        f"INSERT INTO mysql_ferry.lease SELECT '{ferry_uid(loaded.ferry)[:30]}-other', 'other', 1, 'Completed', '',"
        f" '[\"{theirs}\"]', 1, '{{}}', NOW(6)"
    )
    done = ferry("cleanup", manifest, "--state", str(filled))
    kept = theirs == "shop.other"
    assert done.exit_code == 0
    assert pair.target.query("SHOW TABLES FROM shop") == ([("seen",)] if kept else [])
    assert ("kept view shop.seen" in done.stdout) is kept


@pytest.mark.parametrize("after", ["Aborted", "Retain"])
def test_a_cleanup_that_drops_nothing_needs_no_source(manifest: Path, loaded: LoadedFerry, after: str) -> None:
    died(loaded).record(tables=["shop.t"], phase="Aborted" if after == "Aborted" else None)
    document, *others = yaml.safe_load_all(manifest.read_text())
    document["spec"] |= {"deletionPolicy": "Retain" if after == "Retain" else "DropTarget"}
    document["spec"]["source"]["port"] = 1
    manifest.write_text(yaml.safe_dump_all([document, *others]))
    assert ferry("cleanup", manifest).exit_code == 0


@pytest.fixture
def filled(pair: Pair, manifest: Path, loaded: LoadedFerry, tmp_path: Path) -> Iterator[Path]:
    """An aborted Ferry that has filled shop.filled, which somebody has emptied. Gives the path of its state."""
    for server in (pair.source, pair.target):
        server.execute("CREATE DATABASE shop", "CREATE TABLE shop.filled (id INT PRIMARY KEY)")
    died(loaded).record(tables=["shop.filled"], phase="Aborted")
    no_other_ferries(pair, loaded)
    state = RunState(ferry_uid=ferry_uid(loaded.ferry), ferry_name="o", source_id="s", selection="{}")
    state.tables["shop.filled"] = TableState(started=True)
    with contextlib.closing(SqliteStore(tmp_path / "state.db")) as store:
        store.save(state, 1)
    document, *others = yaml.safe_load_all(manifest.read_text())
    document["spec"]["deletionPolicy"] = "DropTarget"
    manifest.write_text(yaml.safe_dump_all([document, *others]))
    yield tmp_path / "state.db"
    for server in (pair.source, pair.target):
        server.execute("DROP DATABASE shop")
    if pair.target.query("SHOW TABLES FROM mysql_ferry LIKE 'lease'"):
        pair.target.execute(f"DELETE FROM mysql_ferry.lease WHERE ferry_uid LIKE '{ferry_uid(loaded.ferry)[:30]}%'")


def claims(pair: Pair, loaded: LoadedFerry, folder: Path, uid: str) -> None:
    """Another Ferry claims shop.filled."""
    with Session(loaded.source, Purpose.CONTROL) as source:
        found = discover(source, loaded.ferry.spec.tables)
    connections = Connections(lambda: loaded.source, lambda: loaded.target)
    with contextlib.closing(SqliteStore(folder / "other.db")) as store:
        context = RunContext(
            *(loaded.ferry, uid, "other", pair.source.flavor, "s", connections, store, None, None), tables=found
        )
        take_fence(context, RunState(ferry_uid=uid, ferry_name="other", source_id="s", selection="{}"))


def waiting(pair: Pair, state: str) -> bool:
    """Whether a statement on the target is in this state."""
    return bool(pair.target.query("SELECT 1 FROM information_schema.PROCESSLIST WHERE STATE LIKE %s", (state,)))


def test_a_cleanup_waits_for_another_ferry_that_claims_its_table(
    pair: Pair, manifest: Path, loaded: LoadedFerry, filled: Path
) -> None:
    """The claim has read this Ferry's lease, and is not committed."""
    other = f"{ferry_uid(loaded.ferry)[:30]}-other"
    with contextlib.closing(pair.target.connect()) as claiming, ThreadPoolExecutor(1) as pool:
        with claiming.cursor() as cursor:
            cursor.execute("SELECT GET_LOCK('ferry-claim', 0)")
            cleaned = pool.submit(ferry, "cleanup", manifest, "--state", str(filled))
            wait_until(lambda: cleaned.done() or waiting(pair, "User lock"), "the cleanup waits", seconds=120)
            cursor.execute(
                f"INSERT INTO mysql_ferry.lease SELECT '{other}', 'other', 1, 'Claimed', '', '[\"shop.filled\"]', 1,"
                " '{}', NOW(6)"
            )
            claiming.commit()
            cursor.execute("SELECT RELEASE_LOCK('ferry-claim')")
        done = cleaned.result(120)
    assert done.exit_code == 0
    assert "kept shop.filled (not provably this Ferry's alone)" in done.stdout
    assert pair.target.query("SHOW TABLES FROM shop") == [("filled",)]


def test_another_ferry_claims_a_table_after_it_was_dropped(
    pair: Pair, manifest: Path, loaded: LoadedFerry, filled: Path, tmp_path: Path
) -> None:
    """The cleanup has found no claim of another Ferry, and waits for a transaction to end before it can drop."""
    other = f"{ferry_uid(loaded.ferry)[:30]}-other"
    with contextlib.closing(pair.target.connect(autocommit=False)) as reading, ThreadPoolExecutor(2) as pool:
        with reading.cursor() as cursor:
            cursor.execute("SELECT * FROM shop.filled")
        cleaned = pool.submit(ferry, "cleanup", manifest, "--state", str(filled))
        wait_until(lambda: waiting(pair, "Waiting for table metadata%"), "the drop waits", seconds=120)
        claimed = pool.submit(claims, pair, loaded, tmp_path, other)
        wait_until(lambda: claimed.done() or waiting(pair, "User lock"), "the claim waits", seconds=120)
        assert not claimed.done()
        reading.commit()
        claimed.result(120)
        assert pair.target.query("SHOW TABLES FROM shop") == []
        assert "dropped shop.filled" in cleaned.result(120).stdout


def test_an_abort_keeps_the_record_that_a_table_was_not_written_to(
    pair: Pair, manifest: Path, loaded: LoadedFerry, filled: Path
) -> None:
    """A run was killed before its first row. After the abort the phase does not tell any more."""
    fence = died(loaded)
    with fence.exclusively() as (session, _):
        fence.update(session, phase="Claimed", tables=["shop.filled"], unwritten=["shop.filled"])
    pair.target.execute("INSERT INTO shop.filled VALUES (1)")
    assert ferry("abort", manifest, "--state", str(filled)).exit_code == 0
    done = ferry("cleanup", manifest, "--state", str(filled))
    assert done.exit_code == 0
    assert "kept shop.filled (this Ferry has not written to them)" in done.stdout
    assert pair.target.query("SELECT * FROM shop.filled") == [(1,)]
