"""Cutovers at a certain time: a run waits for its window, and a missed one can be replaced while it streams."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_directive import put
from tests.support.ferry_cli import FerryCli
from tests.support.ferry_under_load import condition
from tests.support.servers import Pair

ROWS = 200
PAST = "2026-01-01T00:00:00Z"


@pytest.fixture(name="filled")
def _filled(pair: Pair, schema: str) -> str:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)",
        f"INSERT INTO `{schema}`.t VALUES {', '.join(f'({number})' for number in range(ROWS))}",
    )
    return schema


def later(seconds: float) -> datetime:
    """In another zone than the machine's, as a person may write it."""
    return datetime.now(timezone(timedelta(hours=5, minutes=30))).replace(microsecond=0) + timedelta(seconds=seconds)


def waits(status: dict[str, Any], reason: str) -> bool:
    return bool(condition(status, "ReadyForCutover")["reason"] == reason)


def test_a_scheduled_cutover_waits_and_follows_a_new_time(pair: Pair, filled: str, tmp_path: Path) -> None:
    opens = later(3600)
    cutover = {"mode": "Scheduled", "notBefore": opens.isoformat(), "watchFor": "0s"}
    cli = FerryCli(tmp_path / "ferry", pair, filled, cutover=cutover)
    with cli.process() as process:
        status = process.start().wait_status(lambda status: waits(status, "OutsideWindow"))
        assert f"{opens.astimezone(UTC):%H:%M:%S} UTC" in condition(status, "ReadyForCutover")["message"]
        assert (status["stage"], status["cutover"]["attempts"]) == ("Streaming", 0)
        process.kill()  # a restart changes nothing about the window
        process.start().wait_status(lambda status: waits(status, "OutsideWindow"))
        earlier = later(2)
        put(process, {"generation": 2, "cutover": cutover | {"notBefore": earlier.isoformat()}})
        process.succeed()
    assert datetime.now(UTC) >= earlier
    assert pair.target.value(f"SELECT COUNT(*) FROM `{filled}`.t") == ROWS


def test_a_missed_window_is_replaced_by_a_directive(pair: Pair, filled: str, tmp_path: Path) -> None:
    cli = FerryCli(tmp_path / "ferry", pair, filled, cutover={"mode": "Automatic", "notAfter": PAST, "watchFor": "0s"})
    with cli.process() as process:
        status = process.start().wait_status(lambda status: condition(status, "Stalled")["status"] == "True")
        assert condition(status, "Stalled")["reason"] == "WindowMissed"
        assert waits(status, "WindowMissed")
        pair.source.execute(f"INSERT INTO `{filled}`.t VALUES (-1)")  # the stream goes on
        process.wait_status(lambda _: pair.target.value(f"SELECT COUNT(*) FROM `{filled}`.t") == ROWS + 1, seconds=60)
        assert process.status()["cutover"]["attempts"] == 0
        put(process, {"generation": 2, "cutover": {"mode": "Manual", "notAfter": PAST, "watchFor": "0s"}})
        process.wait_status(lambda status: condition(status, "Stalled")["status"] == "False")
        window = {"mode": "Scheduled", "notBefore": PAST, "notAfter": later(600).isoformat(), "watchFor": "0s"}
        put(process, {"generation": 3, "cutover": window})
        process.succeed()
