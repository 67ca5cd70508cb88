"""What is left open on a session: a transaction, a lock, a setting that could not be set back.

Whoever shares sessions asks before the next thread gets one (``workers.source_sessions``). The server says with each
answer whether a transaction is open. It says nothing of locks, so the statements that take them are noted before they
are sent: if one fails, more is said to be open than is.
"""

_TABLES = b"LOCK TABLES"
_NO_TABLES = b"UNLOCK TABLES"
_LOCK = b"SELECT GET_LOCK("
_NO_LOCK = b"SELECT RELEASE_LOCK("


class LeftOpen:
    """Of one session, and as little thread-safe."""

    def __init__(self) -> None:
        self.settings: list[str] = []
        """Those that were changed for a while and are not set back yet."""
        self._tables = False
        self._locks = 0

    def sent(self, statement: bytes) -> None:
        """Call it before each statement is sent."""
        if statement.startswith((_TABLES, _NO_TABLES)):
            self._tables = statement.startswith(_TABLES)
        elif statement.startswith(_LOCK):
            self._locks += 1
        elif statement.startswith(_NO_LOCK):
            self._locks = max(0, self._locks - 1)

    def told(self, *, transaction: bool) -> str:
        """What is open, for people; empty if nothing is. ``transaction``: what the server's last answer says."""
        found = ["a transaction"] if transaction else []
        found += ["table locks"] if self._tables else []
        found += ["an advisory lock"] if self._locks else []
        return ", ".join([*found, *(f"another {setting}" for setting in self.settings)])
