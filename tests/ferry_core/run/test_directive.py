"""A directive that could be applied only in part is refused, not silently accepted."""

import threading
from pathlib import Path
from typing import Any

import pytest

from ferry_core.api.control import Settings
from ferry_core.api.directive import Directive
from ferry_core.api.report import Stage
from ferry_core.errors import ConfigError, ServerRole
from ferry_core.intent.desired_state import DesiredState
from ferry_core.manifest import load
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.run.ferry import Ferry
from ferry_core.run.options import RunOptions
from tests.support.manifests import ferry_between, write


@pytest.fixture
def ferry(tmp_path: Path) -> Ferry:
    ends = [Endpoint(role, f"{role}.test", 3306, "u", "p") for role in (ServerRole.SOURCE, ServerRole.TARGET)]
    manifest = write(tmp_path, *ferry_between(*ends, tables={"include": ["shop.*"]}, verify={"mode": "Final"}))
    return Ferry(load([manifest]), RunOptions(state_path=tmp_path / "state.db"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"verify": {"mode": "None"}}, "verify.mode (Final, requested: None)"),
        ({"verify": {"mode": "Final"}, "cutover": {"sourceLock": "None"}}, "cutover.sourceLock (ReadOnly, requested"),
    ],
)
def test_a_change_that_needs_a_restart_is_refused(ferry: Ferry, change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match="cannot change while the Ferry runs") as caught:
        ferry.check(Directive.model_validate({"generation": 1} | change))
    assert caught.value.reason == "NeedsRestart"
    assert named in caught.value.message


def test_every_other_change_is_accepted(ferry: Ferry) -> None:
    said = {"paused": True, "cutover": {"approved": True}, "verify": {"mode": "Final", "onMismatch": "Fail"}}
    ferry.check(Directive.model_validate({"generation": 1} | said))


@pytest.mark.parametrize("earlier", [True, False], ids=["just before", "just after"])
def test_a_pause_that_arrives_as_an_attempt_begins_takes_effect_after_it(ferry: Ferry, earlier: bool) -> None:
    """During the attempt it would keep writes on the source blocked until the deadline."""
    inside, release = threading.Event(), threading.Event()

    def paused(wanted: DesiredState) -> DesiredState:
        inside.set()
        assert release.wait(180)
        return wanted.paused_or_resumed(True)

    verb = threading.Thread(target=ferry.intent.change, args=[paused])
    verb.start()
    assert inside.wait(180), "the pause is asked for and not in force yet"
    for begins in (not earlier, earlier):
        if begins:
            ferry.reporter.enter(Stage.CUTTING_OVER)
        else:
            release.set()
            verb.join(180)
    assert not ferry.throttle.pause.paused
    assert ferry.throttle.admit(1, threading.Event()), "rows move on"
    ferry.reporter.enter(Stage.STREAMING)
    assert ferry.throttle.pause.by == "ferry pause"


@pytest.mark.parametrize("mode", ["Manual", "Automatic"])
def test_withdrawing_takes_every_permission_and_approving_again_begins_a_new_series(ferry: Ferry, mode: str) -> None:
    cutover = {"mode": mode, "approved": mode == "Manual"}
    ferry.directive(Directive.model_validate({"generation": 2, "cutover": cutover}))
    approved = ferry.intent.now
    ferry.withdraw()
    withdrawn = ferry.intent.now
    ferry.cutover()
    again = ferry.intent.now
    assert [wanted.wants_cutover for wanted in (approved, withdrawn, again)] == [True, False, True]
    assert again.series > approved.series


def test_settings_replace_the_copy_and_the_throttle_alone(ferry: Ferry) -> None:
    ferry.pause()
    ferry.set_settings(Settings.model_validate({"copy": {"workers": 9}, "throttle": {"maxRowsPerSecond": 5}}))
    assert (ferry.wanted.copy_.workers, ferry.wanted.throttle.max_rows_per_second) == (9, 5)
    assert ferry.wanted.paused
