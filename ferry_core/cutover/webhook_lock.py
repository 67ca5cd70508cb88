"""``sourceLock: Webhook``: a call of the user's stops writes on the source, and another one allows them again.

What is sent and what the other side must do is in docs/webhooks.md. The parts that make this safe:

- Both calls name the attempt by a ``lockId`` that is recorded in the lease before the first call, with the address that
  allows writes again. So a later run, whatever its manifest says, undoes the right lock.
- A lock whose answer is lost may have been taken. Every attempt that has sent the call and fails sends the other one.
- A call that is still on its way from a dead copier cannot be stopped. The other side ignores a lock whose ``lockId``
  was unlocked before, and an unlock of a lock that is not the current one.
- The cutover mutex keeps the attempts of several Ferries apart. A run asks the source whether it still has it, over a
  second session if the first one does not answer, and only one that has lost it needs the lease to allow writes
  (``unlocking``): the target may hang.

Whether writes have really stopped is not visible here: as with ``None``, changes that arrive later fail the attempt, or
are reported after it.
"""

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from ferry_core.api.cutover import TokenRef, Webhook
from ferry_core.cutover.lock_sessions import LockSessions
from ferry_core.cutover.mutex import CutoverMutex
from ferry_core.cutover.source_lock import LOCK_KIND, Check, Released
from ferry_core.cutover.stand_in import unlock
from ferry_core.cutover.write_block import WriteBlock
from ferry_core.errors import DataError, FerryError, RetriableError
from ferry_core.http_post import PostFailed, post, without_secrets
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

log = logging.getLogger(__name__)

WEBHOOK = "Webhook"
_ID, _URL, _SECRET, _KEY = "lockId", "unlockUrl", "unlockSecret", "unlockSecretKey"
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class WebhookCalls:
    """How to call. ``unlock`` is None in a manifest that has no webhooks (any more)."""

    lock: Webhook | None
    unlock: Webhook | None
    ferry: Mapping[str, str]
    """Who calls: namespace, name, uid."""
    token: Callable[[TokenRef], str]
    """Reads the Secret again at each call."""

    def send(
        self, hook: Webhook, body: Mapping[str, object], seconds: float, check: Check = bool, *, insists: bool = False
    ) -> None:
        """Raises RetriableError WebhookFailed once all retries have failed. ``insists``: repeat a refused call too."""
        action = body["action"]
        headers = {"Idempotency-Key": f"{body[_ID]}-{action}", "User-Agent": "mysql-ferry"}
        end = time.monotonic() + seconds
        raw = json.dumps({"apiVersion": "mysqlferry.io/v1alpha1", **body, "ferry": dict(self.ferry)}).encode()

        def once() -> None:
            left = end - time.monotonic()
            if left <= 0:
                raise PostFailed("no time is left", may_pass=False)
            authorized = headers | self._authorization(hook)
            post(hook.url, raw, authorized, min(float(hook.timeout), left))

        def pause(wait: float) -> None:
            until = time.monotonic() + wait
            while time.monotonic() < until:
                check()
                threading.Event().wait(_PAUSE_SECONDS)

        retrying = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, PostFailed) and (insists or error.may_pass)),
            stop=stop_after_attempt(hook.retries + 1),
            wait=wait_exponential_jitter(multiplier=0.2, max=2.0, jitter=0.1),
            sleep=pause,
            reraise=True,
        )
        try:
            retrying(once)
        except PostFailed as error:
            tried = retrying.statistics.get("attempt_number", 1)
            often = f" (tried {tried} times)" if tried > 1 else ""
            raise RetriableError(
                Reason.WEBHOOK_FAILED,
                f"cutover.webhooks.{action} ({without_secrets(hook.url)}): {error.message}{often}",
            ) from error

    def _authorization(self, hook: Webhook) -> dict[str, str]:
        if hook.token_secret_ref is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self.token(hook.token_secret_ref)}"}
        except FerryError as error:
            raise RetriableError(Reason.WEBHOOK_FAILED, error.message) from error


