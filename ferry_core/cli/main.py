"""The ``ferry`` command: its list of subcommands. Started by ``ferry_core.__main__``."""

import importlib

import click

from ferry_core import __version__
from ferry_core.cli.group import FerryGroup

COMMANDS = {
    "run": ("run", "run"),
    "check": ("check", "check"),
    "status": ("verbs", "status"),
    "tables": ("verbs", "tables"),
    "pause": ("verbs", "pause"),
    "resume": ("verbs", "resume"),
    "throttle": ("verbs", "throttle"),
    "cutover": ("verbs", "cutover"),
    "abort": ("verbs", "abort"),
    "verify": ("verbs", "verify"),
    "cleanup": ("verbs", "cleanup"),
    "copier": ("copier", "copier"),
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
        command = getattr(importlib.import_module(f"ferry_core.cli.{place[0]}"), place[1])
        assert isinstance(command, click.Command)
        return command


@click.group(
    name="ferry", cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120}
)
@click.version_option(__version__, prog_name="ferry")
def main() -> None:
    """Move selected tables from one live MySQL or MariaDB server to another, with seconds of write downtime.

    Exit codes: 0 done, 64 bad manifest, credentials or server settings, 65 data error, 75 temporary, 143 terminated.
    """
