"""A directive that could only be acted on in part is refused, not taken in silence."""

import threading
from pathlib import Path
from typing import Any

import pytest

from ferry_core.api.directive import Directive
from ferry_core.errors import ConfigError, ServerRole
from ferry_core.manifest import load
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.run.ferry import Ferry
from ferry_core.run.options import RunOptions
from tests.support.manifests import ferry_between, write


@pytest.fixture
def ferry(tmp_path: Path) -> Ferry:
    ends = [Endpoint(role, f"{role}.test", 3306, "u", "p") for role in ServerRole]
    manifest = write(tmp_path, *ferry_between(*ends, tables={"include": ["shop.*"]}, verify={"mode": "Final"}))
    return Ferry(load([manifest]), RunOptions(state_path=tmp_path / "state.db"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"verify": {"mode": "None"}}, "verify.mode (Final, asked for: None)"),
        ({"verify": {"mode": "Final"}, "cutover": {"sourceLock": "None"}}, "cutover.sourceLock (ReadOnly, asked"),
    ],
)
def test_what_needs_another_start_is_refused(ferry: Ferry, change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match="cannot change while it runs") as caught:
        ferry.check(Directive.model_validate({"generation": 1} | change))
    assert caught.value.reason == "NeedsRestart"
    assert named in caught.value.message


def test_everything_else_is_taken(ferry: Ferry) -> None:
    said = {"paused": True, "cutover": {"approved": True}, "verify": {"mode": "Final", "onMismatch": "Fail"}}
    ferry.check(Directive.model_validate({"generation": 1} | said))


def test_a_pause_that_is_applied_late_does_not_stop_the_attempt_that_has_begun(
    ferry: Ferry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With writes stopped on the source, it would keep them stopped until the deadline."""
    inside, release = threading.Event(), threading.Event()
    really = ferry.throttle.pause.set

    def held(paused: bool, by: str) -> None:
        if paused:
            inside.set()
            assert release.wait(30)
        really(paused, by)

    monkeypatch.setattr(ferry.throttle.pause, "set", held)
    verb = threading.Thread(target=ferry.intent.pause, args=(True,))
    verb.start()
    assert inside.wait(30), "the pause is decided on and not applied yet"
    attempt = threading.Thread(target=ferry.intent.cutting_over, args=(True,))
    attempt.start()
    attempt.join(0.3)
    release.set()
    for thread in (verb, attempt):
        thread.join(30)
    assert not ferry.throttle.pause.paused
    ferry.intent.cutting_over(False)
    assert ferry.throttle.pause.paused, "it takes effect once the attempt is over"