class WebhookLock:
    """A ``SourceLock``. ``login`` opens the session that holds the cutover mutex; ``owner`` is the Ferry's uid."""

    outlives_run = True
    lost = False

    def __init__(self, login: Callable[[], Endpoint], calls: WebhookCalls, owner: str) -> None:
        self.block = WriteBlock()
        self.caution = ""
        self._sessions = LockSessions(login, owner)
        self._calls = calls
        self._mutex = CutoverMutex(self._sessions.open, self._sessions.turn)
        self._stored: Mapping[str, str] = {}
        self._sent = self._locked = False

    def begin(self, seconds: float, check_cancelled: Check = bool) -> None:
        self._end_older_run()
        if not self._mutex.acquire(seconds, check_cancelled):
            raise RetriableError(
                Reason.SOURCE_LOCK_BUSY, f"{self._sessions.where}: another Ferry is cutting over from this source"
            )

    def _end_older_run(self) -> None:
        """It notices that before it records a cutover."""
        with self._sessions.open() as session:
            self._sessions.end_left(session, (self._mutex.connection_id,), (self._mutex.holder(session),))

    def keep(self, seconds: float) -> None:
        self._mutex.keep(seconds)

    def stop_keeping(self) -> list[str]:
        return []

    def end(self) -> None:
        self._mutex.release()

    def intent(self, seconds: float) -> dict[str, str]:  # noqa: ARG002 - the protocol's
        unlock = self._calls.unlock
        assert unlock is not None, "validated"
        ref = unlock.token_secret_ref
        token = {} if ref is None else {_SECRET: ref.name, _KEY: ref.key}
        self._stored = {LOCK_KIND: WEBHOOK, _ID: uuid.uuid4().hex, _URL: unlock.url} | token
        return dict(self._stored)

    def acquire(self, deadline_seconds: float, confirm: Check = bool, check_cancelled: Check = bool) -> None:
        """On failure the attempt calls ``unlock``, because the call may have been successful."""
        assert self._calls.lock is not None, "validated"
        self._sent = True  # before the last checks: whoever gives up meanwhile calls unlock, so a later lock is ignored
        try:
            confirm()
            self._mutex.ping()
        except BaseException:
            self._sent = False
            raise
        self.block.begins()
        body = self._body("lock", self._stored) | {"deadlineSeconds": round(deadline_seconds, 1)}
        self._calls.send(self._calls.lock, body, deadline_seconds, check_cancelled)
        self._locked = True

    def held(self) -> bool:
        return self._locked and self._mutex.held()

    def open_xa_writers(self, session: Session) -> list[str]:  # noqa: ARG002 - the protocol's
        return []

    def unlock(self) -> None:
        if self._sent:
            # Asked only. A successor ends the session of the mutex before it calls anything; if it does so after this
            # answer, the call changes nothing: it names our lockId. So nobody has to find the session that asked.
            unlock(self._mutex, lambda session: session.query("SELECT 1"), self._sessions.open)
            self._allow(self._stored)
        self.block.ends()

    def release(self, stored: Mapping[str, str]) -> Released:
        self._end_older_run()
        self._allow(stored)
        self.block.ends()
        return Released.ALLOWED

    def _allow(self, stored: Mapping[str, str]) -> None:
        hook = self._recorded(stored)
        seconds = (float(hook.timeout) + 2.0) * (hook.retries + 1)
        self._calls.send(hook, self._body("unlock", stored), seconds, insists=True)
        self._sent = self._locked = False
        log.warning("%s: writes are allowed again by cutover.webhooks.unlock", self._sessions.where)

    def _recorded(self, stored: Mapping[str, str]) -> Webhook:
        """The manifest may have another address by now, which knows nothing of this lock and must not see the token."""
        unlock = self._calls.unlock
        if unlock is not None and unlock.url == stored.get(_URL):
            return unlock
        try:
            ref = TokenRef(name=stored[_SECRET], key=stored[_KEY]) if _SECRET in stored else None
            return Webhook(url=stored[_URL], token_secret_ref=ref)
        except (KeyError, ValidationError) as error:
            raise DataError(
                Reason.SOURCE_LOCK_FAILED, f"{self._sessions.where}: the record of the attempt has no usable {_URL}"
            ) from error

    def _body(self, action: str, stored: Mapping[str, str]) -> dict[str, object]:
        source = self._sessions.endpoint
        if not stored.get(_ID):
            raise DataError(Reason.SOURCE_LOCK_FAILED, f"{source.where}: the record of the attempt has no {_ID}")
        place = {"socket": source.socket} if source.socket else {"host": source.host, "port": source.port}
        return {"action": action, _ID: stored[_ID], "source": place}

    def by_hand(self, stored: Mapping[str, str]) -> str:
        unlock = self._calls.unlock
        url = stored.get(_URL) or (unlock.url if unlock is not None else "")
        at = f" ({without_secrets(url)})" if url else ""
        which = f" for lockId {stored[_ID]}" if _ID in stored else ""
        return f"{self._sessions.where}: do what the webhook cutover.webhooks.unlock{at} does{which}"
