"""Which tables of the target ``ferry cleanup -f`` drops, and what it must know before."""

import contextlib
from pathlib import Path

import pytest
import yaml

from ferry_core.api.spec import ferry_uid
from ferry_core.checkpoint.sqlite import SqliteStore
from ferry_core.checkpoint.state import RunState, TableState
from ferry_core.manifest import LoadedFerry
from tests.support.offline_verbs import died, ferry
from tests.support.servers import Pair


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
        died(loaded).record(tables=["shop.claimed"], phase=phase)
        state = RunState(ferry_uid=ferry_uid(loaded.ferry), ferry_name="o", source_id="s", selection="{}")
        state.tables["shop.claimed"] = TableState(started=True)
        state.objects = ["VIEW shop.seen"]
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


@pytest.mark.parametrize("after", ["Aborted", "Retain"])
def test_a_cleanup_that_drops_nothing_needs_no_source(manifest: Path, loaded: LoadedFerry, after: str) -> None:
    died(loaded).record(tables=["shop.t"], phase="Aborted" if after == "Aborted" else None)
    document, *others = yaml.safe_load_all(manifest.read_text())
    document["spec"] |= {"deletionPolicy": "Retain" if after == "Retain" else "DropTarget"}
    document["spec"]["source"]["port"] = 1
    manifest.write_text(yaml.safe_dump_all([document, *others]))
    assert ferry("cleanup", manifest).exit_code == 0
