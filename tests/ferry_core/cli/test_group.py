"""Every exit of the command: one line, the right code, never a traceback."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ferry_core.cli.group import FerryGroup
from ferry_core.cli.main import COMMANDS, main
from ferry_core.cli.output import Output
from ferry_core.errors import (
    AmbiguousError,
    ConfigError,
    ConnectionLost,
    DataError,
    ExitCode,
    Fenced,
    FerryError,
    Terminated,
)
from ferry_core.reasons import Reason


@click.group(cls=FerryGroup)
def group() -> None:
    pass


RAISED: dict[str, BaseException] = {
    "config": ConfigError(Reason.INVALID_FIELD, "this is\nwrong"),
    "data": DataError(Reason.ROWS_DIFFER, "x"),
    "lost": ConnectionLost(Reason.CONNECTION_LOST, "x"),
    "ambiguous": AmbiguousError(Reason.OWNERSHIP_AMBIGUOUS, "x"),
    "fenced": Fenced(Reason.NEWER_RUN, "x"),
    "stopped": Terminated(Reason.STOPPED, "x"),
    "bug": ZeroDivisionError("oh\nno"),
    "keyboard": KeyboardInterrupt(),
}


@group.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True)
@click.option("--debug", is_flag=True)
@click.pass_obj
def fail(out: Output, *, name: str, as_json: bool, debug: bool) -> ExitCode:
    out.as_json, out.debug = as_json, debug
    if name in RAISED:
        raise RAISED[name]
    return ExitCode[name]


@pytest.mark.parametrize(
    ("name", "code", "line"),
    [
        ("config", 64, "ferry: InvalidField: this is wrong\n"),
        ("data", 65, "ferry: RowsDiffer: x\n"),
        ("lost", 75, "ferry: ConnectionLost: x\n"),
        ("ambiguous", 65, "ferry: OwnershipAmbiguous: x\n"),
        ("fenced", 65, "ferry: NewerRun: x\n"),
        ("stopped", 143, "ferry: Stopped: x\n"),
        ("keyboard", 143, "ferry: interrupted\n"),
        ("DONE", 0, ""),
        ("DATA", 65, ""),
    ],
)
def test_an_exception_becomes_one_line_and_an_exit_code(name: str, code: int, line: str) -> None:
    result = CliRunner().invoke(group, ["fail", name])
    assert (result.exit_code, result.stderr.lstrip(), result.stdout) == (code, line, "")


def test_a_bug_is_one_line_that_says_where_to_report_it() -> None:
    result = CliRunner().invoke(group, ["fail", "bug"])
    assert result.exit_code == 75
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("ferry: InternalError: unexpected error, please report it")
    assert "ZeroDivisionError: oh no" in result.stderr
    assert "Traceback" in CliRunner().invoke(group, ["fail", "bug", "--debug"]).stderr


def test_errors_in_json() -> None:
    result = CliRunner().invoke(group, ["fail", "config", "--json"])
    said = json.loads(result.stderr)
    assert (said["level"], said["reason"], said["message"]) == ("ERROR", "InvalidField", "this is wrong")
    assert said["event"] == "failure"
    assert "time" in said


def test_a_stop_that_was_asked_for_is_no_error() -> None:
    result = CliRunner().invoke(group, ["fail", "stopped", "--json"])
    assert json.loads(result.stderr)["level"] == "INFO"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["run"], "Missing option '-f'"),
        (["run", "-f", "x", "--progress", "fast"], "'fast' is not one of"),
        (["run", "-f", "x", "--wrong"], "No such option"),
        (["run", "-f", "x", "--listen", "8080"], "is not HOST:PORT"),
        (["run", "-f", "x", "--listen", "::1:8080"], "is not HOST:PORT"),
        (["run", "-f", "x", "--listen", "[zz]:1"], "is not HOST:PORT"),
        (["run", "-f", "x", "--listen", "localhost:99999"], "is not HOST:PORT"),
        (["throttle", "many"], "must be a whole number above 0 or off"),
        (["throttle", "0"], "ferry pause stops all"),
        (["status", "--server", "ftp://x"], "is not a URL such as"),
        (["run", "-f", "/does/not/exist"], "No such file or directory"),
    ],
)
def test_wrong_usage_is_a_config_error(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 64
    assert result.stderr.startswith("ferry: ")
    assert result.stderr.count("\n") == 1
    assert told in result.stderr


@pytest.mark.parametrize("content", [None, b"", b"two words", b"\xff\xfe", b" \n"])
def test_a_token_file_without_a_token(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    result = CliRunner().invoke(main, ["status", "--token-file", str(file)])
    assert result.exit_code == 64
    assert result.stderr.startswith(f"ferry: TokenUnreadable: --token-file {file}")


def test_help_and_version() -> None:
    assert CliRunner().invoke(main, ["--version"]).stdout.startswith("ferry, version ")
    assert CliRunner().invoke(main, ["--help"]).exit_code == 0
    for name in COMMANDS:
        result = CliRunner().invoke(main, [name, "--help"])
        assert (result.exit_code, f"ferry {name}" in result.stdout) == (0, True)


def test_without_a_command_the_help_is_printed() -> None:
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 64
    assert result.stderr.startswith("Usage: ferry [OPTIONS] COMMAND [ARGS]...\n\n  Move selected tables")
    assert result.stdout == ""


def test_the_list_of_commands_has_each_commands_own_summary() -> None:
    context = click.Context(main)
    own = {name: main.get_command(context, name) for name in COMMANDS}
    assert {name: command.get_short_help_str(300) for name, command in own.items() if command} == {
        name: place.help for name, place in COMMANDS.items()
    }


def test_help_imports_no_command() -> None:
    """Each command imports the driver, pydantic and aiohttp: help would take 1.4 s instead of 0.15 s."""
    program = (
        "import sys; from click.testing import CliRunner; from ferry_core.cli.main import main;"
        "print(CliRunner().invoke(main, ['--help']).exit_code, {'pymysql', 'pydantic', 'aiohttp'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["0", "set()"]


@pytest.mark.parametrize(
    ("command", "libraries"),
    [
        ("ferry_core.cli.check, ferry_core.cli.preflight", {"aiohttp", "pymysqlreplication", "prometheus_client"}),
        ("ferry_core.cli.run, ferry_core.run.ferry", {"aiohttp", "rich"}),
        ("ferry_core.cli.verbs", {"aiohttp", "asyncio", "rich", "pymysql"}),
    ],
)
def test_a_command_imports_no_library_before_it_needs_it(command: str, libraries: set[str]) -> None:
    """A run without ControlServer and terminal takes 0.8 s of CPU to import, not 1.2 s."""
    program = f"import sys, {command}; print({libraries} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["set()"]


def test_every_error_class_has_an_exit_code_of_the_contract() -> None:
    classes = [FerryError]
    for one in classes:
        classes += one.__subclasses__()
    assert {int(one.exit_code) for one in classes} <= {64, 65, 75, 143}
