"""``ferry check``: runs preflight alone and prints a table for people or JSON for programs. Moves nothing."""

import json
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Protocol

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ferry_core.cli import inputs
from ferry_core.cli.output import Output
from ferry_core.cli.preflight import preflight
from ferry_core.errors import ExitCode
from ferry_core.manifest import load
from ferry_core.reasons import Reason
from ferry_core.tables.patterns import exactly
from ferry_core.tables.table import TableName
from ferry_core.text import counted


class Result(Protocol):
    """A line of the table; preflight's CheckResult."""

    @property
    def name(self) -> str: ...
    @property
    def server(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def tables(self) -> Sequence[TableName]: ...
    @property
    def statement(self) -> str: ...
    @property
    def keys(self) -> Sequence[tuple[TableName, str]]: ...


_STYLES = {"passed": "green", "skipped": "magenta", "acknowledged": "cyan", "warning": "yellow", "failed": "bold red"}
"""By status, the least important first."""


@click.command()
@inputs.manifest_options
@inputs.state_option
@click.option("--output", type=click.Choice(("table", "json")), default="table", show_default=True)
@click.pass_obj
def check(
    out: Output, *, files: tuple[Path, ...], secrets_dir: Path | None, state: Path | None, output: str
) -> ExitCode:
    """Check a Ferry against its servers without moving anything. Exits with 0 if it can run, otherwise with 64."""
    loaded = load(files, secrets_dir)
    signal.signal(signal.SIGTERM, _leave)
    results = preflight(loaded, inputs.state_path(loaded.ferry, state))
    failed = [result for result in results if result.status == "failed"]
    if output == "json":
        click.echo(as_json(results, loaded.notices))
    else:
        for text in loaded.notices:
            out.notice(text)
        draw(results, Console(soft_wrap=False))
        click.echo(verdict(results))
        click.echo("".join([*statements(results), *without(results), *rules(results)]), nl=False)
    return ExitCode.CONFIG if failed else ExitCode.DONE


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Exit by an exception as for Ctrl-C, so that the trial schema is dropped."""
    raise KeyboardInterrupt


def as_json(results: Sequence[Result], notices: list[str]) -> str:
    """``{"passed": bool, "notices": [...], "checks": [...]}``."""
    checks = [
        {
            "name": one.name,
            "server": one.server,
            "status": str(one.status),
            "reason": one.reason,
            "message": one.message,
            "statement": one.statement,
            "exclude": [exactly(table) for table in one.tables],
        }
        for one in results
    ]
    passed = all(one.status != "failed" for one in results)
    return json.dumps({"passed": passed, "notices": notices, "checks": checks}, indent=2)


def draw(results: Sequence[Result], console: Console) -> None:
    """Failures come last, so that they are on screen when the command ends, those of one reason together.

    Checks that passed without a word, and those that could not run for the same reason, are only counted.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("STATUS", no_wrap=True)
    table.add_column("SERVER", no_wrap=True)
    table.add_column("CHECK: REASON AND FIX", overflow="fold")
    quiet = [one for one in results if one.status == "passed" and not one.message]
    if quiet:
        said = f"{counted(len(quiet), 'check')} with nothing to say (--output json lists them)"
        table.add_row(Text("passed", style=_STYLES["passed"]), Text("both"), Text(said))
    together = Counter(one.message for one in results if one.status == "skipped")
    for message, number in together.items():
        if number > 1:
            said = f"{number} checks could not run (--output json lists them): {message}"
            table.add_row(Text("skipped", style=_STYLES["skipped"]), Text("both"), Text(said))
    told = (one for one in results if one not in quiet and (one.status != "skipped" or together[one.message] == 1))
    for one in sorted(told, key=_last_if_failed):
        reason = "" if one.status == "passed" or one.reason == Reason.PASSED else f"{one.reason}: "
        detail = Text.assemble((one.name, "bold"), f": {reason}{one.message}")
        table.add_row(Text(str(one.status), style=_STYLES[str(one.status)]), Text(one.server), detail)
    console.print(table)


def _last_if_failed(one: Result) -> tuple[int, str]:
    return list(_STYLES).index(str(one.status)), one.reason if one.status == "failed" else ""


def statements(results: Sequence[Result]) -> Iterator[str]:
    """The SQL to run on each server, unwrapped so that it can be copied."""
    for server in ("source", "target"):
        lines = dict.fromkeys(one.statement for one in results if one.statement and one.server == server)
        if lines:
            yield f"\nrun on the {server}:\n"
            yield from (f"  {line};\n" for line in lines)


def without(results: Sequence[Result]) -> Iterator[str]:
    """The lines of the spec that leave out what fails."""
    tables = sorted({table for one in results if one.status == "failed" for table in one.tables})
    if tables:
        yield "to move the rest without what fails, add to spec.tables.exclude:\n"
        yield from (f"  - {json.dumps(exactly(table), ensure_ascii=False)}\n" for table in tables)


def rules(results: Sequence[Result]) -> Iterator[str]:
    """The lines of the spec by which tables without a key may have one."""
    keys = sorted({key for one in results for key in one.keys})
    if keys:
        yield "to copy tables in chunks instead of whole, if no value occurs twice, add to spec.tables.rules:\n"
        for table, column in keys:
            rule = {"match": exactly(table), "key": [column]}
            yield f"  - {json.dumps(rule, ensure_ascii=False)}\n"


def verdict(results: Sequence[Result]) -> str:
    """The last line: what to do next, and how many checks ended how."""
    by_status = {status: sum(1 for one in results if one.status == status) for status in _STYLES}
    left = f", {by_status['skipped']} could not run" if by_status["skipped"] else ""
    parts = {
        "passed": f"{by_status['passed']} passed",
        "warning": counted(by_status["warning"], "warning"),
        "acknowledged": f"{by_status['acknowledged']} acknowledged",
    }
    also = ", ".join(text for status, text in parts.items() if by_status[status])
    also = f" ({also})" if also else ""
    if by_status["failed"]:
        made = len(results) - by_status["skipped"]
        return f"{by_status['failed']} of {made} checks failed{left}: fix these, then run the check again{also}"
    return f"{counted(len(results), 'check')}, none failed{left}{also}"
