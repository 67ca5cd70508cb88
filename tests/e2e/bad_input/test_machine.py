"""Mistakes on the machine that runs the command: ports, tokens, state files, the command line."""

import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.ferry_cli import FerryCli, ferry


def test_port_in_use(one: FerryCli) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        one.run("--listen", f"127.0.0.1:{port}").refused(64, "PortInUse", f"port {port}", "--listen")
    one.assert_nothing_begun()


def test_off_loopback_without_a_token(one: FerryCli) -> None:
    one.run("--listen", "0.0.0.0:0").refused(64, "TokenRequired", "0.0.0.0", "--token-file")
    one.assert_nothing_begun()


@pytest.mark.parametrize("holds", ["", "two words"])
def test_token_file(one: FerryCli, holds: str) -> None:
    token = one.folder / "token"
    token.write_text(holds)
    one.run("--token-file", str(token)).refused(64, "TokenUnreadable", str(token))
    one.run("--token-file", str(token) + ".no").refused(64, "TokenUnreadable", "No such file")


def test_state_of_another_ferry(one: FerryCli) -> None:
    one.spec["cutover"] = {"mode": "Automatic", "watchFor": "1s"}
    assert one.run().code == 0
    before = one.state.read_bytes()
    other = FerryCli(one.folder, one.pair, one.schema)
    other.documents[0]["metadata"]["name"] += "-two"
    name = one.documents[0]["metadata"]["name"]
    other.run().refused(64, "StateOfOtherFerry", str(one.state), f"tests/{name}", "--state")
    assert one.state.read_bytes() == before
    assert other.lease() == []


@pytest.mark.parametrize("how", ["text", "cut short", "scrambled", "newer"])
def test_corrupt_state(one: FerryCli, how: str) -> None:
    if how == "text":
        one.state.write_bytes(b"this is no database\n" * 400)
    else:
        with closing(sqlite3.connect(one.state)) as database, database:
            database.execute("CREATE TABLE ferry_state (id INTEGER PRIMARY KEY, epoch INT, format INT, body TEXT)")
            body, form = ("{}", 99) if how == "newer" else ('{"format": 1, "ferry_uid": ', 1)
            database.execute("INSERT INTO ferry_state VALUES (1, 1, ?, ?)", (form, body))
        if how == "cut short":
            one.state.write_bytes(one.state.read_bytes()[:5000])
    before = one.state.read_bytes()
    one.run().refused(64, "StateTooNew" if how == "newer" else "StateCorrupt", str(one.state))
    assert one.state.read_bytes() == before
    assert (one.lease(), one.target_tables()) == ([], [])


def test_a_state_file_in_a_missing_folder(one: FerryCli) -> None:
    one.state = one.folder / "nowhere" / "state.db"
    one.run().refused(64, "StateUnusable", str(one.state), "check path")
    one.assert_nothing_begun()


@pytest.mark.parametrize(
    "arguments", [("run",), ("run", "-f"), ("rnu",), ("run", "-f", "x", "--listen", "8080"), ("throttle", "fast")]
)
def test_command_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ferry(*arguments, cwd=tmp_path).refused(64, "Usage")
