"""The ``ferry`` command: its list of subcommands. Started by ``ferry_core.__main__``."""

import importlib
from typing import NamedTuple

import click

from ferry_core import __version__
from ferry_core.cli.group import FerryGroup


class Place(NamedTuple):
    """Where a command is, and its line in ``ferry --help``, which must not import them all: 1.4 s instead of 0.15 s."""

    module: str
    name: str
    help: str


COMMANDS = {
    "init": Place("init", "init", "Ask two servers what is there, and write a manifest with comments."),
    "run": Place("run", "run", "Move the tables of a Ferry, or resume an earlier run of it."),
    "check": Place("check", "check", "Check a Ferry against its servers without moving anything."),
    "status": Place("verbs", "status", "Show the progress of a running Ferry."),
    "tables": Place("verbs", "tables", "Show the progress of each table."),
    "pause": Place("verbs", "pause", "Stop moving rows; progress is kept, also over restarts."),
    "resume": Place("verbs", "resume", "Resume after a pause."),
    "throttle": Place("throttle", "throttle", "Limit the copy to ROWS per second, or all rows by a signal."),
    "withdraw": Place("verbs", "withdraw", "Withdraw the approval of the cutover; a running attempt finishes first."),
    "cutover": Place(
        "verbs", "cutover", "Approve the cutover: writes move to the target as soon as every gate is passed."
    ),
    "abort": Place("verbs", "abort", "Stop permanently, allow writes on the source again, keep the target."),
    "verify": Place(
        "verify",
        "verify",
        "Have a running Ferry compare its tables now; with -f compare those of a manifest, without a run.",
    ),
    "cleanup": Place(
        "verbs",
        "cleanup",
        "Release the target: stop older runs, remove this Ferry's records there.",
    ),
    "completion": Place("completion", "completion", "Print the script that completes ferry in bash, zsh or fish."),
    "copier": Place("copier", "copier", "Run a Ferry under a Kubernetes operator."),
}


class _LazyGroup(FerryGroup):
    """Imports a command's module only when the command is used: importing the driver would double the time of
    ``--help``.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        command = getattr(importlib.import_module(f"ferry_core.cli.{place.module}"), place.name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.help) for name, place in COMMANDS.items()])


@click.group(
    name="ferry", cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120}
)
@click.version_option(__version__, prog_name="ferry")
def main() -> None:
    """Move selected tables from one live MySQL or MariaDB server to another, with writes blocked for a moment.

    Exit codes: 0 done, 64 bad manifest, credentials or server settings, 65 data error, 75 temporary, 143 terminated.
    """
