"""The test bed cleans up after itself, however its users end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hack import installing, servers
from hack.families import render_flag
from hack.servers import Family
from tests.support.servers import refuse_family
from tests.support.waits import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
_ORPHAN = """
import os, sys
from hack.servers import Family, create
instance = create(Family.MARIADB)
instance.start()
print(instance.name, instance.process.pid, flush=True)
sys.stdin.read()
"""
_SESSION = """
def test_waiting_for_a_condition(mariadb_pair):
    print("\\nSTARTED", mariadb_pair.source.instance.name, mariadb_pair.target.instance.name, flush=True)
    import time
    while True:  # a signal just before signal.pause() would be slept over
        time.sleep(0.1)
"""


@pytest.fixture(autouse=True)
def _mariadb_is_there() -> None:
    try:
        servers.install(Family.MARIADB)
    except servers.Unavailable as error:
        refuse_family(Family.MARIADB, str(error))


def test_the_next_process_ends_the_servers_of_a_killed_one() -> None:
    orphaned = subprocess.Popen(
        [sys.executable, "-c", _ORPHAN], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with orphaned:
        assert orphaned.stdout is not None
        name, pid = orphaned.stdout.readline().split()
        servers.sweep()
        assert name in {instance.name for instance in servers.instances()}
        server = servers.ProcessId.of(int(pid))
        with installing.locked("instances"):  # or another test session that starts a server would be the next one
            orphaned.kill()
            orphaned.wait()
            assert server is not None
            assert server.alive
    servers.sweep()
    assert name not in {instance.name for instance in servers.instances()}
    assert not server.alive


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_test_session_ends_its_servers(tmp_path: Path, ending: signal.Signals) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (tmp_path / "test_waiting_for_a_condition.py").write_text(_SESSION)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-s",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    session = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with session:
        assert session.stdout is not None
        seen: list[str] = []
        for line in session.stdout:
            seen.append(line)
            if line.startswith("STARTED"):
                break
        names = set(seen[-1].split()[1:])
        assert names <= {instance.name for instance in servers.instances()}, "".join(seen)
        session.send_signal(ending)
        session.stdout.read()
        assert session.wait(PATIENCE_SECONDS) == pytest.ExitCode.INTERRUPTED
    assert not names & {instance.name for instance in servers.instances()}


def test_the_program_starts_lists_and_stops() -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "hack/servers.py", *arguments]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    name = f"by-hand-{os.getpid()}"
    started = run("start", "mariadb", name, "binlog_row_image=MINIMAL")
    try:
        assert started in run("list")
        assert "running" in started
    finally:
        assert run("stop", name) == f"{name} stopped\n"
    assert name not in run("list")


def test_flags_are_rendered() -> None:
    assert render_flag("sync_binlog", 0) == "--sync-binlog=0"
    assert render_flag("local_infile", False) == "--local-infile=OFF"
    assert render_flag("log_bin", False) == "--skip-log-bin"
    assert render_flag("skip_networking", "") == "--skip-networking"


def test_a_command_that_takes_too_long_makes_its_program_unavailable() -> None:
    with pytest.raises(installing.Unavailable, match=r"sleep: .*timed out"):
        installing.run("sleep", "60", seconds=0.1)
