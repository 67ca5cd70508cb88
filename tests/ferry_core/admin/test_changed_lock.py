"""A source that an earlier attempt made read-only is named, although the manifest now has another ``sourceLock``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ferry_core.api.report import Stage
from ferry_core.api.spec import ferry_uid
from ferry_core.checkpoint.sqlite import SqliteStore
from ferry_core.checkpoint.state import RunState
from ferry_core.manifest import LoadedFerry
from tests.support.manifests import write
from tests.support.offline_verbs import died, ferry
from tests.support.servers import Pair

HOOK = {"url": "https://gate.example.com/writes"}
LOCKS = [
    {"sourceLock": "LockTables"},
    {"sourceLock": "Webhook", "webhooks": {"lock": HOOK, "unlock": HOOK}},
]
BY_HAND = "SET GLOBAL read_only = OFF"


@pytest.fixture(name="changed", params=LOCKS, ids=lambda lock: lock["sourceLock"])
def _changed(pair: Pair, manifest: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The manifest with another lock; the source is read-only."""
    cutover: dict[str, Any] = request.param
    document, *others = yaml.safe_load_all(manifest.read_text())
    document["spec"].setdefault("cutover", {}).update(cutover)
    pair.source.execute("SET GLOBAL read_only = ON")
    yield write(tmp_path, document, *others)
    pair.source.execute("SET GLOBAL read_only = OFF")


def stored(loaded: LoadedFerry, folder: Path, stage: Stage) -> str:
    """The path of a state file that a run left in ``stage``."""
    path = folder / "state.db"
    state = RunState(ferry_uid=ferry_uid(loaded.ferry), ferry_name="o", source_id="s", selection="{}")
    state.stage = stage.value
    store = SqliteStore(path)
    store.save(state, 1)
    store.close()
    return str(path)


def test_when_the_target_has_no_record(changed: Path) -> None:
    assert BY_HAND in ferry("abort", changed).stdout


def test_when_the_target_records_no_attempt(changed: Path, loaded: LoadedFerry) -> None:
    died(loaded).record(tables=["shop.t"])
    assert BY_HAND in ferry("abort", changed).stdout


@pytest.mark.parametrize(
    ("stage", "reason"), [(Stage.COMPLETED, "HandOverForgotten"), (Stage.CUTTING_OVER, "SourceLocked")]
)
def test_when_only_the_state_file_records_the_attempt(
    changed: Path, loaded: LoadedFerry, tmp_path: Path, stage: Stage, reason: str
) -> None:
    done = ferry("abort", changed, "--state", stored(loaded, tmp_path, stage))
    assert reason in done.stderr
    assert BY_HAND in done.stderr
