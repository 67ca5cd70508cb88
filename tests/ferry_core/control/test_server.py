"""The ControlServer over real HTTP."""

import asyncio
import concurrent.futures
import io
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ferry_core.api.directive import Directive
from ferry_core.api.report import Report, Stage, TableReport
from ferry_core.control.managed import Managed
from ferry_core.control.server import ControlServer
from ferry_core.errors import ConfigError, DataError
from ferry_core.report.progress import ALIVE_SECONDS, Progress
from ferry_core.tables.table import Column, Key, Table, TableName

TOKEN = "s3cret-ü"
COLUMN = Column("id", 0, "int", "int", None, None, nullable=False, generated=False, invisible=False, max_bytes=4)
TABLE = Table(
    TableName("shop", "<b>orders</b>"),
    TableName("shop", "orders"),
    (COLUMN,),
    Key("PRIMARY", (COLUMN,)),
    None,
    secondary_unique=False,
    byte_equal_key=True,
    rows_estimated=100,
    average_row_bytes=10,
)


class Run:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.progress.begin([TABLE])
        self.progress.set_stage(Stage.COPYING)
        self.asked: list[object] = []
        self.threads: set[str] = set()
        self.refuse_with: Exception | None = None
        self.block: threading.Event | None = None

    def _ask(self, what: object) -> None:
        self.threads.add(threading.current_thread().name)
        if self.block is not None:
            self.block.wait(30)
        if self.refuse_with is not None:
            raise self.refuse_with
        self.asked.append(what)

    def pause(self) -> None:
        self._ask("pause")

    def resume(self) -> None:
        self._ask("resume")

    def set_throttle(self, max_rows_per_second: int | None) -> None:
        self._ask(("throttle", max_rows_per_second))

    def cutover(self) -> None:
        self._ask("cutover")

    def abort(self) -> None:
        self._ask("abort")

    def stop(self) -> None:
        self._ask("stop")

    def directive(self, directive: Directive) -> None:
        self._ask(directive)
        self.progress.acknowledge(directive.generation)


@contextmanager
def serving(run: Run, listen: str = "127.0.0.1:0", **options: Any) -> Iterator[ControlServer]:
    server = ControlServer(run, listen, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        assert not server._thread.is_alive()


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.fixture
def server(run: Run) -> Iterator[ControlServer]:
    with serving(run) as server:
        yield server


@asynccontextmanager
async def client(server: ControlServer, **options: Any) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(server.url, **options) as session:
        yield session


def ask(
    server: ControlServer, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any
) -> tuple[int, Any]:
    """Status and body, JSON read."""

    async def once() -> tuple[int, Any]:
        async with client(server, headers=headers or {}) as session, session.request(method, path, **options) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.content_type == "application/json" else text

    return asyncio.run(once())


def refused(answer: tuple[int, Any], status: int, reason: str) -> str:
    assert answer[0] == status, answer
    assert set(answer[1]) == {"reason", "message"}, answer
    assert answer[1]["reason"] == reason, answer
    assert "\n" not in answer[1]["message"]
    return str(answer[1]["message"])


def test_status_and_tables_are_the_contracts_models(server: ControlServer, run: Run) -> None:
    status, body = ask(server, "GET", "/api/v1/status")
    assert status == 200
    assert Report.model_validate_json(json.dumps(body)) == run.progress.report()
    assert body["progress"]["tablesTotal"] == 1
    status, body = ask(server, "GET", "/api/v1/tables")
    assert [TableReport.model_validate(table) for table in body["tables"]] == run.progress.tables()


@pytest.mark.parametrize("verb", ["pause", "resume", "cutover", "abort", "stop"])
@pytest.mark.parametrize("body", [None, "", "{}", " "])
def test_verbs(server: ControlServer, run: Run, verb: str, body: str | None) -> None:
    status, answer = ask(server, "POST", f"/api/v1/{verb}", data=body)
    assert (status, run.asked) == (200, [verb])
    assert answer["message"]
    assert all(name.startswith("control-verb") for name in run.threads), "it ran in the loop"


def test_throttle(server: ControlServer, run: Run) -> None:
    assert ask(server, "POST", "/api/v1/throttle", json={"maxRowsPerSecond": 5})[0] == 200
    assert ask(server, "POST", "/api/v1/throttle", json={"maxRowsPerSecond": None})[0] == 200
    assert run.asked == [("throttle", 5), ("throttle", None)]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("throttle", "{", "no JSON"),
        ("throttle", "\xff", "no JSON"),
        ("throttle", "[]", ""),
        ("throttle", "{}", "maxRowsPerSecond"),
        ("throttle", '{"maxRowsPerSecond": 0}', "maxRowsPerSecond"),
        ("throttle", '{"maxRowsPerSecond": "5"}', "maxRowsPerSecond"),
        ("throttle", '{"maxRowsPerSecond": 5, "x": 1}', "x"),
        ("pause", '{"now": true}', "now"),
        ("pause", "nope", "no JSON"),
    ],
)
def test_bad_bodies_get_one_clear_message(server: ControlServer, run: Run, path: str, body: str, said: str) -> None:
    status, answer = ask(server, "POST", f"/api/v1/{path}", data=body.encode("latin-1"))
    assert status == 400
    assert said in answer["message"]
    assert run.asked == []


