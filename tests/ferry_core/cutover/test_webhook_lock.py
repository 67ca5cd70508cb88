"""Calls that stop and allow writes, to a real HTTP server; the mutex is on a real source."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ferry_core.api.cutover import TokenRef, Webhook
from ferry_core.cutover.mutex import CutoverMutexLost
from ferry_core.cutover.outcome import AttemptFailed
from ferry_core.cutover.source_lock import Released
from ferry_core.cutover.webhook_lock import WebhookCalls, WebhookLock
from ferry_core.errors import ConfigError, DataError, RetriableError
from ferry_core.reasons import Reason
from tests.support.cutover_in_process import through
from tests.support.hooks import HANG, LOST, HookServer
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waits import Background, wait_until

FERRY = {"namespace": "shop", "name": "orders", "uid": "uid-1"}
MakeLock = Callable[..., WebhookLock]


@pytest.fixture
def hooks() -> Iterator[HookServer]:
    with HookServer() as server:
        yield server


@pytest.fixture
def make_lock(server: Server, hooks: HookServer) -> Iterator[MakeLock]:
    made: list[WebhookLock] = []

    def make(token: Callable[[TokenRef], str] = lambda ref: f"token of {ref.name}", **fields: Any) -> WebhookLock:
        lock, unlock = (
            Webhook.model_validate({"url": hooks.url(path), "timeout": "10s", "retries": 2} | fields)
            for path in ("/lock", "/unlock")
        )
        made.append(WebhookLock(server.endpoint, WebhookCalls(lock, unlock, FERRY, token), "uid-1"))
        return made[-1]

    yield make
    for each in made:
        each.end()


def attempt(lock: WebhookLock, seconds: float = 30, check: Callable[[], object] = bool) -> dict[str, str]:
    lock.begin(seconds)
    intent = lock.intent(seconds)
    lock.acquire(seconds, check_cancelled=check)
    return intent


def test_what_is_sent(make_lock: MakeLock, hooks: HookServer, server: Server) -> None:
    lock = make_lock(tokenSecretRef={"name": "gate"})
    intent = attempt(lock)
    assert lock.held()
    assert lock.block.milliseconds >= 0
    lock.unlock()
    lock.unlock()
    assert not lock.held()
    locked, unlocked = hooks.received
    ident = intent["lockId"]
    source = {"host": server.host, "port": server.port}
    same = {"apiVersion": "mysqlferry.io/v1alpha1", "lockId": ident, "ferry": FERRY, "source": source}
    assert locked.body == same | {"action": "lock", "deadlineSeconds": 30}
    assert unlocked.body == same | {"action": "unlock"}
    assert [one.headers["Idempotency-Key"] for one in (locked, unlocked)] == [f"{ident}-lock", f"{ident}-unlock"]
    assert {one.headers["Authorization"] for one in (locked, unlocked)} == {"Bearer token of gate"}


def test_without_a_token_none_is_sent(make_lock: MakeLock, hooks: HookServer) -> None:
    attempt(make_lock())
    assert "Authorization" not in hooks.received[0].headers


@pytest.mark.parametrize("answers", [[503, 503], [500, 429], [LOST, LOST], [LOST, 503]])
def test_a_call_is_repeated_with_the_same_key(make_lock: MakeLock, hooks: HookServer, answers: list[int]) -> None:
    hooks.answers["/lock"] = list(answers)
    hooks.answers["/unlock"] = list(answers)
    lock = make_lock()
    intent = attempt(lock)
    lock.unlock()
    for path, action in (("/lock", "lock"), ("/unlock", "unlock")):
        sent = hooks.at(path)
        assert len(sent) == 3
        assert {one.headers["Idempotency-Key"] for one in sent} == {f"{intent['lockId']}-{action}"}
        assert len({one.raw for one in sent}) == 1 or action == "lock"


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([503] * 3, "HTTP 503: told to say 503 (tried 3 times)"),
        ([409], "HTTP 409: told to say 409"),
        ([LOST] * 3, "(tried 3 times)"),
    ],
)
def test_a_lock_that_fails_is_undone_because_it_may_have_been_taken(
    make_lock: MakeLock, hooks: HookServer, answers: list[int], said: str
) -> None:
    hooks.answers["/lock"] = list(answers)
    lock = make_lock()
    with pytest.raises(RetriableError) as caught:
        attempt(lock)
    assert caught.value.reason == "WebhookFailed"
    assert said in caught.value.message
    assert not lock.held()
    assert len(hooks.at("/lock")) == len(answers)
    lock.unlock()
    assert len(hooks.at("/unlock")) == 1


def test_an_attempt_that_sent_nothing_undoes_nothing(make_lock: MakeLock, hooks: HookServer) -> None:
    lock = make_lock()
    lock.begin(30)
    lock.intent(30)

    def refuse() -> None:
        raise AttemptFailed(Reason.DEADLINE_EXCEEDED, "given up")

    with pytest.raises(AttemptFailed):
        lock.acquire(30, confirm=refuse)
    lock.unlock()
    assert hooks.received == []


def test_an_attempt_can_be_given_up_between_two_calls(make_lock: MakeLock, hooks: HookServer) -> None:
    hooks.answers["/lock"] = [503] * 9

    def given_up() -> None:
        raise AttemptFailed(Reason.DEADLINE_EXCEEDED, "given up")

    with pytest.raises(AttemptFailed, match="given up"):
        attempt(make_lock(retries=8), check=given_up)
    assert len(hooks.at("/lock")) == 1


def test_a_call_without_an_answer_ends_with_its_timeout(make_lock: MakeLock, hooks: HookServer) -> None:
    hooks.answers["/lock"] = [HANG]
    attempt(make_lock(timeout="300ms"))
    assert len(hooks.at("/lock")) == 2


def test_an_unlock_that_is_refused_is_repeated(make_lock: MakeLock, hooks: HookServer) -> None:
    """Nobody else allows writes again."""
    hooks.answers["/unlock"] = [404, 401]
    lock = make_lock()
    attempt(lock)
    lock.unlock()
    assert len(hooks.at("/unlock")) == 3


def test_a_later_run_undoes_the_recorded_lock(make_lock: MakeLock, hooks: HookServer) -> None:
    intent = attempt(make_lock())
    later = make_lock()
    assert later.release(intent) is Released.ALLOWED
    assert hooks.at("/unlock")[0].body["lockId"] == intent["lockId"]
    which = f"cutover.webhooks.unlock ({hooks.url('')})"
    assert later.by_hand(intent).endswith(f": do what the webhook {which} does for lockId {intent['lockId']}")


def test_a_manifest_without_webhooks_undoes_it_at_the_recorded_address(
    make_lock: MakeLock, hooks: HookServer, server: Server
) -> None:
    intent = attempt(make_lock())
    later = WebhookLock(server.endpoint, WebhookCalls(None, None, FERRY, lambda _: ""), "uid-1")
    assert later.release(intent) is Released.ALLOWED
    assert hooks.at("/unlock")[0].body["lockId"] == intent["lockId"]


def test_a_run_that_lost_the_mutex_calls_nothing(make_lock: MakeLock, hooks: HookServer) -> None:
    """A successor has ended its session, and perhaps locked the source for itself."""
    old, successor = make_lock(), make_lock()
    attempt(old)
    successor.begin(30)
    assert not old.held()
    with pytest.raises(CutoverMutexLost):
        old.unlock()
    assert hooks.at("/unlock") == []


@pytest.mark.parametrize("asked", [False, True], ids=["idle", "while another thread asks it"])
def test_a_session_without_an_answer_keeps_no_writes_stopped(hooks: HookServer, server: Server, asked: bool) -> None:
    """Nor does the target, which may hang: a second session learns that the source still has the mutex."""
    calls = WebhookCalls(Webhook(url=hooks.url("/lock")), Webhook(url=hooks.url("/unlock")), FERRY, lambda _: "")
    with Proxy(server.host, server.port) as proxy:
        lock = WebhookLock(lambda: through(proxy, server), calls, "uid-1")
        intent = attempt(lock)
        proxy.hold(b"IS_USED_LOCK" if asked else b"SELECT 1")
        asking = Background(lock.held if asked else bool)
        if asked:
            proxy.wait_held()
        Background(lock.unlock).join(60)
        proxy.wait_held()
        lock.end()
        asking.join()
    assert [one.body["lockId"] for one in hooks.at("/unlock")] == [intent["lockId"]]


def test_two_ferries_take_turns(make_lock: MakeLock, hooks: HookServer, server: Server) -> None:
    attempt(make_lock())
    calls = WebhookCalls(Webhook(url=hooks.url("/lock")), Webhook(url=hooks.url("/unlock")), FERRY, lambda _: "")
    other = WebhookLock(server.endpoint, calls, "uid-2")
    with pytest.raises(RetriableError) as caught:
        other.begin(0.3)
    assert caught.value.reason == "SourceLockBusy"


def test_a_secret_that_is_gone_fails_the_attempt_only(make_lock: MakeLock, hooks: HookServer) -> None:
    def gone(_: TokenRef) -> str:
        raise ConfigError(Reason.SECRET_NOT_FOUND, "Secret gate does not exist")

    with pytest.raises(RetriableError, match="Secret gate"):
        attempt(make_lock(gone, tokenSecretRef={"name": "gate"}))
    assert hooks.received == []


def test_a_lock_call_that_hangs_can_be_abandoned(make_lock: MakeLock, hooks: HookServer) -> None:
    hooks.answers["/lock"] = [HANG]
    lock = make_lock(timeout="1m", retries=0)
    attempting = Background(lambda: attempt(lock, 600))
    wait_until(lambda: bool(hooks.at("/lock")), "the call")
    lock.unlock()
    assert len(hooks.at("/unlock")) == 1
    assert attempting.running


def test_a_changed_address_does_not_get_the_recorded_unlock(
    make_lock: MakeLock, hooks: HookServer, server: Server
) -> None:
    """It would answer 2xx for a lock that it does not know, and the real one would stay."""
    intent = attempt(make_lock(tokenSecretRef={"name": "gate"}))
    elsewhere = Webhook.model_validate({"url": hooks.url("/other"), "tokenSecretRef": {"name": "other"}})
    later = WebhookLock(server.endpoint, WebhookCalls(None, elsewhere, FERRY, lambda ref: f"of {ref.name}"), "uid-1")
    assert later.release(intent) is Released.ALLOWED
    assert hooks.at("/other") == []
    (sent,) = hooks.at("/unlock")
    assert sent.headers["Authorization"] == "Bearer of gate"


@pytest.mark.parametrize("wrong", [{"unlockUrl": "nowhere"}, {"unlockUrl": ""}, {"lockId": ""}])
def test_a_record_that_cannot_be_used_is_an_error_that_says_so(make_lock: MakeLock, wrong: dict[str, str]) -> None:
    lock = make_lock()
    lock.begin(30)
    with pytest.raises(DataError, match="record of the attempt"):
        lock.release(lock.intent(30) | wrong)


def test_an_attempt_given_up_right_before_the_call_is_undone(make_lock: MakeLock, hooks: HookServer) -> None:
    """The lock that still goes out then is ignored: its lockId was unlocked before."""
    lock = make_lock()
    lock.begin(30)
    intent = lock.intent(30)
    lock.acquire(30, confirm=lock.unlock)
    assert [one.body["action"] for one in hooks.received] == ["unlock", "lock"]
    assert {one.body["lockId"] for one in hooks.received} == {intent["lockId"]}


def test_a_release_ends_the_older_run(make_lock: MakeLock) -> None:
    """It must not record the cutover after writes are allowed again."""
    old = make_lock()
    intent = attempt(old)
    assert make_lock().release(intent) is Released.ALLOWED
    assert not old.held()
