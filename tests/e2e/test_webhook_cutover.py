"""Whole cutovers whose writes are stopped by a user's HTTP server: failures of it, kills, and a changed manifest."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hack.servers import Family
from tests.support.ferry_under_load import FerryUnderLoad, condition, failed_attempt
from tests.support.hooks import LOST, HookServer, Received
from tests.support.servers import Pair
from tests.support.waits import PATIENCE_SECONDS, wait_until


class Gate:
    """What a user's server does: it stops and allows writes, and compares the lockId."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.current = ""
        self.undone: set[str] = set()

    def work(self, received: Received) -> None:
        ident = received.body["lockId"]
        if received.body["action"] == "lock" and ident not in self.undone:
            self.current = ident
            self._set("ON")
        if received.body["action"] == "unlock":
            self.undone.add(ident)
            if ident == self.current:
                self._set("OFF")

    def _set(self, value: str) -> None:
        strict = self.pair.family is Family.MYSQL and value == "ON"
        self.pair.source.execute(f"SET GLOBAL {'super_' if strict else ''}read_only = {value}")


@pytest.fixture(name="gate")
def _gate(pair: Pair) -> Iterator[HookServer]:
    with HookServer(Gate(pair).work) as server:
        yield server
    pair.source.execute("SET GLOBAL read_only = OFF")


def cutover(gate: HookServer, **fields: Any) -> dict[str, Any]:
    hook = {"timeout": "20s", "tokenSecretRef": {"name": "gate"}}
    urls = {"lock": gate.url("/lock"), "unlock": gate.url("/unlock")}
    return {"sourceLock": "Webhook", "webhooks": {name: {"url": url} | hook for name, url in urls.items()}} | fields


@contextlib.contextmanager
def loaded(pair: Pair, schema: str, folder: Path, gate: HookServer, **fields: Any) -> Iterator[FerryUnderLoad]:
    token = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "gate"}, "stringData": {"token": "t0k"}}
    with FerryUnderLoad(pair, schema, folder, odd=3, cutover=cutover(gate, **fields)) as under_load:
        under_load.ferry.edit(lambda documents: documents.append(token))
        yield under_load


@pytest.mark.parametrize("answers", [[], [503, 503], [LOST]], ids=["at once", "after 503", "answer lost"])
def test_a_cutover_under_writers(pair: Pair, schema: str, tmp_path: Path, gate: HookServer, answers: list[int]) -> None:
    gate.answers["/lock"] = list(answers)
    with loaded(pair, schema, tmp_path, gate) as under_load, under_load.writers() as writers:
        under_load.ferry.start()
        under_load.finish(writers=writers)
        assert under_load.locked, "it stays locked"
    assert len(gate.at("/lock")) == len(answers) + 1
    assert gate.at("/unlock") == []
    assert gate.at("/lock")[0].headers["Authorization"] == "Bearer t0k"


def test_a_lock_that_fails_lets_writes_go_on(pair: Pair, schema: str, tmp_path: Path, gate: HookServer) -> None:
    gate.answers["/lock"] = [LOST] * 4
    with loaded(pair, schema, tmp_path, gate) as under_load:
        under_load.approve()
        status = failed_attempt(under_load.ferry, "WebhookFailed")
        assert "tried 4 times" in condition(status, "CutOver")["message"]
        (unlocked,) = gate.wait_for("/unlock")
        assert unlocked.body["lockId"] == gate.at("/lock")[0].body["lockId"]
        under_load.finish(approve=False)
    idents = [one.body["lockId"] for one in gate.at("/lock")]
    assert len(set(idents)) == 2, "another attempt has another lock"