def test_a_directive_is_taken_whole(server: ControlServer, run: Run) -> None:
    body = {
        "generation": 7,
        "paused": True,
        "throttle": {"maxRowsPerSecond": 9},
        "copy": {"workers": 2, "chunkTargetDuration": "1s"},
        "cutover": {"approved": True},
    }
    for _ in range(2):
        assert ask(server, "PUT", "/api/v1/directive", json=body) == (200, {"acknowledgedGeneration": 7})
    directive = run.asked[-1]
    assert isinstance(directive, Directive)
    assert directive.paused
    assert directive.copy_.workers == 2
    assert ask(server, "GET", "/api/v1/status")[1]["copier"]["acknowledgedGeneration"] == 7


@pytest.mark.parametrize(
    ("body", "status", "reason", "said"),
    [
        ("", 400, "InvalidField", "JSON"),
        ("{", 400, "InvalidField", "JSON"),
        ("{}", 400, "InvalidField", "generation"),
        ('{"generation": "7"}', 400, "InvalidField", "generation"),
        ('{"generation": 7, "copy": {"workers": 0}}', 400, "InvalidField", "copy.workers"),
        ('{"generation": 7, "pause": true}', 400, "InvalidField", "pause"),
        ('{"generation": 7, "throttle": {"maxReplicaLag": "5s"}}', 422, "NotBuiltYet", "maxReplicaLag"),
    ],
)
def test_a_bad_directive_changes_nothing(
    server: ControlServer, run: Run, body: str, status: int, reason: str, said: str
) -> None:
    assert said in refused(ask(server, "PUT", "/api/v1/directive", data=body), status, reason)
    assert run.asked == []


def test_what_the_run_refuses_is_told_with_its_reason(server: ControlServer, run: Run) -> None:
    run.refuse_with = DataError("AlreadyCutOver", "it is done")
    assert refused(ask(server, "POST", "/api/v1/abort"), 409, "AlreadyCutOver") == "it is done"
    run.refuse_with = RuntimeError("secret detail")
    assert "secret" not in refused(ask(server, "POST", "/api/v1/abort"), 500, "InternalError")
    run.refuse_with = None
    assert ask(server, "POST", "/api/v1/abort")[0] == 200


def test_verify_on_request_is_not_built(server: ControlServer) -> None:
    refused(ask(server, "POST", "/api/v1/verify"), 422, "NotBuiltYet")


def test_wrong_paths_and_methods(server: ControlServer) -> None:
    refused(ask(server, "GET", "/api/v1/nothing"), 404, "NotFound")
    assert "POST" in refused(ask(server, "GET", "/api/v1/pause"), 405, "MethodNotAllowed")
    refused(ask(server, "PUT", "/api/v1/directive", data=io.BytesIO(b"x" * (2 << 20))), 413, "BodyTooLarge")


@pytest.mark.parametrize("query", ["wait=soon&since=1", "wait=1s&since=-1", "wait=1s&since=x", "wait=&since=1"])
def test_bad_polls(server: ControlServer, query: str) -> None:
    refused(ask(server, "GET", f"/api/v1/status?{query}"), 400, "BadRequest")


def test_a_poll_answers_at_once_when_something_happens(server: ControlServer, run: Run) -> None:
    known = run.progress.report().revision
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = [pool.submit(ask, server, "GET", f"/api/v1/status?wait=30s&since={known}") for _ in range(20)]
        assert not concurrent.futures.wait(waiting, 0.5).done
        started = time.monotonic()
        run.progress.set_message("news")
        answers = [future.result(10) for future in waiting]
    assert time.monotonic() - started < 5
    assert {body["message"] for _, body in answers} == {"news"}
    assert all(body["revision"] > known for _, body in answers)


