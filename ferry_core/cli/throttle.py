"""``ferry throttle``: changes what throttles a run while it runs. Options are named as fields of ``spec.throttle``."""

import json
from collections.abc import Sequence
from pathlib import Path

import click
from pydantic import JsonValue, ValidationError

from ferry_core.api.spec import Throttle
from ferry_core.cli.units import count
from ferry_core.cli.verbs import client, server_options
from ferry_core.errors import ConfigError, ServerRole
from ferry_core.reasons import Reason

OFF = "off"
SIGNALS = {
    "max_replica_lag": "maxReplicaLag",
    "max_commit_latency": "maxCommitLatency",
    "query": "query",
    "active_hours": "activeHours",
}
"""Options with one value."""


@click.command()
@server_options
@click.argument("rows", metavar="[ROWS|off]", required=False)
@click.option("--max-replica-lag", metavar="DURATION|off", help="As spec.throttle.maxReplicaLag.")
@click.option("--max-threads-running", multiple=True, metavar="SERVER=N|off", help="For source, target, or both.")
@click.option("--max-commit-latency", metavar="DURATION|off", help="As spec.throttle.maxCommitLatency.")
@click.option("--query", metavar="SQL|off", help="As spec.throttle.query.")
@click.option("--active-hours", metavar="HOURS|off", help="As spec.throttle.activeHours.")
def throttle(
    server: str, token_file: Path | None, rows: str | None, max_threads_running: tuple[str, ...], **signals: str | None
) -> None:
    """Limit the copy to ROWS per second, or all rows by a signal.

    off removes every limit that is not given with it. A signal's limit is removed by off as its value.
    """
    given: dict[str, JsonValue] = {
        field: None if signals[option] == OFF else signals[option]
        for option, field in SIGNALS.items()
        if signals[option] is not None
    }
    if rows is None and not given and not max_threads_running:
        raise ConfigError(Reason.USAGE, "give ROWS, off, or a limit such as --max-replica-lag 5s")
    if rows is not None and rows != OFF:
        given["maxRowsPerSecond"] = _number(rows)
    control = client(server, token_file)
    settings = control.settings()
    before = {} if rows == OFF else settings.throttle.model_dump(mode="json", by_alias=True, exclude_none=True)
    given |= _threads(before.get("maxThreadsRunning", {}), max_threads_running)
    wanted = _validated(before | given)
    control.change_settings(settings.model_copy(update={"throttle": wanted}))
    click.echo(described(wanted))


def _number(rows: str) -> int:
    if rows.isascii() and rows.isdigit() and int(rows) > 0:
        return int(rows)
    raise ConfigError(Reason.USAGE, f"ROWS must be a whole number above 0 or off, not {rows!r}; ferry pause stops all")


def _threads(before: dict[str, JsonValue], given: Sequence[str]) -> dict[str, JsonValue]:
    """The field maxThreadsRunning, if it changes."""
    if not given:
        return {}
    limits = dict(before)
    for text in given:
        server, _, limit = text.partition("=")
        if text == OFF:
            limits = {}
        elif server in (ServerRole.SOURCE, ServerRole.TARGET) and limit.isascii() and limit.isdigit():
            limits[server] = int(limit)
        elif server in (ServerRole.SOURCE, ServerRole.TARGET) and limit == OFF:
            limits.pop(server, None)
        else:
            raise ConfigError(Reason.USAGE, f"--max-threads-running {text}: give source=N, target=N or off")
    return {"maxThreadsRunning": limits or None}


def _validated(fields: dict[str, JsonValue]) -> Throttle:
    try:
        return Throttle.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(Reason.USAGE, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def described(throttle: Throttle) -> str:
    """Every limit that applies now."""
    fields = throttle.model_dump(mode="json", by_alias=True, exclude_none=True)
    rows = fields.pop("maxRowsPerSecond", None)
    said = ["no limit of rows/s" if rows is None else f"at most {count(rows)} rows/s"]
    for name, value in fields.items():
        parts = [f"{server} {limit}" for server, limit in value.items()] if isinstance(value, dict) else [str(value)]
        said.append(f"{name} {', '.join(parts)}")
    return "; ".join(said)
