"""``ferry abort -f`` and ``ferry cleanup -f`` on real servers, after runs that died."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ferry_core.admin import offline
from ferry_core.api.report import Outcome, Stage
from ferry_core.api.spec import ferry_uid
from ferry_core.checkpoint.sqlite import SqliteStore
from ferry_core.checkpoint.state import RunState, TableState
from ferry_core.consistency.fence import COMPLETED, Fence, Lease
from ferry_core.cutover.source_lock import ReadOnlyLock
from ferry_core.errors import Fenced
from ferry_core.manifest import LoadedFerry
from ferry_core.mysql.session import Session
from ferry_core.run.claim import take_fence
from ferry_core.run.setup import RunContext
from ferry_core.workers.connections import Connections
from hack.servers import Family
from tests.support.manifests import write
from tests.support.offline_verbs import died, ferry, read_only
from tests.support.proxy import Proxy
from tests.support.servers import Pair


@pytest.mark.parametrize("verb", ["abort", "cleanup"])
def test_abort_and_cleanup_of_a_ferry_that_never_started(manifest: Path, verb: str) -> None:
    done = ferry(verb, manifest)
    assert (done.exit_code, "nothing to" in done.stdout) == (0, True)


@pytest.mark.parametrize("verb", ["abort", "cleanup"])
def test_other_ferries_of_the_same_name_are_reported_and_left_alone(
    pair: Pair, manifest: Path, loaded: LoadedFerry, verb: str
) -> None:
    """As after the end of a namespace: the cluster's uid is not in the manifest at hand."""
    pair.target.drop_schemas("mysql_ferry")
    died(loaded)
    uid = ferry_uid(loaded.ferry)
    document, *others = yaml.safe_load_all(manifest.read_text())
    document["metadata"] |= {"namespace": "shop", "name": "orders"}
    del document["metadata"]["uid"]
    manifest.write_text(yaml.safe_dump_all([document, *others]))
    done = ferry(verb, manifest)
    assert (done.exit_code, "nothing to" in done.stdout) == (0, True)
    assert f"named shop/orders, with these uids: {uid} (New)" in done.stdout
    assert f"metadata.uid: {uid}" in done.stdout
    document["metadata"]["uid"] = uid
    manifest.write_text(yaml.safe_dump_all([document, *others]))
    assert "nothing to" not in ferry(verb, manifest).stdout


@pytest.mark.parametrize("verb", ["abort", "cleanup"])
def test_an_older_run_is_fenced_off(pair: Pair, manifest: Path, loaded: LoadedFerry, verb: str) -> None:
    pair.target.drop_schemas("mysql_ferry")  # so that a cleanup drops the tables with the last row
    fence = died(loaded)
    assert ferry(verb, manifest).exit_code == 0
    with pytest.raises(Fenced):
        fence.read()


@pytest.mark.parametrize("verb", ["abort", "cleanup"])
def test_a_source_that_was_left_locked_is_unlocked(pair: Pair, manifest: Path, loaded: LoadedFerry, verb: str) -> None:
    names = ("read_only", "super_read_only") if pair.source.flavor.value == "MySQL" else ("read_only",)
    died(loaded).record(phase=Stage.CUTTING_OVER.value, cutover=dict.fromkeys(names, "0"))
    pair.source.execute(f"SET GLOBAL {names[-1]} = ON")
    assert read_only(pair) == 1
    done = ferry(verb, manifest)
    assert (done.exit_code, read_only(pair)) == (0, 0)
    assert "writes on the source are allowed again" in done.stdout
    assert ("MariaDB does not record who set read_only" in done.stdout) is (pair.family is Family.MARIADB)


