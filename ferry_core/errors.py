"""The error tree: every failure that the engine raises on purpose is one of these values.

    FerryError                    reason, message, exit code
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

``reason`` is CamelCase and stable: it is what conditions, events and tests name. ``message`` says what is wrong, where,
and how to mend it.
"""

from ferry_core.api.exit_codes import ExitCode


class FerryError(Exception):
    """Base of all: carries a stable reason and a message for people."""

    exit_code = ExitCode.TEMPORARY

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class RetriableError(FerryError):
    """The same step may be tried again."""


class ConnectionLost(RetriableError):
    """A session broke; what it had not yet answered may or may not have taken effect."""


class OtherServer(ConnectionLost):
    """An address leads to another server: nothing was asked there. It may lead back in a moment."""

    def for_good(self) -> "DataError":
        """The same, for a run that ends by it: it would only meet that server again."""
        return DataError(self.reason, self.message)


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