def test_a_poll_ends_after_its_wait(server: ControlServer, run: Run) -> None:
    known = run.progress.report().revision
    started = time.monotonic()
    status, body = ask(server, "GET", f"/api/v1/status?wait=300ms&since={known}")
    assert 0.3 <= time.monotonic() - started < 3
    assert (status, body["revision"]) == (200, known)


def test_stopping_does_not_wait_for_polls(run: Run) -> None:
    known = run.progress.report().revision
    with concurrent.futures.ThreadPoolExecutor() as pool:
        with serving(run) as server:
            waiting = pool.submit(ask, server, "GET", f"/api/v1/status?wait=60s&since={known}")
            assert not concurrent.futures.wait([waiting], 0.3).done
            started = time.monotonic()
        assert time.monotonic() - started < 4
        assert waiting.result(5)[0] == 200


def test_polls_and_a_slow_verb_do_not_stop_the_others(server: ControlServer, run: Run) -> None:
    known = run.progress.report().revision
    run.block = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        polls = [pool.submit(ask, server, "GET", f"/api/v1/status?wait=20s&since={known}") for _ in range(30)]
        slow = pool.submit(ask, server, "POST", "/api/v1/pause")
        assert not concurrent.futures.wait([slow], 0.3).done
        started = time.monotonic()
        assert ask(server, "GET", "/api/v1/tables")[0] == 200
        assert ask(server, "GET", "/healthz")[0] == 200
        assert time.monotonic() - started < 2
        run.block.set()
        assert slow.result(10)[0] == 200
        run.progress.set_message("end")
        for poll in polls:
            poll.result(30)


def test_metrics_and_probes(server: ControlServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    status, text = ask(server, "GET", "/metrics")
    assert status == 200
    assert 'ferry_copy_rows_estimated{table="shop.<b>orders</b>"} 100.0' in text
    assert ask(server, "GET", "/healthz") == (200, {"status": "ok"})
    assert ask(server, "GET", "/readyz") == (200, {"status": "ok"})
    monkeypatch.setattr(run.progress, "_heartbeat", run.progress._now() - 2 * ALIVE_SECONDS)
    refused(ask(server, "GET", "/healthz"), 503, "Hanging")
    run.progress.failed(DataError("X", "y"))
    refused(ask(server, "GET", "/readyz"), 503, "NotReady")


def test_the_page_stands_alone_and_holds_no_secret(run: Run) -> None:
    async def fetch(server: ControlServer) -> tuple[str, str]:
        async with client(server) as session, session.get("/") as answer:
            assert answer.status == 200
            assert answer.content_type == "text/html"
            return await answer.text(), answer.headers["Content-Security-Policy"]

    with serving(run, token=TOKEN) as server:
        page, policy = asyncio.run(fetch(server))
    assert "http:" not in page
    assert "https:" not in page
    assert "innerHTML" not in page
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert TOKEN not in page


# Who may ask


def test_the_token(run: Run) -> None:
    with serving(run, token=TOKEN) as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Basic x"}):
            for method, path in (("GET", "/api/v1/status"), ("POST", "/api/v1/abort"), ("GET", "/metrics")):
                refused(ask(server, method, path, headers=headers), 401, "Unauthorized")
        refused(ask(server, "GET", "/nothing"), 401, "Unauthorized")
        assert run.asked == []
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert ask(server, "POST", "/api/v1/pause", headers=headers)[0] == 200
        assert ask(server, "GET", "/healthz")[0] == 200
        assert ask(server, "GET", "/readyz")[0] == 200


def test_web_pages_from_elsewhere_cannot_use_a_browser_as_their_way_in(server: ControlServer, run: Run) -> None:
    refused(ask(server, "POST", "/api/v1/cutover", headers={"Origin": "https://evil.example"}), 403, "ForeignOrigin")
    refused(ask(server, "POST", "/api/v1/cutover", headers={"Origin": "null"}), 403, "ForeignOrigin")
    refused(ask(server, "GET", "/api/v1/status", headers={"Host": "evil.example:8080"}), 403, "ForeignHost")
    assert run.asked == []
    assert ask(server, "POST", "/api/v1/pause", headers={"Origin": server.url})[0] == 200
    assert ask(server, "GET", "/api/v1/status", headers={"Host": f"localhost:{server.address.port}"})[0] == 200


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "example.com:80", "192.0.2.1:80"])
def test_off_loopback_needs_a_token(run: Run, listen: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ControlServer(run, listen)
    assert caught.value.reason == "TokenRequired"
    with pytest.raises(ConfigError):
        ControlServer(run, listen, token="")


@pytest.mark.parametrize("listen", ["", "8080", ":8080", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "1.2.3.4"])
def test_listen_must_be_an_address(run: Run, listen: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        ControlServer(run, listen, token=TOKEN)


def test_a_port_in_use_is_named(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"{port}.*--listen") as caught:
            ControlServer(run, f"127.0.0.1:{port}").start()
    assert caught.value.reason == "PortInUse"


def test_a_host_that_is_not_ours(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"--listen 192\.0\.2\.1:1"):
        ControlServer(run, "192.0.2.1:1", token=TOKEN).start()


def test_the_port_is_free_again_at_once(run: Run) -> None:
    with serving(run) as server:
        listen = str(server.address)
        ask(server, "GET", "/healthz")
    with serving(run, listen) as server:
        assert ask(server, "GET", "/healthz")[0] == 200


def test_tls(run: Run, tmp_path: Path) -> None:
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*make.split(), "-keyout", tmp_path / "tls.key", "-out", tmp_path / "tls.crt"], check=True)
    context = ssl.create_default_context(cafile=tmp_path / "tls.crt")
    with serving(run, token=TOKEN, tls_dir=tmp_path) as server:
        assert server.url.startswith("https://")
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert ask(server, "GET", "/api/v1/status", headers=headers, ssl=context)[0] == 200


