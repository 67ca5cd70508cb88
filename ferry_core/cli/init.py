"""``ferry init``: asks two servers what is there, and writes a commented manifest that ``ferry check`` accepts.

On a terminal it asks for what no option gives. In a pipe it asks nothing, and names the option that is missing.
"""

import contextlib
import dataclasses
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferry_core.cli import inputs
from ferry_core.cli.draft import Draft, Login, text_of
from ferry_core.cli.output import Output
from ferry_core.cli.units import count, size
from ferry_core.errors import ConfigError, ExitCode
from ferry_core.preflight.result import CheckResult, Status
from ferry_core.reasons import Reason
from ferry_core.tables.patterns import exactly
from ferry_core.text import counted, shortlist

if TYPE_CHECKING:
    from ferry_core.manifest import LoadedFerry

DEFAULT_PORT = 3306
_LISTED = 20
_WHERE = "USER@HOST[:PORT]|USER@/SOCKET"


@click.command()
@click.option(
    "-f",
    "--file",
    type=inputs.FilePath,
    default=Path("ferry.yaml"),
    show_default=True,
    metavar="FILE",
    help="The manifest to write; it must not exist.",
)
@click.option("--source", metavar=_WHERE, help="The server to move from, and the Ferry's account there.")
@click.option("--target", metavar=_WHERE, help="The server to move to.")
@click.option(
    "--source-password-file", type=inputs.FilePath, metavar="FILE", help="Its password. Or set FERRY_SOURCE_PASSWORD."
)
@click.option(
    "--target-password-file", type=inputs.FilePath, metavar="FILE", help="Its password. Or set FERRY_TARGET_PASSWORD."
)
@click.option("--include", multiple=True, metavar="PATTERN", help="Tables to move, as schema.table; may be repeated.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Tables to leave out; may be repeated.")
@click.option("--name", help="Name of the Ferry; default: that of the first schema.")
@click.option("--namespace", default="default", show_default=True, help="Its namespace.")
@click.pass_obj
def init(
    out: Output,
    *,
    file: Path,
    source: str | None,
    target: str | None,
    source_password_file: Path | None,
    target_password_file: Path | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    name: str | None,
    namespace: str,
) -> ExitCode:
    """Ask two servers what is there, and write a manifest with comments."""
    if file.exists():
        raise _exists(file)
    source_login = _login("source", source, source_password_file)
    target_login = _login("target", target, target_password_file)
    everything = Draft(name or "ferry", namespace, source_login, target_login, ["*.*"])
    with _loaded(everything) as loaded:
        schemas = _show(loaded)
    patterns = include or _ask_for_schemas(schemas)
    draft = dataclasses.replace(everything, name=name or _name_from(patterns[0]), include=patterns, exclude=exclude)
    results = _check(draft)
    refused = {
        exactly(table): str(one.reason) for one in results if one.status is Status.FAILED for table in one.tables
    }
    _write(file, text_of(draft, sorted(refused.items())))
    _report(out, file, results)
    return ExitCode.DONE


# -- asking -----------------------------------------------------------------------------------------------------------


