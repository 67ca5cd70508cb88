"""Server-sent events, the history, run-time settings, and what is wanted of a run, over real HTTP."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ferry_core.api.control import History, Sample, Settings
from ferry_core.api.report import Stage, TableReport
from ferry_core.api.safety_override import SafetyOverride
from ferry_core.api.spec import Throttle
from ferry_core.control import live
from ferry_core.control.listen import Address
from ferry_core.control.managed import Managed
from ferry_core.control.server import ControlServer
from ferry_core.reasons import Condition, Reason
from ferry_core.report.recent import MOST_EVENTS
from ferry_core.report.samples import MOST_SAMPLES, Samples
from tests.support.control import TOKEN, Run, ask, client, refused, serving
from tests.support.tables import moves_of, simple_table
from tests.support.waits import PATIENCE_SECONDS, wait_until


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    kind = ""
    async for line in answer.content:
        name, _, text = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            kind = text
        elif name == "data":
            yield kind, json.loads(text)


async def until(found: AsyncIterator[tuple[str, dict[str, Any]]], kind: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for name, data in found:
            if name == kind:
                return data
    raise AssertionError(f"the stream ended without {kind}")


def test_a_stream_begins_with_everything_and_goes_on_with_changes(server: ControlServer, run: Run) -> None:
    tables = [simple_table(f"t{number}") for number in range(3)]
    run.progress.begin(moves := moves_of(tables))

    async def follow() -> None:
        async with client(server) as session, session.get("/api/v1/events") as answer:
            assert answer.content_type == "text/event-stream"
            found = events(answer)
            assert (await until(found, "run"))["name"] == "shop/orders"
            assert (await until(found, "status"))["stage"] == "Copying"
            assert len((await until(found, "tables"))["changed"]) == 3
            run.progress.set_pending({moves[1]: 7})
            changed = await until(found, "tables")
            assert [(table["name"], table["pendingKeys"]) for table in changed["changed"]] == [("shop.t1", 7)]
            run.progress.begin(moves[:2])
            assert await until(found, "tables") == {"changed": [], "gone": ["shop.t2"]}
            run.wanted = run.wanted.model_copy(update={"paused": True})
            assert (await until(found, "run"))["paused"] is True

    asyncio.run(follow())


def test_streams_are_limited_and_end_with_the_server(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_STREAMS", 1)

    async def follow() -> None:
        with serving(run) as server:
            async with client(server) as session, session.get("/api/v1/events") as first:
                await until(events(first), "status")
                async with session.get("/api/v1/events") as second:
                    assert (second.status, (await second.json())["reason"]) == (429, "TooManyStreams")
                await asyncio.to_thread(server.stop)
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await first.read()

    asyncio.run(follow())


def test_all_streams_share_one_reader(server: ControlServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading 5,000 tables keeps the copy waiting for 50 ms: ten pages must not take half of each second."""
    (move,) = run.progress._moves
    calls, tables = [], run.progress.tables

    def counted() -> list[TableReport]:
        calls.append(1)
        return tables()

    monkeypatch.setattr(run.progress, "tables", counted)

    async def follow() -> None:
        async with client(server) as session, contextlib.AsyncExitStack() as answers:
            streams = []
            for _ in range(10):
                answer = await answers.enter_async_context(session.get("/api/v1/events"))
                streams.append(events(answer))
            for stream in streams:
                await until(stream, "tables")
            before = len(calls)
            run.progress.set_pending({move: 7})
            for stream in streams:
                assert (await until(stream, "tables"))["changed"][0]["pendingKeys"] == 7
            assert len(calls) - before <= 2

    asyncio.run(follow())


def test_a_stream_after_all_others_have_ended_shows_the_present(server: ControlServer, run: Run) -> None:
    async def seen(stage: str) -> None:
        async with client(server) as session, session.get("/api/v1/events") as answer:
            found = events(answer)
            while (await until(found, "status"))["stage"] != stage:
                pass

    for stage in (Stage.COPYING, Stage.STREAMING, Stage.COPYING):
        run.progress.set_stage(stage)
        asyncio.run(seen(stage.value))


def test_a_client_that_does_not_read_is_dropped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "IDLE_SECONDS", 0.5)
    monkeypatch.setattr(live, "MOST_STREAMS", 1)
    moves = moves_of([simple_table(f"t{number:04}") for number in range(5000)])
    run.progress.begin(moves)
    status: list[int] = []

    def open_again() -> bool:
        status.append(asyncio.run(opened()))
        run.progress.set_pending(dict.fromkeys(moves, len(status)))
        run.progress.set_message(f"news {len(status)}")
        return status[-1] == 200

    with serving(run) as server:

        async def opened() -> int:
            async with client(server) as session, session.get("/api/v1/events") as answer:
                return answer.status

        assert isinstance(server.address, Address)
        with socket.socket() as silent:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            silent.connect((server.address.host, server.address.port))
            silent.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert silent.recv(1) == b"H"
            wait_until(open_again, "its place is free")
    assert status[0] == 429


