"""The click group behind ``ferry``: every way out of a command is an exit code of the contract and at most one line.

click's own ways (exit 2 for usage, tracebacks for the rest) would be no API. Called by ``main``.
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
        """Run a command and leave with its exit code. Commands find the Output as click's context object."""
        out = Output()
        extra = {**extra, "standalone_mode": False, "obj": out}
        run = super().main
        sys.exit(guarded(out, lambda: run(args, prog_name or "ferry", **extra)))


def guarded(out: Output, command: Callable[[], object]) -> int:
    """The exit code of ``command``, having said what went wrong."""
    try:
        code = command()
    except FerryError as error:
        out.failure(error)
        return int(error.exit_code)
    except click.ClickException as error:
        out.failure(_usage(error))
        return ExitCode.CONFIG
    except (click.Abort, KeyboardInterrupt):
        out.notice("interrupted")
        return ExitCode.TERMINATED
    except SystemExit:
        # click's answer to a reader of stdout that has gone (ferry tables | head); nothing else here exits by itself.
        return ExitCode.DONE
    except Exception as error:  # noqa: BLE001 - the last resort: a user gets a line, not a traceback
        out.crash(error)
        return ExitCode.TEMPORARY
    return int(code) if isinstance(code, int) else ExitCode.DONE


def _usage(error: click.ClickException) -> FerryError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "ferry"
    return ConfigError(Reason.USAGE, f"{error.format_message().rstrip('.')}; see {path} --help")
