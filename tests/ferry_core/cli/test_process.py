"""The command as a process: exit codes and signals as an orchestrator sees them."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.manifests import ferry_data, write, write_ferry

ROOT = Path(__file__).parents[3]


def ferry(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ferry_core", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_version(tmp_path: Path) -> None:
    done = ferry("--version", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_during_the_imports_leaves_no_traceback(number: str) -> None:
    program = f"""
        import os, signal, sys
        class Interrupting:
            def find_spec(self, name, path=None, target=None):
                if name == "click":
                    os.kill(os.getpid(), signal.{number})
        sys.meta_path.insert(0, Interrupting())
        from ferry_core.__main__ import main
        main()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (143, b"")


@pytest.mark.parametrize("command", ["run", "check", "cleanup", "abort"])
def test_a_bad_manifest_is_64_and_leaves_nothing_behind(tmp_path: Path, command: str) -> None:
    data = ferry_data()
    data["spec"]["cutover"] = {"deadlin": "5s"}
    file = write_ferry(tmp_path, data)
    done = ferry(command, "-f", str(file), cwd=tmp_path)
    assert done.returncode == 64
    assert done.stderr.startswith("ferry: UnknownField: ")
    assert "did you mean deadline?" in done.stderr
    assert "Traceback" not in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["ferry.yaml"]


def test_a_missing_secret_is_64(tmp_path: Path) -> None:
    done = ferry("run", "-f", str(write(tmp_path, ferry_data())), cwd=tmp_path)
    assert (done.returncode, done.stderr.split(":")[1]) == (64, " SecretNotFound")


def test_an_unreachable_server_is_75(tmp_path: Path) -> None:
    done = ferry("status", "--server", "http://127.0.0.1:9", cwd=tmp_path)
    assert done.returncode == 75
    assert "is ferry run active there" in done.stderr


def test_a_closed_stdout_is_not_an_error(tmp_path: Path) -> None:
    line = f"{sys.executable} -m ferry_core --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")


STAND_IN = textwrap.dedent(
    """
    import sys, threading
    from ferry_core.api.report import Report
    from ferry_core.cli import engine
    from ferry_core.cli.main import main
    from ferry_core.errors import Terminated

    class FakeEngine:
        def __init__(self, stubborn):
            self.stopping = threading.Event()
            self.stubborn = stubborn
        def run(self):
            print("running", flush=True)
            while not self.stopping.wait(0.05):
                pass
            print("stopping", flush=True)
            if self.stubborn:
                threading.Event().wait()
            raise Terminated("Terminated", "checkpointed and left")
        def stop(self):
            self.stopping.set()
        def snapshot(self):
            return Report()
        def tables(self):
            return []
        def result_line(self):
            return "done"

    stubborn = sys.argv.pop(1) == "stubborn"
    engine.make_engine = lambda loaded, options: FakeEngine(stubborn)
    main()
    """
)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", ["obedient", "stubborn"])
def test_the_first_signal_stops_and_the_second_ends(tmp_path: Path, first: signal.Signals, kind: str) -> None:
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    manifest = write_ferry(tmp_path, ferry_data())
    with subprocess.Popen(
        [sys.executable, str(script), kind, "run", "-f", str(manifest), "--listen", "none"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(first)
        assert process.stdout.readline() == "stopping\n"
        if kind == "stubborn":
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=180) == 143
        said = process.stderr.read()
    assert "Traceback" not in said
    assert ("ferry: Terminated: checkpointed and left" in said) == (kind == "obedient")


LATE = """
import os, signal, sys
from ferry_core.cli.group import guarded
from ferry_core.cli.signals import stop_on_signal
from ferry_core.cli.output import Output
from ferry_core.errors import Terminated

def command():
    with stop_on_signal(lambda: None):
        os.kill(os.getpid(), signal.SIGINT)
        raise Terminated("Stopped", "stopped")

class Last:
    def __del__(self, kill=os.kill, own=os.getpid(), number=signal.SIGINT):
        kill(own, number)

sys.last = Last()  # ends when the interpreter does
code = guarded(Output(), command)
if sys.argv[1] == "early":
    os.kill(os.getpid(), signal.SIGINT)
sys.exit(code)
"""


@pytest.mark.parametrize("moment", ["early", "late"])
def test_a_second_signal_in_the_last_moments_is_143_too(tmp_path: Path, moment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE, moment],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (143, "ferry: Stopped: stopped\n")


ELSEWHERE = """
import signal, socket, threading
from ferry_core.cli.signals import stop_on_signal

ours, _theirs = socket.socketpair()  # a server that hangs

def hit_by_both():
    own = threading.get_ident()
    signal.pthread_kill(own, signal.SIGINT)
    asked.wait()
    print("stopping", flush=True)
    signal.pthread_kill(own, signal.SIGTERM)

asked = threading.Event()
with stop_on_signal(asked.set):
    threading.Thread(target=hit_by_both, daemon=True).start()
    ours.recv(1)
"""


def test_a_signal_to_another_thread_works_while_the_main_thread_waits_for_a_server(tmp_path: Path) -> None:
    """The kernel may deliver the second of two quick signals to any thread."""
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=180,
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "stopping\n", "")


DONE = """
import os, signal, sys
from ferry_core.__main__ import main
from ferry_core.errors import ExitCode
from ferry_core.api.report import Report
from ferry_core.cli import engine

moment = sys.argv.pop(1)

def terminated():
    os.kill(os.getpid(), signal.SIGTERM)

class Done:
    def run(self):
        if moment == "in its last moment":
            terminated()
        return ExitCode.DONE
    def stop(self):
        pass
    def snapshot(self):
        return Report()
    def tables(self):
        return []
    def result_line(self):
        if moment == "before its last line":
            terminated()
        return "moved"

class Last:
    def __del__(self, kill=os.kill, own=os.getpid(), number=signal.SIGTERM):
        kill(own, number)

if moment == "when the interpreter ends":
    sys.last = Last()
engine.make_engine = lambda loaded, options: Done()
main()
"""


@pytest.mark.parametrize("moment", ["in its last moment", "before its last line", "when the interpreter ends"])
def test_a_signal_after_success_changes_nothing(tmp_path: Path, moment: str) -> None:
    manifest = write_ferry(tmp_path, ferry_data())
    done = subprocess.run(
        [
            *(sys.executable, "-c", DONE, moment, "run", "-f", str(manifest)),
            *("--state", "none.db", "--listen", "none", "--progress", "none"),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["moved"]), done.stderr


def test_on_a_terminal_the_view_is_live(tmp_path: Path) -> None:
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    manifest = write_ferry(tmp_path, ferry_data())
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, str(script), "obedient", "run", "-f", str(manifest), "--listen", "none"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"},
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        seen = b""
        while b"lag unknown" not in seen:
            seen += os.read(ours, 65536)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=180) == 143
    with contextlib.suppress(OSError):  # Linux returns EIO when the other side is closed and everything is read
        while more := os.read(ours, 65536):
            seen += more
    os.close(ours)
    assert b"\x1b[" in seen
    assert b"Pending, 0 rows, 0 B, lag unknown" in seen
    assert b"ferry: Terminated: checkpointed and left" in seen
