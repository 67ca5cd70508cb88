"""The ControlServer's verbs as commands: ``ferry status``, ``tables``, ``pause`` and so on. Registered by ``main``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ferry_core.api.report import Outcome
from ferry_core.cli import inputs, offline
from ferry_core.cli.client import ControlClient
from ferry_core.cli.termination_message import write_outcome
from ferry_core.errors import ConfigError, ExitCode
from ferry_core.reasons import Reason

OUTPUT = click.option("--output", type=click.Choice(("table", "json")), default="table", show_default=True)


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --server and --token-file."""
    server = click.option(
        "--server", default="http://127.0.0.1:8080", show_default=True, metavar="URL", help="The ControlServer."
    )
    token = click.option("--token-file", type=inputs.FilePath, metavar="FILE", help="Its bearer token.")
    return server(token(command))


def client(server: str, token_file: Path | None) -> ControlClient:
    return ControlClient(server, inputs.read_token(token_file))


@click.command()
@server_options
@OUTPUT
@click.option("-w", "--watch", is_flag=True, help="Show it again every second, until the run ends or Ctrl-C.")
def status(*, server: str, token_file: Path | None, output: str, watch: bool) -> None:
    """Show the progress of a running Ferry."""
    ask = client(server, token_file).status
    if output == "json":
        if watch:
            raise ConfigError(Reason.USAGE, "--watch is for people: leave out --output json, or ask again yourself")
        click.echo(ask().model_dump_json(indent=2))
        return
    from ferry_core.cli import screen

    if watch:
        screen.watch(ask)
    else:
        screen.show(ask())


@click.command()
@server_options
@OUTPUT
def tables(server: str, token_file: Path | None, output: str) -> None:
    """Show the progress of each table."""
    found = client(server, token_file).tables()
    if output == "json":
        click.echo(json.dumps([one.model_dump(mode="json") for one in found], indent=2))
        return
    from ferry_core.cli import screen

    screen.show_tables(found)


def _simple(verb: str, done: str, explained: str) -> click.Command:
    @click.command(verb, help=explained)
    @server_options
    def command(server: str, token_file: Path | None) -> None:
        click.echo(client(server, token_file).act(verb) or done)

    return command


pause = _simple("pause", "paused", "Stop moving rows; progress is kept, also over restarts.")
resume = _simple("resume", "resumed", "Resume after a pause.")


@click.command()
@click.option("--withdraw", "withdraws", is_flag=True, help="Withdraw the approval instead, as ferry withdraw does.")
@server_options
def cutover(*, withdraws: bool, server: str, token_file: Path | None) -> None:
    """Approve the cutover: writes move to the target as soon as every gate is passed."""
    verb, done = ("withdraw", "approval withdrawn") if withdraws else ("cutover", "cutover approved")
    click.echo(client(server, token_file).act(verb) or done)


withdraw = _simple(
    "withdraw", "approval withdrawn", "Withdraw the approval of the cutover; a running attempt finishes first."
)


@click.command()
@click.option(
    "-f",
    "--file",
    "files",
    type=inputs.FilePath,
    multiple=True,
    metavar="FILE",
    help="Manifest, for a Ferry that does not run.",
)
@click.option("--secrets-dir", type=inputs.FilePath, metavar="DIR", help="As for ferry run; with -f.")
@inputs.state_option
@inputs.termination_log_option
@server_options
def abort(
    *,
    files: tuple[Path, ...],
    secrets_dir: Path | None,
    state: Path | None,
    termination_log: Path | None,
    server: str,
    token_file: Path | None,
) -> ExitCode:
    """Stop permanently, allow writes on the source again, keep the target. With -f it also works if nothing runs."""
    _refuse_mixed(offline=bool(files))
    if files:
        _say(offline.abort(files, secrets_dir, state), termination_log)
    else:
        click.echo(client(server, token_file).act("abort") or "aborted")
    return ExitCode.DONE


def _refuse_mixed(*, offline: bool) -> None:
    """Refuse an option that belongs to the other kind of abort and would otherwise be ignored."""
    given = click.get_current_context().get_parameter_source
    others = ("server", "token_file") if offline else ("state", "secrets_dir", "termination_log")
    wrong = [f"--{name.replace('_', '-')}" for name in others if given(name) is ParameterSource.COMMANDLINE]
    if wrong and offline:
        raise ConfigError(
            Reason.USAGE,
            f"{' and '.join(wrong)}: for a Ferry that runs, -f for one that does not: abort -f does not use a "
            f"ControlServer; leave one of them out",
        )
    if wrong:
        raise ConfigError(Reason.USAGE, f"{' and '.join(wrong)} goes with -f, for a Ferry that does not run")


@click.command()
@inputs.manifest_options
@inputs.state_option
@inputs.termination_log_option
def cleanup(
    *, files: tuple[Path, ...], secrets_dir: Path | None, state: Path | None, termination_log: Path | None
) -> ExitCode:
    """Release the target: stop older runs, remove this Ferry's records there. The record of a cutover stays."""
    _say(offline.cleanup(files, secrets_dir, state), termination_log)
    return ExitCode.DONE


def _say(outcome: Outcome, termination_log: Path | None) -> None:
    write_outcome(termination_log, outcome)
    click.echo(str(outcome))
