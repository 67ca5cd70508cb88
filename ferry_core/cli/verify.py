"""``ferry verify``: has a running Ferry compare its tables again and waits for that, or compares without a run."""

import time
from collections.abc import Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from ferry_core.api.control import PassAsked
from ferry_core.api.report import Phase, Report, Stage
from ferry_core.cli import inputs
from ferry_core.cli.client import ControlClient
from ferry_core.cli.verbs import client, server_options
from ferry_core.errors import ConfigError, ExitCode, FerryError
from ferry_core.reasons import Reason
from ferry_core.text import counted

LOOK_SECONDS = 0.5
DIFFER = (Reason.ROWS_DIFFER, Reason.TARGET_WRITTEN_BY_OTHERS)
"""Failures that say that rows differ."""
ENDED = (Stage.COMPLETED.value, Phase.FAILED.value, Phase.ABORTED.value)


@click.command()
@click.option(
    "-f",
    "--file",
    "files",
    type=inputs.FilePath,
    multiple=True,
    metavar="FILE",
    help="Manifest: compare its tables on both servers, without a run.",
)
@click.option("--secrets-dir", type=inputs.FilePath, metavar="DIR", help="As for ferry run; with -f.")
@server_options
@click.option("--full", is_flag=True, help="All tables; the default.")
@click.option("--table", "tables", multiple=True, metavar="SCHEMA.TABLE", help="Only this table; may be repeated.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the result of a run's pass.")
@click.option(
    "--settle",
    type=click.IntRange(0, 86400),
    default=6,
    show_default=True,
    metavar="SECONDS",
    help="How long a row has to stay different to count as different: more than a replication is behind. With -f.",
)
@click.option("--output", type=click.Choice(("text", "json")), default="text", show_default=True, help="With -f.")
def verify(
    *,
    files: tuple[Path, ...],
    secrets_dir: Path | None,
    server: str,
    token_file: Path | None,
    full: bool,
    tables: tuple[str, ...],
    wait: bool,
    settle: int,
    output: str,
) -> ExitCode:
    """Have a running Ferry compare its tables now; with -f compare those of a manifest, without a run.

    Exits with 0 if all rows are equal, also if a run has copied some again; with 65 if rows differ; with 75 if that is
    not known.

    With -f nothing tells whether a change is on its way: rows count as different if they stayed so for --settle
    SECONDS. That is right while nothing is written, or only by a replication that is less behind. While the source is
    written to, equal holds for no single moment. While a Ferry runs between the servers, ask it: leave -f out.
    """
    if full and tables:
        raise ConfigError(Reason.USAGE, "--full compares all tables, --table some: leave one of them out")
    _refuse_mixed(offline=bool(files))
    if files:
        return _compare(files, secrets_dir, tables, settle, output)
    control = client(server, token_file)
    before = control.status() if wait else None
    asked = control.ask_for_pass(tables)
    click.echo(asked.message)
    return ExitCode.DONE if before is None else _result(control, asked, before)


def _refuse_mixed(*, offline: bool) -> None:
    """Refuse an option that would be ignored."""
    given = click.get_current_context().get_parameter_source
    others = ("server", "token_file", "wait") if offline else ("secrets_dir", "settle", "output")
    wrong = [f"--{name.replace('_', '-')}" for name in others if given(name) is ParameterSource.COMMANDLINE]
    if wrong:
        fits = "is for a Ferry that runs; leave it or -f out" if offline else "goes with -f FILE"
        raise ConfigError(Reason.USAGE, f"{' and '.join(wrong)} {fits}")


def _compare(
    files: Sequence[Path], secrets_dir: Path | None, tables: Sequence[str], settle: int, output: str
) -> ExitCode:
    from ferry_core.admin.compare import compare
    from ferry_core.manifest import load

    found = compare(load(files, secrets_dir, to_run=False), tables, settle)
    click.echo(found.as_json() if output == "json" else found.as_text())
    if found.differing:
        return ExitCode.DATA
    return ExitCode.TEMPORARY if found.undecided or found.unfinished else ExitCode.DONE


def _result(control: ControlClient, asked: PassAsked, before: Report) -> ExitCode:
    earlier = before.verification.rows_differing if before.copier.epoch == asked.epoch else 0
    while True:
        report = _status(control)
        found = report.verification
        if report.failure is not None:
            click.echo(f"{report.failure.reason}: {report.failure.message}")
            return ExitCode.DATA if report.failure.reason in DIFFER else ExitCode.TEMPORARY
        if asked.epoch is not None and report.copier.epoch != asked.epoch:
            raise FerryError(
                Reason.VERIFICATION_UNFINISHED,
                "the run was started again before the pass ended, and does not know of it: ask again",
            )
        if found.requests_answered >= asked.request:
            differed = found.rows_differing - earlier
            equal = "source and target are equal"
            click.echo(f"copied {counted(differed, 'row')} again that differed; {equal}" if differed else equal)
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
