"""``ferry verify``: has a running Ferry compare its tables again, and waits for the result."""

import time
from pathlib import Path

import click

from ferry_core.api.report import Phase, Report, Stage
from ferry_core.cli.client import ControlClient
from ferry_core.cli.verbs import client, server_options
from ferry_core.errors import ExitCode, FerryError
from ferry_core.reasons import Reason

LOOK_SECONDS = 0.5
ENDED = (Stage.COMPLETED.value, Phase.FAILED.value, Phase.ABORTED.value)


@click.command()
@server_options
@click.option("--table", "tables", multiple=True, metavar="SCHEMA.TABLE", help="Only this table; may be repeated.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the result.")
def verify(server: str, token_file: Path | None, *, tables: tuple[str, ...], wait: bool) -> ExitCode:
    """Ask for a verification pass now.

    Exits with 0 if all rows are equal, perhaps because some were copied again, with 65 if rows differ.
    """
    control = client(server, token_file)
    before = control.status().verification.rows_differing if wait else 0
    asked = control.ask_for_pass(tables)
    click.echo(asked.message)
    return _result(control, asked.request, before) if wait else ExitCode.DONE


def _result(control: ControlClient, request: int, differing_before: int) -> ExitCode:
    while True:
        report = _status(control)
        found = report.verification
        if report.failure is not None:
            click.echo(f"{report.failure.reason}: {report.failure.message}")
            return ExitCode.DATA
        if found.requests_answered >= request:
            differed = found.rows_differing - differing_before
            equal = "source and target are equal"
            click.echo(f"{differed} rows differed and were copied again; {equal}" if differed else equal)
            return ExitCode.DONE
        if report.phase in ENDED:
            raise FerryError(Reason.VERIFICATION_UNFINISHED, f"the run ended before the pass did: {report.message}")
        time.sleep(LOOK_SECONDS)


def _status(control: ControlClient) -> Report:
    try:
        return control.status()
    except FerryError as error:
        error.add("; the pass had not ended yet: the run's last lines tell whether rows differ")
        raise
