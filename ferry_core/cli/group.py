"""The click group of ``ferry``: every exit of a command has an exit code of the contract and prints at most one line.

click's own behaviour (exit code 2 for usage errors, tracebacks for other errors) is not part of the contract. Used by
``main``.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from ferry_core.cli.output import Output
from ferry_core.errors import ConfigError, ExitCode, FerryError
from ferry_core.reasons import Reason


class FerryGroup(click.Group):
    """Commands return an ExitCode or None, and raise FerryError."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run a command and exit with its exit code. Commands find the Output as click's context object."""
        out = Output()
        extra = {**extra, "standalone_mode": False, "obj": out}
        run = super().main
        sys.exit(guarded(out, lambda: run(args, prog_name or "ferry", **extra)))


def guarded(out: Output, command: Callable[[], object]) -> int:
    """Run ``command``, print its error, and return the exit code."""
    try:
        code = command()
    except FerryError as error:
        out.failure(error)
        return int(error.exit_code)
    except click.ClickException as error:
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            click.echo(error.format_message(), err=True)
        else:
            out.failure(_usage(error))
        return ExitCode.CONFIG
    except (click.Abort, KeyboardInterrupt):
        out.notice("interrupted")
        return ExitCode.TERMINATED
    except SystemExit:
        # click exits like this when the reader of stdout has closed it (ferry tables | head); nothing else here does.
        return ExitCode.DONE
    except Exception as error:  # noqa: BLE001 - the last resort: a user gets a line, not a traceback
        out.crash(error)
        return ExitCode.TEMPORARY
    return int(code) if isinstance(code, int) else ExitCode.DONE


def _usage(error: click.ClickException) -> FerryError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "ferry"
    return ConfigError(Reason.USAGE, f"{error.format_message().rstrip('.')}; see {path} --help")