def _asks() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _login(role: str, given: str | None, password_file: Path | None) -> Login:
    if given is None:
        if not _asks():
            raise ConfigError(Reason.USAGE, f"give --{role} {_WHERE}; init asks questions on a terminal only")
        given = click.prompt(f"{role} (user@host, user@host:port or user@/path/of/socket)")
    user, _, path = given.partition("@/")
    if user and path:
        return Login("", DEFAULT_PORT, user, _password(role, given, password_file), socket=f"/{path}")
    user, _, address = given.rpartition("@")
    host, colon, port = address.rpartition(":")
    if not colon or (address.startswith("[") and address.endswith("]")):
        host, port = address, str(DEFAULT_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not user or not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(Reason.USAGE, f"--{role} {given} is not {_WHERE}; write for example ferry@db:3306")
    return Login(host, int(port), user, _password(role, given, password_file))


def _password(role: str, account: str, file: Path | None) -> str:
    variable = f"FERRY_{role.upper()}_PASSWORD"
    if file is not None:
        try:
            return file.read_text().removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            problem = getattr(error, "strerror", None) or "is not text"
            raise ConfigError(Reason.USAGE, f"--{role}-password-file {file}: {problem}") from error
    if variable in os.environ:
        return os.environ[variable]
    if not _asks():
        raise ConfigError(Reason.USAGE, f"give --{role}-password-file FILE, or set {variable}")
    answer: str = click.prompt(f"password of {account}", hide_input=True, default="", show_default=False)
    return answer


def _show(loaded: "LoadedFerry") -> list[str]:
    """Print what is on both servers; returns the source's schemas."""
    from ferry_core.cli.survey import survey

    found: list[list[str]] = []
    for endpoint in (loaded.source, loaded.target):
        seen = survey(endpoint)
        click.echo(f"{endpoint.where}: {seen.version}")
        for one in seen.schemas[:_LISTED]:
            click.echo(f"  {one.name}: {counted(one.tables, 'table')}, about {count(one.rows)} rows, {size(one.size)}")
        if len(seen.schemas) > _LISTED:
            click.echo(f"  and {len(seen.schemas) - _LISTED} more schemas")
        found.append([one.name for one in seen.schemas])
    return found[0]


def _ask_for_schemas(schemas: Sequence[str]) -> tuple[str, ...]:
    if not schemas:
        raise ConfigError(
            Reason.NOTHING_SELECTED,
            "the account sees no tables on the source; grant it SELECT on their schemas, or give --include",
        )
    if not _asks():
        raise ConfigError(Reason.USAGE, f"give --include 'SCHEMA.*'; there are: {shortlist(schemas, _LISTED)}")
    answer = click.prompt(
        "schemas to move, with commas between them", default=schemas[0] if len(schemas) == 1 else None
    )
    wanted = [word.strip() for word in answer.split(",") if word.strip()]
    unknown = [word for word in wanted if word not in schemas]
    if unknown or not wanted:
        raise ConfigError(
            Reason.USAGE, f"no such schema: {', '.join(unknown)}; there are: {shortlist(schemas, _LISTED)}"
        )
    return tuple(_all_of(schema) for schema in wanted)


def _all_of(schema: str) -> str:
    """The pattern for every table of the schema."""
    from ferry_core.tables.table import TableName

    return exactly(TableName(schema, "x")).removesuffix("x") + "*"


def _name_from(pattern: str) -> str:
    """A name that Kubernetes accepts."""
    schema = pattern.partition(".")[0].strip("`").lower()
    name = "".join(each if each.isascii() and each.isalnum() else "-" for each in schema).strip("-")
    return name[:40].strip("-") or "ferry"


# -- checking and writing ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _loaded(draft: Draft) -> Iterator["LoadedFerry"]:
    """The manifest as ``ferry check`` would read it, and a place for a state beside it."""
    from ferry_core.manifest import load

    with tempfile.TemporaryDirectory() as folder:  # readable by its owner alone
        manifest = Path(folder) / "ferry.yaml"
        manifest.write_text(text_of(draft))
        yield load([manifest])


def _check(draft: Draft) -> list[CheckResult]:
    """What ``ferry check`` would find."""
    from ferry_core.cli.preflight import preflight

    with _loaded(draft) as loaded:
        return preflight(loaded, loaded.files[0].with_suffix(".db"))


def _write(file: Path, text: str) -> None:
    """Readable by its owner alone, since it has the passwords; never over another file."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise _exists(file) from error
    except OSError as error:
        raise ConfigError(Reason.USAGE, f"{file}: {error.strerror}; give another --file") from error
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text)


def _exists(file: Path) -> ConfigError:
    return ConfigError(Reason.USAGE, f"{file} exists, and init overwrites no file; remove it or give another --file")


def _report(out: Output, file: Path, results: Sequence[CheckResult]) -> None:
    from ferry_core.cli.check import statements

    for one in results:
        if one.name == "sizes":
            click.echo(f"selected: {one.message}")
    failed = [one for one in results if one.status is Status.FAILED]
    others = [one for one in failed if one.reason != Reason.MISSING_PRIVILEGE]
    if others:
        click.echo("\nwill be refused, until it is fixed or left out:")
        for one in others:
            click.echo(f"  {one.server}: {one.reason}: {one.message}")
    click.echo("".join(statements(results)), nl=False)
    click.echo("")
    out.say(f"wrote {file}. Next: ferry check -f {file}")
