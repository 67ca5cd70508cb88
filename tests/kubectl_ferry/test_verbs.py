"""The patches of ``kubectl ferry``."""

import pytest

from ferry_core.api.choices import CutoverMode
from ferry_core.api.cutover import Cutover
from ferry_core.api.spec import Throttle
from kubectl_ferry.kubectl import CommandFailed
from kubectl_ferry.options import SIGNALS
from kubectl_ferry.verbs import SPECS, throttle_spec


@pytest.mark.parametrize("mode", list(CutoverMode))
def test_withdrawing_leaves_no_permission_in_any_mode(mode: CutoverMode) -> None:
    before = {"mode": mode.value, "approved": mode is CutoverMode.MANUAL, "notBefore": "2026-12-01T02:00:00Z"}
    assert Cutover.model_validate(before).permitted
    assert not Cutover.model_validate(before | SPECS["withdraw"]["cutover"]).permitted


def test_off_removes_every_limit_that_is_not_given() -> None:
    assert throttle_spec("off", {}, []) == {"throttle": None}
    kept = throttle_spec("off", {"maxReplicaLag": "5s"}, [])["throttle"]
    fields = {field.alias or name for name, field in Throttle.model_fields.items()}
    assert set(kept) == fields
    assert {name for name, value in kept.items() if value is not None} == {"maxReplicaLag"}
    assert set(SIGNALS.values()) < fields


def test_limits_are_set_and_removed_one_by_one() -> None:
    given = throttle_spec("500", {"query": "off", "activeHours": "20:00-06:00"}, ["source=40", "target=off"])
    assert given == {
        "throttle": {
            "query": None,
            "activeHours": "20:00-06:00",
            "maxThreadsRunning": {"source": 40, "target": None},
            "maxRowsPerSecond": 500,
        }
    }
    assert throttle_spec(None, {}, ["off"]) == {"throttle": {"maxThreadsRunning": None}}


@pytest.mark.parametrize(
    ("rows", "threads"), [(None, []), ("all", []), ("0", []), (None, ["40"]), (None, ["source=x"])]
)
def test_a_limit_that_is_none_is_refused(rows: str | None, threads: list[str]) -> None:
    with pytest.raises(CommandFailed) as refused:
        throttle_spec(rows, {}, threads)
    assert refused.value.code == 64
