"""The error tree: every failure that the engine raises on purpose is one of these values.

    FerryError                    reason, message, exit code; server, code and statement where a server said it
     ├── RetriableError           the same step may be tried again, in place or by a restart       (75)
     │    ├── ConnectionLost      a session broke; on the target its transaction may still commit
     │    │    └── OtherServer    the address leads to another server, perhaps for a moment only
     │    ├── ServerRestarted     go on from the checkpoint: what is known of a server may not be so any more
     │    ├── LoginRefused        a server that let us in before: the password is being changed
     │    ├── LockConflict        deadlock or lock wait: the statement was rolled back
     │    ├── Interrupted         the step was killed by ourselves for a pause or a stop
     │    ├── TooLarge            the selection does not fit one packet: ask for less
     │    └── ResourceExhausted   disk full and the like: a server says no for now
     ├── TerminalError            never retried; a person must change something
     │    ├── ConfigError         manifest, credentials, preflight                                   (64)
     │    └── DataError           rows, schema, binlog                                               (65)
     ├── AmbiguousError           it is unknown whether a step took effect; never retried by itself  (65)
     ├── Fenced                   a newer run owns the target: this one must not write again         (65)
     └── Terminated               asked to stop                                                      (143)

Code decides by class and fields; ``message`` is for people alone: what is wrong, where, and what to do about it.
At the bottom beside ``reasons``, so that the contract may name them too.
"""

from enum import IntEnum, StrEnum

from ferry_core.reasons import Reason

STATEMENT_SHOWN = 200
"""Characters."""


class ExitCode(IntEnum):
    """How the ``ferry`` command ends: API, an orchestrator decides by it whether to start it again.

    The names follow sysexits.h where one fits.
    """

    DONE = 0
    CONFIG = 64  # the manifest, a credential or a server's setting must change first
    DATA = 65  # rows, schema or binlog make going on wrong; a person must look
    TEMPORARY = 75  # started again it goes on from the checkpoint
    TERMINATED = 143  # SIGTERM or SIGINT: checkpointed and left


class ServerRole(StrEnum):
    """Which server of a Ferry, as spec and messages call it."""

    SOURCE = "source"
    TARGET = "target"


class FerryError(Exception):
    """Base of all: carries a stable reason and a message for people."""

    exit_code = ExitCode.TEMPORARY

    def __init__(
        self, reason: Reason, message: str, *, server: ServerRole | None = None, code: int = 0, statement: str = ""
    ) -> None:
        """``code`` is the number of the server's error, ``statement`` what it refused: shown behind the message."""
        super().__init__(reason, message)
        self.reason = reason
        self.server = server
        self.code = code
        self.statement = statement
        self.problem = message
        """The message without the statement."""
        self.message = f"{message}; statement: {statement[:STATEMENT_SHOWN]}" if statement else message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    def add(self, text: str) -> None:
        """Say this as well, at the end of the message."""
        self.message += text


class RetriableError(FerryError):
    """The same step may be tried again."""


class ConnectionLost(RetriableError):
    """A session broke; what it had not yet answered may or may not have taken effect."""


class OtherServer(ConnectionLost):
    """An address leads to another server: nothing was asked there. It may lead back in a moment."""

    def for_good(self) -> "DataError":
        """The same, for a run that ends by it: it would only meet that server again."""
        return DataError(self.reason, self.message, server=self.server)


class ServerRestarted(RetriableError):
    """A server was restarted: no step may be tried again, the run has to go on from its checkpoint."""


class LoginRefused(RetriableError):
    """A server that let this run in before does not any more: a new password has reached one side only so far."""


class LockConflict(RetriableError):
    """Deadlock or lock wait timeout (MySQL errors 1213, 1205): the server rolled back."""


class Interrupted(RetriableError):
    """The statement was killed by this run itself (pause, stop): redo it later."""


class TooLarge(RetriableError):
    """A selection's rendering does not fit max_allowed_packet: split it."""


class ResourceExhausted(RetriableError):
    """A server is out of disk or the like (MySQL errors 1021, 1114, 3675 and so on)."""


class TerminalError(FerryError):
    """Never retried."""


class ConfigError(TerminalError):
    """Something the user wrote or set must change first."""

    exit_code = ExitCode.CONFIG


class DataError(TerminalError):
    """Going on would lose or falsify rows."""

    exit_code = ExitCode.DATA


class AmbiguousError(FerryError):
    """Unknown whether a step took effect: a person decides."""

    exit_code = ExitCode.DATA


class Fenced(FerryError):
    """A newer run took the next epoch."""

    exit_code = ExitCode.DATA


class Terminated(FerryError):
    """Asked to stop by signal or by the stop verb."""

    exit_code = ExitCode.TERMINATED