@pytest.mark.parametrize("verb", ["abort", "cleanup"])
def test_a_source_that_another_ferry_has_locked_since_is_not_reported_as_unlocked(
    pair: Pair, manifest: Path, loaded: LoadedFerry, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferry_core.cutover.source_lock.MUTEX_SECONDS", 0.5)
    names = ("read_only", "super_read_only") if pair.source.flavor.value == "MySQL" else ("read_only",)
    died(loaded).record(phase=Stage.CUTTING_OVER.value, cutover=dict.fromkeys(names, "0"))
    other = ReadOnlyLock(lambda: loaded.source, pair.source.flavor, "other")
    other.begin(60)
    stored = other.stored()
    other.acquire(60)
    try:
        done = ferry(verb, manifest)
        assert (done.exit_code, read_only(pair)) == (0, 1)
        assert "read_only on the source stays as it is: another Ferry" in done.stdout
        assert "allowed again" not in done.stdout
    finally:
        other.release(stored)
        other.end()


@pytest.mark.parametrize("verb", ["abort", "cleanup"])
def test_a_locked_source_is_unlocked_even_if_the_spec_now_has_another_lock(
    pair: Pair, tmp_path: Path, manifest: Path, loaded: LoadedFerry, verb: str
) -> None:
    names = ("read_only", "super_read_only") if pair.source.flavor.value == "MySQL" else ("read_only",)
    died(loaded).record(phase=Stage.CUTTING_OVER.value, cutover=dict.fromkeys(names, "0"))
    pair.source.execute(f"SET GLOBAL {names[-1]} = ON")
    documents = list(yaml.safe_load_all(manifest.read_text()))
    documents[0]["spec"].setdefault("cutover", {})["sourceLock"] = "None"
    assert ferry(verb, write(tmp_path, *documents)).exit_code == 0
    assert read_only(pair) == 0


def test_a_cutover_cannot_be_aborted_and_its_tombstone_outlives_a_cleanup(
    manifest: Path, loaded: LoadedFerry, pair: Pair
) -> None:
    died(loaded).record(phase=COMPLETED)
    refused = ferry("abort", manifest)
    assert (refused.exit_code, "AlreadyCutOver" in refused.stderr) == (64, True)
    assert "the record of its cutover" in ferry("cleanup", manifest).stdout
    uid = ferry_uid(loaded.ferry)
    assert pair.target.query(f"SELECT phase FROM mysql_ferry.lease WHERE ferry_uid = '{uid}'") == [(COMPLETED,)]
    pair.target.execute(f"DELETE FROM mysql_ferry.lease WHERE ferry_uid = '{uid}'")


def test_an_abort_does_not_undo_a_cutover_that_completes_meanwhile(
    pair: Pair, manifest: Path, loaded: LoadedFerry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tombstone would be gone, and the target taken for one that was never cut over."""
    fence, look = died(loaded), offline._lease

    def look_too_early(loaded: LoadedFerry, connections: Connections) -> Lease | None:
        found = look(loaded, connections)
        fence.complete()
        return found

    monkeypatch.setattr(offline, "_lease", look_too_early)
    done = ferry("abort", manifest)
    assert (done.exit_code, "AlreadyCutOver" in done.stderr) == (64, True)
    uid = ferry_uid(loaded.ferry)
    assert pair.target.query(f"SELECT phase FROM mysql_ferry.lease WHERE ferry_uid = '{uid}'") == [(COMPLETED,)]
    pair.target.execute(f"DELETE FROM mysql_ferry.lease WHERE ferry_uid = '{uid}'")


def test_a_run_that_was_validated_before_an_abort_does_not_begin_after_it(
    pair: Pair, manifest: Path, loaded: LoadedFerry, tmp_path: Path
) -> None:
    """On a node that is cut off, say, where its copier is started again just then."""
    fence = died(loaded)
    assert ferry("abort", manifest).exit_code == 0
    with pytest.raises(Fenced, match="NewerRun"):
        fence.read()
    connections = Connections(lambda: loaded.source, lambda: loaded.target)
    uid, store = ferry_uid(loaded.ferry), SqliteStore(tmp_path / "orders.db")
    late = RunContext(loaded.ferry, uid, "shop/orders", pair.source.flavor, "", connections, store, None, None)
    try:
        with pytest.raises(Fenced, match="Aborted"):
            take_fence(late, RunState(ferry_uid=uid, ferry_name="shop/orders", source_id="", selection=""))
    finally:
        store.close()
    assert pair.target.query(f"SELECT phase FROM mysql_ferry.lease WHERE ferry_uid = '{uid}'") == [("Aborted",)]


def test_the_last_cleanup_drops_the_helper_tables(pair: Pair, manifest: Path, loaded: LoadedFerry) -> None:
    pair.target.drop_schemas("mysql_ferry")
    died(loaded)
    pair.target.execute(
        "INSERT INTO mysql_ferry.lease SELECT 'other', name, 1, 'New', '', '[]', 1, '{}', NOW(6) FROM mysql_ferry.lease"
    )
    assert ferry("cleanup", manifest).exit_code == 0
    assert pair.target.query("SELECT ferry_uid FROM mysql_ferry.lease") == [("other",)]
    pair.target.execute("DELETE FROM mysql_ferry.lease")
    died(loaded)
    assert ferry("cleanup", manifest).exit_code == 0
    assert pair.target.query("SHOW TABLES FROM mysql_ferry") == []


def test_two_cleanups_at_once_drop_the_helper_tables(
    pair: Pair, manifest: Path, loaded: LoadedFerry, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.target.drop_schemas("mysql_ferry")
    died(loaded)
    drop = offline._drop_if_unused

    def second(session: Session) -> None:
        drop(session)
        drop(session)

    monkeypatch.setattr(offline, "_drop_if_unused", second)
    assert ferry("cleanup", manifest).exit_code == 0
    assert pair.target.query("SHOW TABLES FROM mysql_ferry") == []


@pytest.mark.parametrize("verb", ["abort", "cleanup"])
@pytest.mark.parametrize("own", [True, False], ids=["own", "another's"])
def test_a_cleanup_removes_the_state_file_of_this_ferry_alone(
    manifest: Path, loaded: LoadedFerry, tmp_path: Path, verb: str, own: bool
) -> None:
    died(loaded)
    path = tmp_path / "state.db"
    uid = ferry_uid(loaded.ferry) if own else "another"
    store = SqliteStore(path)
    store.save(RunState(ferry_uid=uid, ferry_name="shop/orders", source_id="s", selection="{}"), 1)
    store.close()
    done = ferry(verb, manifest, "--state", str(path))
    assert done.exit_code == 0
    removed = verb == "cleanup" and own
    assert path.exists() is not removed
    if verb == "cleanup":
        assert (f"{path} is removed" if own else "it is not the state of this Ferry") in done.stdout


def test_a_cleanup_that_died_before_it_removed_the_state_file_is_completed(
    manifest: Path, loaded: LoadedFerry, tmp_path: Path
) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore(path)
    store.save(RunState(ferry_uid=ferry_uid(loaded.ferry), ferry_name="o", source_id="s", selection="{}"), 1)
    store.close()
    done = ferry("cleanup", manifest, "--state", str(path))
    assert (done.exit_code, path.exists()) == (0, False)
    assert "nothing to clean up" in done.stdout


def test_a_file_that_is_not_a_state_file_is_kept(manifest: Path, loaded: LoadedFerry, tmp_path: Path) -> None:
    died(loaded)
    path = tmp_path / "letter.txt"
    path.write_text("Dear all,")
    done = ferry("cleanup", manifest, "--state", str(path))
    assert (done.exit_code, path.read_text()) == (0, "Dear all,")
    assert f"{path} stays" in done.stdout


@pytest.mark.parametrize("verb", ["abort", "cleanup"])
def test_a_target_without_the_rows_that_the_state_records_is_refused(
    manifest: Path, loaded: LoadedFerry, tmp_path: Path, verb: str
) -> None:
    """The address leads elsewhere for a moment: the state file is all that would be left of the copy."""
    path = tmp_path / "state.db"
    state = RunState(ferry_uid=ferry_uid(loaded.ferry), ferry_name="o", source_id="s", selection="{}")
    state.tables["shop.t"] = TableState(started=True)
    store = SqliteStore(path)
    store.save(state, 1)
    store.close()
    done = ferry(verb, manifest, "--state", str(path))
    assert (done.exit_code, path.exists()) == (64, True)
    assert "StateOfOtherTarget" in done.stderr
    died(loaded)
    assert ferry(verb, manifest, "--state", str(path)).exit_code == 0
    assert path.exists() is (verb == "abort")


@pytest.mark.parametrize("verb", ["abort", "cleanup"])
def test_a_locked_source_is_reported_when_the_target_has_no_record(pair: Pair, manifest: Path, verb: str) -> None:
    pair.source.execute("SET GLOBAL read_only = ON")
    try:
        done = ferry(verb, manifest)
    finally:
        pair.source.execute("SET GLOBAL read_only = OFF")
    assert (done.exit_code, "nothing to" in done.stdout) == (0, True)
    assert "SET GLOBAL read_only = OFF" in done.stdout


@pytest.mark.parametrize("verb", ["abort", "cleanup"])
def test_what_was_done_is_the_termination_message(
    pair: Pair, manifest: Path, loaded: LoadedFerry, tmp_path: Path, verb: str
) -> None:
    """An operator reads no log of a Pod that has succeeded. What a person must decide is a field of its own."""
    died(loaded).record(tables=["shop.t"])
    pair.source.execute("SET GLOBAL read_only = ON")
    try:
        done = ferry(verb, manifest, "--termination-log", str(tmp_path / "log"))
    finally:
        pair.source.execute("SET GLOBAL read_only = OFF")
    outcome = Outcome.model_validate_json((tmp_path / "log").read_text())
    assert (done.exit_code, done.stdout.strip()) == (0, str(outcome))
    assert "SET GLOBAL read_only = OFF" in outcome.needs_person
    again = ferry(verb, manifest, "--termination-log", str(tmp_path / "log"))
    outcome = Outcome.model_validate_json((tmp_path / "log").read_text())
    assert (again.stdout.strip(), outcome.needs_person) == (outcome.message, "")


@pytest.mark.parametrize("verb", ["abort", "cleanup"])
def test_an_unlock_keeps_waiting_while_the_address_leads_elsewhere(
    pair: Pair, manifest: Path, loaded: LoadedFerry, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is to be run again, and does the rest then."""
    _, *unchanged = Connections.__init__.__defaults__ or ()
    monkeypatch.setattr(Connections.__init__, "__defaults__", (0.5, *unchanged))
    monkeypatch.setattr("ferry_core.cutover.unlocking.UNLOCK_SECONDS", 3)
    names = ("read_only", "super_read_only") if pair.source.flavor.value == "MySQL" else ("read_only",)
    died(loaded).record(phase=Stage.CUTTING_OVER.value, cutover=dict.fromkeys(names, "0"))
    pair.source.execute(f"SET GLOBAL {names[-1]} = ON")
    with Proxy(pair.source.host, pair.source.port) as proxy:
        document, *others = yaml.safe_load_all(manifest.read_text())
        document["spec"]["source"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        manifest.write_text(yaml.safe_dump_all([document, *others]))
        take = Fence.take

        def moved(*arguments: Any) -> tuple[Fence, Lease]:
            proxy.lead_to(pair.target.host, pair.target.port)
            return take(*arguments)

        monkeypatch.setattr(Fence, "take", moved)
        done = ferry(verb, manifest)
        assert (done.exit_code, read_only(pair)) == (75, 1)
        assert "SourceLocked" in done.stderr
        assert "SET GLOBAL" in done.stderr
        monkeypatch.undo()
        proxy.lead_to(pair.source.host, pair.source.port)
        assert (ferry(verb, manifest).exit_code, read_only(pair)) == (0, 0)
