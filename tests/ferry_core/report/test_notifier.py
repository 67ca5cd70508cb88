"""Notifications to real HTTP servers: what is sent for what, signatures, repetitions, and addresses that hang."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ferry_core.api.notification import Notification, Payload, Sender
from ferry_core.api.report import Stage
from ferry_core.errors import ConnectionLost, DataError
from ferry_core.reasons import Condition, Reason
from ferry_core.report import notifier as notifiers
from ferry_core.report.notifier import Notifier, signature
from ferry_core.report.progress import Progress
from tests.support.hooks import HANG, LOST, HookServer, Received
from tests.support.waits import wait_until

SENDER = Sender(namespace="shop", name="orders", uid="u")
MakeNotifier = Callable[..., Notifier]


@pytest.fixture
def hooks() -> Iterator[HookServer]:
    with HookServer() as server:
        yield server


@pytest.fixture
def progress() -> Progress:
    return Progress()


@pytest.fixture
def notify(hooks: HookServer, progress: Progress, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeNotifier]:
    """Makes a notifier with these addresses, each a path and fields of its Notification."""
    monkeypatch.setattr(notifiers, "LOOK_SECONDS", 0.05)
    made: list[Notifier] = []

    def make(**paths: dict[str, Any]) -> Notifier:
        addresses = [
            Notification.model_validate({"url": hooks.url(f"/{path}")} | fields) for path, fields in paths.items()
        ]
        made.append(Notifier(progress, addresses, SENDER, lambda ref: f"key of {ref.name}"))
        return made[-1]

    yield make
    for each in made:
        each.close(0.1)


def told(received: list[Received]) -> list[tuple[str, str, str]]:
    return [(one.body["event"], one.body["subject"], one.body["value"]) for one in received]


def test_each_change_is_told_once_and_in_order(hooks: HookServer, progress: Progress, notify: MakeNotifier) -> None:
    sending = notify(a={})
    progress.set_stage(Stage.COPYING)
    progress.set_stage(Stage.STREAMING)
    progress.set_condition(Condition.CAUGHT_UP, True, Reason.LAG_BELOW_THRESHOLD)
    progress.attempt_begins(1)
    progress.set_condition(Condition.CUT_OVER, False, Reason.DEADLINE_EXCEEDED, "too slow")
    progress.set_condition(Condition.STALLED, True, Reason.ATTEMPTS_EXHAUSTED, "1 attempt failed")
    sending.close()
    assert told(hooks.at("/a")) == [
        ("StageChanged", "Stage", "Copying"),
        ("StageChanged", "Stage", "Streaming"),
        ("Attempt", "CutoverAttempt", "1"),
        ("Attempt", "CutOver", "False"),
        ("Error", "Stalled", "True"),
    ]
    assert [one.body["sequence"] for one in hooks.at("/a")] == [1, 2, 3, 4, 5]
    last = Payload.model_validate_json(hooks.at("/a")[-1].raw, strict=False)
    assert (last.reason, last.message, last.ferry) == ("AttemptsExhausted", "1 attempt failed", SENDER)
    assert last.status.stage == "Streaming"
    assert len({one.body["id"] for one in hooks.at("/a")}) == 5


@pytest.mark.parametrize(
    ("error", "subject"),
    [
        (ConnectionLost(Reason.CONNECTION_LOST, "source: gone"), {"Failure"}),
        (DataError(Reason.ROWS_DIFFER, "1 row differs"), {"Succeeded", "Stalled"}),
    ],
)
def test_a_failure_is_told_before_the_end(
    hooks: HookServer, progress: Progress, notify: MakeNotifier, error: Any, subject: set[str]
) -> None:
    sending = notify(a={"events": ["Error"]})
    progress.failed(error)
    sending.close()
    assert {one.body["subject"] for one in hooks.at("/a")} == subject
    assert {one.body["reason"] for one in hooks.at("/a")} <= {error.reason, "Failed"}
    assert hooks.at("/a")[0].body["status"]["failure"]["reason"] == error.reason


def test_only_chosen_events_are_told(hooks: HookServer, progress: Progress, notify: MakeNotifier) -> None:
    sending = notify(a={"events": ["Attempt"]}, b={"events": ["StageChanged"]})
    progress.set_stage(Stage.COPYING)
    progress.attempt_begins(1)
    sending.close()
    assert told(hooks.at("/a")) == [("Attempt", "CutoverAttempt", "1")]
    assert told(hooks.at("/b")) == [("StageChanged", "Stage", "Copying")]


def test_progress_is_told_regularly(
    hooks: HookServer, progress: Progress, notify: MakeNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifiers, "PROGRESS_SECONDS", 0.1)
    notify(a={"events": ["Progress"]})
    progress.set_message("copying rows")
    first, second, *_ = hooks.wait_for("/a", 2)
    assert (first.body["event"], second.body["message"]) == ("Progress", "copying rows")
    assert first.body["status"]["progress"]["tablesTotal"] == 0


def test_a_signed_notification_can_be_verified(hooks: HookServer, progress: Progress, notify: MakeNotifier) -> None:
    sending = notify(a={"tokenSecretRef": {"name": "bell"}}, b={})
    progress.set_stage(Stage.COPYING)
    sending.close()
    (signed,), (unsigned,) = hooks.at("/a"), hooks.at("/b")
    stamp = signed.headers["X-Ferry-Timestamp"]
    assert signed.headers["X-Ferry-Signature"] == signature("key of bell", stamp, signed.raw)
    assert signature("another key", stamp, signed.raw) != signed.headers["X-Ferry-Signature"]
    assert abs(int(stamp) - time.time()) < 60
    assert "key of bell" not in str(signed)
    assert "X-Ferry-Signature" not in unsigned.headers


def test_what_fails_is_repeated_as_the_same_notification(
    hooks: HookServer, progress: Progress, notify: MakeNotifier
) -> None:
    hooks.answers["/a"] = [503, LOST]
    notify(a={})
    progress.set_stage(Stage.COPYING)
    received = hooks.wait_for("/a", 3)
    assert len({one.headers["Idempotency-Key"] for one in received}) == 1
    assert len({one.raw for one in received}) == 1


def test_what_is_refused_is_dropped_with_a_warning(
    hooks: HookServer, progress: Progress, notify: MakeNotifier, caplog: pytest.LogCaptureFixture
) -> None:
    hooks.answers["/a"] = [404]
    sending = notify(b={"events": ["Progress"]}, a={"url": hooks.url("/a?key=secret")})
    progress.set_stage(Stage.COPYING)
    progress.set_stage(Stage.STREAMING)
    sending.close()
    assert [one.body["value"] for one in hooks.at("/a")] == ["Copying", "Streaming"]
    assert f"to spec.notifications[1] ({hooks.url('')}) was not sent: HTTP 404" in caplog.text
    assert "secret" not in caplog.text


def test_an_address_that_hangs_delays_nobody(hooks: HookServer, progress: Progress, notify: MakeNotifier) -> None:
    hooks.answers["/a"] = [HANG] * 9
    sending = notify(a={}, b={})
    progress.set_stage(Stage.COPYING)
    wait_until(lambda: bool(hooks.at("/a")), "the call that hangs")
    progress.set_stage(Stage.STREAMING)
    hooks.wait_for("/b", 2)
    began = time.monotonic()
    sending.close(1.0)
    assert time.monotonic() - began < 30


def test_too_many_are_dropped_and_the_numbers_show_it(
    hooks: HookServer, progress: Progress, notify: MakeNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifiers, "MOST_WAITING", 2)
    hooks.answers["/a"] = [503]
    sending = notify(a={})
    progress.set_stage(Stage.COPYING)
    hooks.wait_for("/a")
    for number in range(5):
        progress.set_stage(Stage.STREAMING if number % 2 else Stage.READY_FOR_CUTOVER)
    sending.close()
    numbers = [one.body["sequence"] for one in hooks.at("/a")]
    assert numbers[-2:] == [5, 6]
    assert len(set(numbers)) == 3


def test_without_addresses_nothing_runs(notify: MakeNotifier, hooks: HookServer, progress: Progress) -> None:
    sending = notify()
    progress.set_stage(Stage.COPYING)
    sending.close()
    assert hooks.received == []
