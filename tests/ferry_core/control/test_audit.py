"""One log line for each command, and the Unix socket."""

import asyncio
import logging
import os
import socket
import stat
from pathlib import Path

import aiohttp
import pytest

from ferry_core.cli.client import ControlClient
from ferry_core.control.server import ControlServer
from ferry_core.errors import ConfigError
from tests.support.control import TOKEN, Run, ask, serving


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "ferry_core.control.audit"]


def test_every_command_is_logged_once(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with serving(run, tokens={"alice": "a-token", "ci": TOKEN}) as server:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        ask(server, "POST", "/api/v1/pause", headers=headers)
        ask(server, "POST", "/api/v1/throttle", headers=headers, json={"maxRowsPerSecond": 5})
        ask(server, "POST", "/api/v1/verify", headers={"Authorization": "Bearer a-token"})
        ask(server, "POST", "/api/v1/pause", headers=headers, data="x\ncommand abort")
        ask(server, "GET", "/api/v1/status", headers=headers)
        ask(server, "POST", "/api/v1/abort")  # without a token: anybody could fill the disk with these
        ask(server, "POST", "/api/v1/nothing", headers=headers)
    assert lines(caplog) == [
        "command pause {} by ci from 127.0.0.1: accepted",
        'command throttle {"maxRowsPerSecond":5} by ci from 127.0.0.1: accepted',
        "command verify {} by alice from 127.0.0.1: accepted",
        "command pause (no JSON) by ci from 127.0.0.1: refused (BadRequest)",
    ]


def test_a_unix_socket_is_its_owners_and_names_who_asked(
    run: Run, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "ferry.sock"
    with serving(run, f"unix:{path}") as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(ConfigError, match="exists") as caught:
            ControlServer(run, f"unix:{path}").start()
        assert caught.value.reason == "PortInUse"
        client = ControlClient(server.url)
        assert client.status().stage == "Copying"
        client.act("pause")
    assert not path.exists()
    assert run.asked == ["pause"]
    assert lines(caplog) == [
        f"command pause {{}} by anybody on this machine from process {os.getpid()} of user {os.getuid()}: accepted"
    ]


def test_a_socket_left_by_a_killed_process_is_replaced_and_no_other_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "ferry.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    async def healthy() -> int:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
            session.get("http://localhost/healthz") as answer,
        ):
            return answer.status

    with serving(run, f"unix:{path}"):
        assert asyncio.run(healthy()) == 200
    path.write_text("precious")
    with pytest.raises(ConfigError, match=r"ferry\.sock"):
        ControlServer(run, f"unix:{path}").start()
    assert path.read_text() == "precious"


def test_a_socket_of_another_run_stays(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "ferry.sock"
    with serving(run, f"unix:{path}"):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen()
            server = ControlServer(run, f"unix:{path}")
            with pytest.raises(ConfigError):
                server.start()
            server.stop()
            assert path.exists()
    assert path.exists()
