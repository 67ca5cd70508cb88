"""Tells addresses of the user what happens (``spec.notifications``), without ever delaying the run. Used by ``run``.

One thread reads the run's recent events, and one for each address sends: so an address that hangs delays neither the
run nor another address. What cannot be sent is repeated for ten minutes, then dropped with a warning; the sequence
number of the next one shows that.
"""

import hashlib
import hmac
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from ferry_core.api.choices import NotificationEvent
from ferry_core.api.control import RecentEvent
from ferry_core.api.cutover import TokenRef
from ferry_core.api.notification import Notification, Payload, Sender
from ferry_core.api.report import Report, Status
from ferry_core.errors import FerryError
from ferry_core.http_post import PostFailed, post, without_secrets
from ferry_core.reasons import Condition
from ferry_core.report.progress import Progress

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
PROGRESS_SECONDS = 60.0
TIMEOUT_SECONDS = 10.0
GIVE_UP_SECONDS = 600.0
LAST_SECONDS = 5.0
"""How long the end of a run waits for what is not sent yet."""
MOST_WAITING = 200


def event_of(change: RecentEvent) -> NotificationEvent | None:
    """The kind of notification that a change is; None: none."""
    if change.type == "Stage":
        return NotificationEvent.STAGE_CHANGED
    if change.type in ("CutoverAttempt", Condition.CUT_OVER.value):
        return NotificationEvent.ATTEMPT
    trouble = {Condition.STALLED.value: "True", Condition.SUCCEEDED.value: "False"}
    return NotificationEvent.ERROR if trouble.get(change.type) == change.status else None


@dataclass(frozen=True)
class _News:
    event: NotificationEvent
    change: RecentEvent
    status: Status


class _Address:
    """The queue and the thread of one address."""

    def __init__(self, name: str, hook: Notification, sender: Sender, token: Callable[[TokenRef], str]) -> None:
        """``name``: where the spec has it."""
        self._name = name
        self._hook = hook
        self._sender = sender
        self._token = token
        self._waiting: deque[_News] = deque()
        self._changed = threading.Condition()
        self._closed_at: float | None = None
        self._sequence = 0
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
        self._thread.start()

    def add(self, news: _News) -> None:
        """Never waits. Of several figures only the newest count, and of too many others the newest."""
        if news.event not in self._hook.events:
            return
        with self._changed:
            progress = NotificationEvent.PROGRESS
            if news.event is progress and any(each.event is progress for each in self._waiting):
                return
            if len(self._waiting) == MOST_WAITING:
                self._waiting.popleft()
                self._sequence += 1
            self._waiting.append(news)
            self._changed.notify()

    def close(self, seconds: float) -> None:
        """Send what waits for at most that long."""
        with self._changed:
            self._closed_at = time.monotonic() + seconds
            self._changed.notify()
        self._thread.join(seconds + 0.5)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and self._closed_at is None:
                    self._changed.wait()
                if not self._waiting:
                    return
                news = self._waiting.popleft()
            self._sequence += 1
            self._send(news)

    def _send(self, news: _News) -> None:
        ident, began = uuid.uuid4().hex, time.monotonic()
        body = self._payload(news, ident).model_dump_json(by_alias=True).encode()

        def over(_: RetryCallState) -> bool:
            now, closed = time.monotonic(), self._closed_at
            return now - began > GIVE_UP_SECONDS or (closed is not None and now > closed)

        retrying = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, PostFailed) and error.may_pass),
            wait=wait_exponential_jitter(multiplier=0.5, max=30.0, jitter=0.5),
            stop=over,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            retrying(lambda: post(self._hook.url, body, self._headers(body, ident), self._timeout()))
        except (PostFailed, FerryError) as error:
            to = f"{self._name} ({without_secrets(self._hook.url)})"
            log.warning("notification %s (%s) to %s was not sent: %s", news.event, news.change.status, to, error)

    def _timeout(self) -> float:
        closed = self._closed_at
        return TIMEOUT_SECONDS if closed is None else max(0.5, min(TIMEOUT_SECONDS, closed - time.monotonic()))

    def _sleep(self, seconds: float) -> None:
        """Shorter once the run has ended, so that the last attempts are made in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed_at is not None, seconds)
        if self._closed_at is not None:
            threading.Event().wait(min(seconds, 0.5))

    def _headers(self, body: bytes, ident: str) -> dict[str, str]:
        headers = {"User-Agent": "mysql-ferry", "Idempotency-Key": ident}
        if self._hook.token_secret_ref is not None:
            stamp = str(int(time.time()))
            headers |= {
                "X-Ferry-Timestamp": stamp,
                "X-Ferry-Signature": signature(self._token(self._hook.token_secret_ref), stamp, body),
            }
        return headers

    def _payload(self, news: _News, ident: str) -> Payload:
        change = news.change
        return Payload(
            id=ident,
            sequence=self._sequence,
            event=news.event.value,
            time=change.time,
            ferry=self._sender,
            subject=change.type,
            value=change.status,
            reason=change.reason,
            message=change.message,
            status=news.status,
        )


def signature(token: str, timestamp: str, body: bytes) -> str:
    """What X-Ferry-Signature holds: the timestamp is signed too, so that an old notification cannot be sent again."""
    return "sha256=" + hmac.new(token.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class Notifier:
    """From construction until ``close``."""

    def __init__(
        self,
        progress: Progress,
        hooks: Sequence[Notification],
        sender: Sender,
        token: Callable[[TokenRef], str],
    ) -> None:
        self._progress = progress
        self._addresses = [_Address(f"spec.notifications[{at}]", hook, sender, token) for at, hook in enumerate(hooks)]
        self._over = threading.Event()
        self._seen = 0
        self._failure = ""
        self._progress_at = time.monotonic() + PROGRESS_SECONDS
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)
        if self._addresses:
            self._thread.start()

    def close(self, seconds: float = LAST_SECONDS) -> None:
        """Call it once the run has reported its end."""
        if not self._addresses:
            return
        end = time.monotonic() + seconds
        self._over.set()
        self._thread.join(seconds)
        left = max(0.0, end - time.monotonic())
        closing = [threading.Thread(target=each.close, args=(left,), daemon=True) for each in self._addresses]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(left + 1.0)

    def _run(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self._look()
            if time.monotonic() >= self._progress_at:
                self._progress_at += PROGRESS_SECONDS
                report = self._progress.report()
                self._tell(NotificationEvent.PROGRESS, _now("Progress", report.stage, "", report.message), report)
        self._look()

    def _look(self) -> None:
        changes, self._seen = self._progress.events_since(self._seen)
        if not changes and not self._over.is_set():
            return  # a report of thousands of tables takes a while
        report = self._progress.report()
        for change in changes:
            event = event_of(change)
            if event is not None:
                self._tell(event, change, report)
        failure = report.failure
        if failure is not None and failure.retriable and self._failure != failure.message:
            self._failure = failure.message  # one that is not retriable has set conditions
            change = _now("Failure", "True", failure.reason, failure.message)
            self._tell(NotificationEvent.ERROR, change, report)

    def _tell(self, event: NotificationEvent, change: RecentEvent, report: Report) -> None:
        status = Status.model_validate(report.model_dump(exclude={"revision"}))
        for each in self._addresses:
            each.add(_News(event, change, status))


def _now(kind: str, status: str, reason: str, message: str) -> RecentEvent:
    return RecentEvent(
        time=datetime.now(UTC).replace(microsecond=0), type=kind, status=status, reason=reason, message=message
    )
