"""The verbs against a small server that answers like the ControlServer, and against other servers."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ferry_core.api.report import Failure, Report, TableReport
from ferry_core.cli import screen
from ferry_core.cli.main import main


@dataclass
class Server:
    """``answers`` by method and path, each followed by those in ``later``; ``asked`` records the requests."""

    url: str
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    later: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    asked: list[tuple[str, str | None, bytes]] = field(default_factory=list)

    def ferry(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, [*arguments, "--server", self.url])


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_PUT(self) -> None:
            self.answer()

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            what = f"{self.command} {self.path}"
            found.asked.append((what, self.headers.get("Authorization"), body))
            code, answer = found.answers.get(what, (404, b""))
            if found.later.get(what):
                found.answers[what] = found.later[what].pop(0)
            self.send_response(code)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        found = Server(f"http://127.0.0.1:{http.server_port}")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        http.shutdown()
        thread.join()


def test_status_for_people_and_for_programs(server: Server) -> None:
    report = Report(stage="Copying", phase="Failed", failure=Failure(reason="Oops", message="why", retriable=False))
    server.answers["GET /api/v1/status"] = (200, report.model_dump_json().encode())
    shown = server.ferry("status")
    assert (shown.exit_code, "Failed, 0 rows" in shown.stdout, "Oops: why" in shown.stdout) == (0, True, True)
    assert Report.model_validate_json(server.ferry("status", "--output", "json").stdout) == report


def test_status_is_watched_until_the_run_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "PLAIN_SECONDS", 0.0)
    path = "GET /api/v1/status"
    first, *later = (
        (200, Report(stage=stage, phase=stage).model_dump_json().encode())
        for stage in ("Copying", "Streaming", "Streaming", "CuttingOver", "Completed")
    )
    server.answers[path], server.later[path] = first, later
    shown = server.ferry("status", "--watch")
    assert shown.exit_code == 0
    assert [line.split(",")[0] for line in shown.stdout.splitlines()] == [
        "Copying", "Streaming", "CuttingOver", "Completed",
    ]  # fmt: skip
    assert server.ferry("status", "--watch", "--output", "json").exit_code == 64


@pytest.mark.parametrize("wrapped", [True, False])
def test_tables(server: Server, wrapped: bool) -> None:
    told = TableReport(name="a.b", target="c.d", state="Copying", rows_copied=1234, rows_differing=57, rows_repaired=56)
    found = [told.model_dump(mode="json")]
    server.answers["GET /api/v1/tables"] = (200, json.dumps({"tables": found} if wrapped else found).encode())
    shown = server.ferry("tables").stdout
    assert "a.b" in shown
    assert "1,234" in shown
    assert shown.split()[-2:] == ["57", "56"]
    assert json.loads(server.ferry("tables", "--output", "json").stdout) == found


@pytest.mark.parametrize("verb", ["pause", "resume", "cutover", "abort", "withdraw"])
def test_a_verb_is_a_post_with_the_token(server: Server, tmp_path: Path, verb: str) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    server.answers[f"POST /api/v1/{verb}"] = (200, b"{}")
    done = server.ferry(verb, "--token-file", str(token))
    assert (done.exit_code, bool(done.stdout.strip())) == (0, True)
    assert server.asked == [(f"POST /api/v1/{verb}", "Bearer s3cret", b"{}")]


def test_a_cutover_is_withdrawn_by_either_command(server: Server) -> None:
    server.answers["POST /api/v1/withdraw"] = (200, b"{}")
    assert server.ferry("cutover", "--withdraw").stdout == "approval withdrawn\n"
    assert server.asked == [("POST /api/v1/withdraw", None, b"{}")]


@pytest.mark.parametrize(
    ("arguments", "sent", "told"),
    [
        (["5000"], {"maxRowsPerSecond": 5000, "maxReplicaLag": "2s"}, "at most 5,000 rows/s; maxReplicaLag 2s"),
        (["off"], {}, "no limit of rows/s"),
        (["--max-replica-lag", "off"], {"maxRowsPerSecond": 7}, "at most 7 rows/s"),
        (
            ["off", "--max-threads-running", "source=4", "--max-threads-running", "target=5", "--query", "SELECT 1"],
            {"maxThreadsRunning": {"source": 4, "target": 5}, "query": "SELECT 1"},
            "no limit of rows/s; maxThreadsRunning source 4, target 5; query SELECT 1",
        ),
    ],
)
def test_throttle(server: Server, arguments: list[str], sent: dict[str, object], told: str) -> None:
    now = {"copy": {"workers": 3}, "throttle": {"maxRowsPerSecond": 7, "maxReplicaLag": "2s"}}
    server.answers["GET /api/v1/settings"] = (200, json.dumps(now).encode())
    server.answers["PUT /api/v1/settings"] = (200, b"{}")
    done = server.ferry("throttle", *arguments)
    assert done.stdout == f"{told}\n"
    body = json.loads(server.asked[-1][2])
    assert body["copy"]["workers"] == 3
    assert {name: value for name, value in body["throttle"].items() if value is not None} == sent


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give ROWS, off, or a limit"),
        (["--max-replica-lag", "soon"], "maxReplicaLag"),
        (["--active-hours", "20:00-06:00 Nowhere"], "Nowhere is not a known time zone"),
        (["--max-threads-running", "40"], "give source=N, target=N or off"),
    ],
)
def test_a_throttle_that_makes_no_sense(server: Server, arguments: list[str], told: str) -> None:
    server.answers["GET /api/v1/settings"] = (200, b'{"copy": {}, "throttle": {}}')
    done = server.ferry("throttle", *arguments)
    assert (done.exit_code, told in done.stderr) == (64, True)
    assert all(what != "PUT /api/v1/settings" for what, _, _ in server.asked)


@pytest.mark.parametrize(
    ("code", "body", "exit_code", "told"),
    [
        (401, b"", 64, "wants a token; give its file with --token-file"),
        (409, b'{"message": "use: kubectl patch ferry x"}', 64, "ServerRefused: use: kubectl patch ferry x"),
        (404, b"", 64, "is not the ControlServer of a ferry"),
        (302, b"", 64, "is not the ControlServer of a ferry"),
        (500, b"oh", 75, "failed (HTTP 500): oh"),
    ],
)
def test_refusals(server: Server, code: int, body: bytes, exit_code: int, told: str) -> None:
    server.answers["POST /api/v1/pause"] = (code, body)
    done = server.ferry("pause")
    assert done.exit_code == exit_code
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("body", [b"<html>", b"{}x", b'{"stage": 5}', b'{"hello": "world"}'])
def test_a_server_of_another_kind(server: Server, body: bytes) -> None:
    server.answers["GET /api/v1/status"] = server.answers["GET /api/v1/tables"] = (200, body)
    for verb in ("status", "tables"):
        done = server.ferry(verb)
        assert (done.exit_code, "is not the ControlServer" in done.stderr) == (64, True)


def test_no_server_at_the_address() -> None:
    done = CliRunner().invoke(main, ["pause", "--server", "http://127.0.0.1:9"])
    assert done.exit_code == 75
    assert "no answer from http://127.0.0.1:9: Connection refused" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-f", "ferry.yaml"), "--server: for a Ferry that runs"),
        (("-f", "ferry.yaml", "--token-file", "t"), "--server and --token-file: for a Ferry that runs"),
        (("--state", "s.db"), "--state goes with -f"),
        (("--secrets-dir", "s"), "--secrets-dir goes with -f"),
    ],
)
def test_options_of_both_kinds_of_abort_cannot_be_mixed(server: Server, arguments: tuple[str, ...], said: str) -> None:
    done = server.ferry("abort", *arguments)
    assert done.exit_code == 64
    assert f"Usage: {said}" in done.output
    assert done.output.count("\n") == 1
    assert not server.asked