def test_tls_material_that_is_none(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tls\.crt") as caught:
        ControlServer(run, "127.0.0.1:0", tls_dir=tmp_path).start()
    assert caught.value.reason == "TlsMaterialInvalid"
    (tmp_path / "tls.crt").write_text("nonsense")
    (tmp_path / "tls.key").write_text("nonsense")
    with pytest.raises(ConfigError):
        ControlServer(run, "127.0.0.1:0", tls_dir=tmp_path).start()


# Under an operator


@pytest.mark.parametrize(
    ("verb", "body", "patch"),
    [
        ("pause", None, {"paused": True}),
        ("resume", None, {"paused": False}),
        ("throttle", {"maxRowsPerSecond": 5}, {"throttle": {"maxRowsPerSecond": 5}}),
        ("throttle", {"maxRowsPerSecond": None}, {"throttle": {"maxRowsPerSecond": None}}),
        ("cutover", None, {"cutover": {"approved": True}}),
        ("abort", None, {"aborted": True}),
        ("stop", None, {"paused": True}),
        ("verify", None, {"verify": {"mode": "Continuous"}}),
    ],
)
def test_under_an_operator_verbs_name_the_patch(run: Run, verb: str, body: object, patch: object) -> None:
    with serving(run, managed=Managed("shop", "orders")) as server:
        said = refused(ask(server, "POST", f"/api/v1/{verb}", json=body or {}), 409, "ManagedByOperator")
        assert "kubectl patch ferry orders -n shop --type merge -p '" in said
        assert json.loads(said.split(" -p ")[1].strip("'")) == {"spec": patch}
        assert ask(server, "PUT", "/api/v1/directive", json={"generation": 2})[0] == 200
    assert [type(one) for one in run.asked] == [Directive]


# The description


def test_the_description_covers_every_route(server: ControlServer) -> None:
    status, document = ask(server, "GET", "/openapi.json")
    assert status == 200
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    probe: Callable[[str, str], int] = lambda method, path: ask(server, method, path)[0]  # noqa: E731
    for method, path in described:
        assert probe(method, path) not in (404, 405), (method, path)
    from ferry_core.control.routes import Routes

    with concurrent.futures.ThreadPoolExecutor() as pool:
        table = asyncio.run(_table(Routes, pool))
    assert table == described


async def _table(routes: Any, pool: concurrent.futures.Executor) -> set[tuple[str, str]]:
    return {(route.method, route.path) for route in routes(Run(), None, None, pool, pool).table()}


def test_the_descriptions_references_lead_somewhere(server: ControlServer) -> None:
    document = ask(server, "GET", "/openapi.json")[1]
    names: set[str] = set()

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                names.add(node["$ref"].removeprefix("#/components/schemas/"))
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)
    assert names <= set(document["components"]["schemas"])
    assert {"Report", "TableReport", "Directive", "NewThrottle", "Error"} <= names