def test_settings_are_replaced_as_a_whole(server: ControlServer, run: Run) -> None:
    assert Settings.model_validate(ask(server, "GET", "/api/v1/settings")[1]).copy_.workers == 4
    body = {
        "copy": {"workers": 2, "chunkTargetDuration": "1s", "chunkTargetBytes": "1Mi"},
        "throttle": {"maxRowsPerSecond": 9},
    }
    status, answer = ask(server, "PUT", "/api/v1/settings", json=body)
    assert (status, answer["copy"], answer["throttle"]["maxRowsPerSecond"]) == (200, body["copy"], 9)
    assert run.asked == [Settings.model_validate(body)]
    assert ask(server, "GET", "/api/v1/settings") == (200, answer)


@pytest.mark.parametrize(
    ("body", "status", "reason", "said"),
    [
        ({}, 400, "InvalidField", "copy"),
        ({"copy": {}}, 400, "InvalidField", "throttle"),
        ({"copy": {"workers": 0}, "throttle": {}}, 400, "InvalidField", "workers"),
        ({"copy": {}, "throttle": {}, "more": 1}, 400, "InvalidField", "more"),
        ({"copy": {}, "throttle": {"activeHours": "20:00-06:00 Nowhere"}}, 400, "InvalidField", "Nowhere"),
    ],
)
def test_settings_that_cannot_be_applied_change_nothing(
    server: ControlServer, run: Run, body: object, status: int, reason: str, said: str
) -> None:
    assert said in refused(ask(server, "PUT", "/api/v1/settings", json=body), status, reason)
    assert run.asked == []


def test_sql_for_the_source_needs_a_token(run: Run, tmp_path: Path) -> None:
    """Everybody with a login on the machine reaches 127.0.0.1; the source's account is not theirs."""
    settings = {"copy": {}, "throttle": {"query": "SELECT 1"}}
    bodies = {"settings": settings, "directive": {"generation": 2, **settings}}
    with serving(run) as server:
        for path, body in bodies.items():
            said = refused(ask(server, "PUT", f"/api/v1/{path}", json=body), 422, "TokenRequired")
            assert "--token-file" in said
        assert [each for each in run.asked if not isinstance(each, SafetyOverride)] == []
        known = Settings.model_validate(settings).throttle  # the manifest's may stay
        run.wanted = run.wanted.model_copy(update={"throttle": known})
        assert ask(server, "PUT", "/api/v1/settings", json=settings)[0] == 200
        run.wanted = run.wanted.model_copy(update={"throttle": Throttle()})
    with serving(run, token=TOKEN) as server:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        for path, body in bodies.items():
            run.wanted = run.wanted.model_copy(update={"throttle": Throttle()})
            assert ask(server, "PUT", f"/api/v1/{path}", json=body, headers=headers)[0] == 200
    run.wanted = run.wanted.model_copy(update={"throttle": Throttle()})

    async def over_socket() -> int:
        connector = aiohttp.UnixConnector(str(tmp_path / "s"))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.put("http://localhost/api/v1/settings", json=settings) as answer,
        ):
            return answer.status

    with serving(run, f"unix:{tmp_path / 's'}"):
        assert asyncio.run(over_socket()) == 200


def test_under_an_operator_settings_name_the_patch(run: Run) -> None:
    with serving(run, managed=Managed("shop", "orders")) as server:
        body = {"copy": {"workers": 2}, "throttle": {}}
        answer = ask(server, "PUT", "/api/v1/settings", json=body)
        refused(answer, 409, "ManagedByOperator")
        assert answer[1]["command"].startswith("kubectl patch ferry orders -n shop")
        assert '"workers":2' in answer[1]["command"]
        assert ask(server, "GET", "/api/v1/run")[1]["managed"] is True
    assert run.asked == []


def test_the_history_has_recent_events_in_order(server: ControlServer, run: Run) -> None:
    for lag in range(3):  # a message with another number is no event
        run.progress.set_condition(Condition.CAUGHT_UP, False, Reason.LAG_ABOVE_THRESHOLD, f"lag {lag} s")
    run.progress.set_stage(Stage.STREAMING)
    run.progress.attempt_begins(1)
    history = History.model_validate_json(json.dumps(ask(server, "GET", "/api/v1/history")[1]))
    assert [(event.type, event.status, event.reason) for event in history.events] == [
        ("Stage", "Copying", ""),
        ("CaughtUp", "False", "LagAboveThreshold"),
        ("Stage", "Streaming", ""),
        ("CutoverAttempt", "1", ""),
    ]
    for number in range(2 * MOST_EVENTS):
        run.progress.attempt_begins(number)
    assert len(run.progress.events()) == MOST_EVENTS


def test_samples_cover_the_whole_run_in_bounded_memory(run: Run) -> None:
    (move,) = run.progress._moves
    clock = iter(range(0, 10**6, 5))
    samples = Samples(run.progress, lambda: float(next(clock)))
    for number in range(3 * MOST_SAMPLES):
        run.progress.set_pending({move: 10_000 if number == 7 else 1})
        samples.take()
    kept = samples.all()
    assert MOST_SAMPLES // 2 <= len(kept) < MOST_SAMPLES
    assert kept[0].time.timestamp() <= 20
    assert kept[-1].time.timestamp() >= 5 * (3 * MOST_SAMPLES - 4)
    assert max(sample.pending_keys for sample in kept) == 10_000
    assert all(sample.write_seconds is None and sample.lag_seconds is None for sample in kept)
    assert {type(sample) for sample in kept} == {Sample}
