"""A directive that could only be acted on in part is refused, not taken in silence."""

from pathlib import Path
from typing import Any

import pytest

from ferry_core.api.directive import Directive
from ferry_core.errors import ConfigError
from ferry_core.manifest import load
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.run.ferry import Ferry
from ferry_core.run.options import RunOptions
from tests.support.manifests import ferry_between, write


@pytest.fixture
def ferry(tmp_path: Path) -> Ferry:
    ends = [Endpoint(role, f"{role}.test", 3306, "u", "p") for role in ("source", "target")]
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
