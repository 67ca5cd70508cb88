"""The error tree: every expected failure of the engine is raised as one of these classes.

    FerryError                    reason, message, exit code; server, error number and statement from a server
     ├── RetriableError           the same step may be retried, in place or by a restart                (75)
     │    ├── ConnectionLost      a session broke; on the target its transaction may still commit
     │    │    └── OtherServer    the address leads to another server, perhaps only for a moment
     │    ├── ServerRestarted     resume from the checkpoint: what is known of the server may be outdated
     │    ├── KeyUnusable         resume from the checkpoint: a table's rows can no longer be named
     │    ├── LoginRefused        a server that accepted our login before: the password is being changed
     │    ├── LockConflict        deadlock or lock wait: the statement was rolled back
     │    ├── Interrupted         this run killed the step for a pause or a stop
     │    ├── TooLarge            the selection does not fit one packet: ask for less
     │    └── ResourceExhausted   disk full and the like: a server refuses for now
     ├── TerminalError            never retried; a person must change something
     │    ├── ConfigError         manifest, credentials, preflight                                      (64)
     │    └── DataError           rows, schema, binlog                                                  (65)
     ├── AmbiguousError           it is unknown whether a step took effect; never retried automatically (65)
     ├── Fenced                   a newer run owns the target: this one must not write again            (65)
     └── Terminated               asked to stop                                                         (143)

Code decides by class and fields. ``message`` is for people: what is wrong, where, and what to do about it.
This module is below all others except ``reasons``, so that the API models may use it too.
"""

from enum import IntEnum, StrEnum

from ferry_core.reasons import Reason

STATEMENT_SHOWN = 200
"""Number of characters of a statement that a message shows."""


class ExitCode(IntEnum):
    """Exit codes of the ``ferry`` command. They are API: an orchestrator decides by them whether to start it again.

    The names follow sysexits.h where one fits.
    """

    DONE = 0
    CONFIG = 64  # the manifest, a credential or a server's setting must change first
    DATA = 65  # rows, schema or binlog make it wrong to continue; a person must look
    TEMPORARY = 75  # a restart resumes from the checkpoint
    TERMINATED = 143  # SIGTERM or SIGINT: saved a checkpoint and ended


class ServerRole(StrEnum):
    """A server of a Ferry, by the name that spec and messages use."""

    SOURCE = "source"
    TARGET = "target"
    REPLICA = "replica"  # of one of the two; only watched
    PRIMARY = "primary"  # of a source that is a replica; its writes are stopped at the cutover


class FerryError(Exception):
    """Base class: has a stable reason and a message for people."""

    exit_code = ExitCode.TEMPORARY

    def __init__(
        self, reason: Reason, message: str, *, server: ServerRole | None = None, code: int = 0, statement: str = ""
    ) -> None:
        """``code`` is the server's error number, ``statement`` the statement that it refused, shown after the
        message.
        """
        super().__init__(reason, message)
        self.reason = reason
        self.server = server
        self.code = code
        self.statement = statement
        self.problem = message
        """The message without the statement."""
        self.message = f"{message}; statement: {_beginning(statement)}" if statement else message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    def add(self, text: str) -> None:
        """Append text to the message."""
        self.message += text


def _beginning(statement: str) -> str:
    return statement if len(statement) <= STATEMENT_SHOWN else f"{statement[:STATEMENT_SHOWN]} ..."


class RetriableError(FerryError):
    """The same step may be tried again."""


class ConnectionLost(RetriableError):
    """A session broke. An unanswered statement may or may not have taken effect."""


class OtherServer(ConnectionLost):
    """An address leads to another server, where nothing was asked. It may lead back in a moment."""

    def for_good(self) -> "DataError":
        """The same error for a run that ends by it: a restart would only reach that server again."""
        return DataError(self.reason, self.message, server=self.server)


class ServerRestarted(RetriableError):
    """A server was restarted: no step may be retried, the run has to resume from its checkpoint."""


class KeyUnusable(RetriableError):
    """A key that holds only under a condition (``tables.nullable``) no longer names every row: resume without it."""

    def __init__(self, reason: Reason, message: str, table: str) -> None:
        """``table`` is its id."""
        super().__init__(reason, message)
        self.table = table


class LoginRefused(RetriableError):
    """A server that accepted this run's login before refuses it now: a new password has reached only one side so
    far.
    """


class LockConflict(RetriableError):
    """Deadlock or lock wait timeout (MySQL errors 1213, 1205): the server rolled back."""


class Interrupted(RetriableError):
    """This run itself killed the statement (pause, stop): redo it later."""


class TooLarge(RetriableError):
    """The text of a selection does not fit max_allowed_packet: split it."""


class ResourceExhausted(RetriableError):
    """A server is out of disk space or the like (MySQL errors 1021, 1114, 3675 and so on)."""


class TerminalError(FerryError):
    """Never retried."""


class ConfigError(TerminalError):
    """The user must change something in the manifest or on a server first."""

    exit_code = ExitCode.CONFIG


class DataError(TerminalError):
    """Continuing would lose or falsify rows."""

    exit_code = ExitCode.DATA
    changed: frozenset[str] = frozenset()
    """Ids of the tables whose definition or rows were replaced, if that is the reason: they could be copied again."""
    appeared: frozenset[str] = frozenset()
    """Ids of new tables that the run copies too once it begins again, if that is the reason."""


class AmbiguousError(FerryError):
    """It is unknown whether a step took effect: a person decides."""

    exit_code = ExitCode.DATA


class Fenced(FerryError):
    """A newer run took the next epoch."""

    exit_code = ExitCode.DATA


class Terminated(FerryError):
    """Asked to stop by signal or by the stop verb."""

    exit_code = ExitCode.TERMINATED