@pytest.mark.parametrize("moment", ["lock call", "drain"])
def test_a_copier_killed_under_writers(pair: Pair, schema: str, tmp_path: Path, moment: str) -> None:
    """Before the answer to its call, which has stopped writes; or while the last change cannot reach the target."""
    door, killed = Gate(pair), threading.Event()

    def work(received: Received) -> None:
        if received.body["action"] == "lock" and not killed.is_set():
            pair.source.execute(f"UPDATE `{schema}`.aim SET v = v + 1 WHERE id = 1")
        door.work(received)
        if received.body["action"] == "lock" and moment == "lock call":
            killed.wait(PATIENCE_SECONDS)

    with HookServer(work) as gate, loaded(pair, schema, tmp_path, gate) as under_load, under_load.writers() as writers:
        ferry = under_load.ferry.start()
        ferry.wait_stage("ReadyForCutover")
        with contextlib.closing(under_load.block_row()):
            ferry.post("cutover")
            wait_until(lambda: under_load.locked, "writes are stopped")
            if moment == "drain":
                ferry.wait_status(lambda status: "writes on the source are stopped" in status["message"])
            ferry.kill()
            killed.set()
        ferry.start().wait_stage("Streaming", "ReadyForCutover")
        unlocked, locked = gate.wait_for("/unlock")[0], gate.at("/lock")[0]
        assert unlocked.body["lockId"] == locked.body["lockId"]
        assert not any(under_load.read_only())
        writers.plain.wait_for(20)
        under_load.finish(writers=writers)
    pair.source.execute("SET GLOBAL read_only = OFF")


@pytest.mark.slow
@pytest.mark.parametrize("changed", [False, True], ids=["same manifest", "another sourceLock"])
def test_the_next_start_calls_unlock_for_a_killed_attempt(
    pair: Pair, schema: str, tmp_path: Path, gate: HookServer, changed: bool
) -> None:
    with loaded(pair, schema, tmp_path, gate) as under_load:
        under_load.hold_record()
        assert under_load.locked
        phase, _, stored = under_load.lease()
        assert (phase, stored["lock"]) == ("CuttingOver", "Webhook")
        under_load.ferry.kill()
        under_load.proxy.cut()
        if changed:
            under_load.ferry.edit(
                lambda documents: documents[0]["spec"]["cutover"].update(sourceLock="ReadOnly", webhooks=None)
            )
        under_load.ferry.start().wait_stage("Streaming", "ReadyForCutover")
        (unlocked,) = gate.at("/unlock")
        assert unlocked.body["lockId"] == stored["lockId"] == gate.at("/lock")[0].body["lockId"]
        assert not any(under_load.read_only())
        under_load.finish()


@pytest.mark.slow
@pytest.mark.parametrize("landed", [True, False])
def test_a_copier_killed_before_the_answer_to_its_last_commit(
    pair: Pair, schema: str, tmp_path: Path, gate: HookServer, landed: bool
) -> None:
    """Only the target knows whether it is cut over, and the next start asks it."""
    with loaded(pair, schema, tmp_path, gate) as under_load:
        under_load.hold_commit()
        under_load.kill_before_answer()
        if landed:
            under_load.proxy.release()
            wait_until(lambda: under_load.phase() == "Completed", "it is recorded")
            under_load.ferry.start().succeed()
            assert gate.at("/unlock") == []
            assert under_load.locked
            under_load.equal()
        else:
            under_load.proxy.cut()
            under_load.ferry.start().wait_stage("Streaming", "ReadyForCutover")
            (unlocked,) = gate.at("/unlock")
            assert unlocked.body["lockId"] == gate.at("/lock")[0].body["lockId"]
            assert not any(under_load.read_only())
            under_load.finish()


@pytest.mark.slow
def test_abort_without_a_copier_calls_unlock(pair: Pair, schema: str, tmp_path: Path, gate: HookServer) -> None:
    with loaded(pair, schema, tmp_path, gate) as under_load:
        under_load.hold_record()
        under_load.ferry.kill()
        under_load.proxy.cut()
        done = under_load.ferry.command("abort")
        assert (done.code, "allowed again" in done.stdout) == (0, True)
        assert not any(under_load.read_only())
        assert under_load.phase() == "Aborted"


def test_a_write_in_spite_of_the_lock_is_reported(pair: Pair, schema: str, tmp_path: Path) -> None:
    """The call has stopped nothing: a write after the cutover must not go unnoticed."""
    with HookServer() as gate, loaded(pair, schema, tmp_path, gate, watchFor="60s") as under_load:
        ferry = under_load.approve()
        wait_until(lambda: "watching the source for late writes" in ferry.tail(), "the watch")
        pair.source.execute(f"UPDATE `{schema}`.aim SET v = 1000 WHERE id = 1")
        status = ferry.wait_status(lambda status: condition(status, "Stalled")["status"] == "True")
        assert condition(status, "Stalled")["reason"] == "SourceWrittenAfterCutover"
