"""What a person on call sees first."""

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from kubectl_ferry.screen import draw, health, listing, next_step

NOW = datetime(2026, 12, 1, 3, 0, tzinfo=UTC)
FERRY: dict[str, Any] = {
    "metadata": {"name": "orders", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-12-01T00:00:00Z"},
    "spec": {"source": {"host": "old.db"}, "target": {"host": "new.db", "port": 3307}, "cutover": {"mode": "Manual"}},
    "status": {
        "stage": "Copying",
        "phase": "Copying",
        "message": "copying 2 tables",
        "startTime": "2026-12-01T01:00:00Z",
        "progress": {
            "tablesTotal": 42,
            "tablesCopied": 40,
            "rowsCopied": 1_000_000,
            "rowsEstimated": 4_000_000,
            "bytesCopied": 5 << 30,
            "percent": 25,
            "estimatedCompletionTime": "2026-12-01T09:00:00Z",
        },
        "replication": {"lagSeconds": 2.0, "pendingKeys": 120, "sourceBinlogRetainedSeconds": 443000},
        "throttle": {"active": True, "reason": "rows-per-second 100 >= 100", "since": "2026-12-01T02:57:00Z"},
        "copier": {
            "podName": "orders-copier",
            "restarts": 1,
            "lastTermination": {"exitCode": 137, "reason": "OOMKilled"},
        },
        "conditions": [],
    },
}


def ferry(*conditions: tuple[str, str, str, str], **status: Any) -> dict[str, Any]:
    made = deepcopy(FERRY)
    made["status"] |= status
    made["status"]["conditions"] = [
        {"type": kind, "status": word, "reason": reason, "message": text, "lastTransitionTime": "2026-12-01T02:00:00Z"}
        for kind, word, reason, text in conditions
    ]
    return made


def test_where_it_is_what_holds_it_back_and_when_it_is_done() -> None:
    text = draw(ferry(("Throttled", "True", "RateLimit", "")), [], NOW, 100)
    for said in (
        "shop/orders: Copying, began 2 h 0 min ago",
        "Health    healthy, throttled",
        "old.db:3306 -> new.db:3307",
        "25 %",
        "40 of 42 tables, 1,000,000 of about 4,000,000 rows, 5.0 GiB",
        "done in about 6 h 0 min",
        "lag 2.0 s, 120 changed keys pending, the source keeps binlogs for another 5 d 3 h",
        "rows-per-second 100 >= 100, for 3 min 0 s",
        "restarts: 1, the last with exit code 137 (OOMKilled)",
    ):
        assert said in " ".join(text.split()) or said in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_ferry_that_nobody_has_seen_yet_is_drawn() -> None:
    new = {key: value for key, value in FERRY.items() if key != "status"}
    assert "waits for the operator" in draw(new, [], NOW, 80)
    assert "shop" in listing([new], NOW)[1]


@pytest.mark.parametrize(
    ("seen", "verdict", "step"),
    [
        (ferry(), "healthy", ""),
        (ferry(("Paused", "True", "PausedByUser", "")), "healthy, paused", ""),
        (
            ferry(("Stalled", "True", "SourceBinlogPurged", "the binlog is gone")),
            "NEEDS A PERSON: SourceBinlogPurged: the binlog is gone",
            "kubectl ferry logs orders -n shop",
        ),
        (
            ferry(failure={"reason": "ServerGone", "message": "away", "retriable": True}),
            "IS RETRIED: ServerGone: away",
            "",
        ),
        (ferry(("Verified", "False", "RowsDiffer", "1 row")), "NEEDS A PERSON: RowsDiffer: 1 row", ""),
        (ferry(("ReadyForCutover", "True", "GatesPassed", "")), "healthy", "kubectl ferry cutover orders -n shop"),
        (ferry(phase="Completed"), "completed", ""),
    ],
)
def test_health_and_the_right_button(seen: dict[str, Any], verdict: str, step: str) -> None:
    assert health(seen) == verdict
    assert step in next_step(seen)
    assert bool(step) == bool(next_step(seen))


def test_an_approved_ferry_offers_the_way_back() -> None:
    seen = ferry(("ReadyForCutover", "True", "GatesPassed", ""))
    seen["spec"]["cutover"]["approved"] = True
    assert "kubectl ferry withdraw orders -n shop" in next_step(seen)


def test_events_are_in_order_and_cannot_control_the_terminal() -> None:
    events = [
        {
            "type": "Warning",
            "reason": "Late",
            "message": "b\x1b[2J",
            "eventTime": "2026-12-01T02:30:00Z",
            "metadata": {},
        },
        {"type": "Normal", "reason": "Early", "message": "a", "eventTime": "2026-12-01T02:00:00Z", "metadata": {}},
    ]
    *_, early, late = draw(ferry(), events, NOW, 80).splitlines()
    assert early.endswith(":00 Early: a")
    assert "! Late: b\\x1b[2J" in late
