"""One connection with every relevant session variable set (``settings``).

A session belongs to one thread at a time. Other threads may only read ``connection_id`` (to kill what runs on it).
Values are returned as bytes or None: no column value is ever decoded here. Errors are raised as values of ``errors``.
"""

import re
import socket
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any, Self

from pymysql import err
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from ferry_core.errors import ConfigError, ConnectionLost, DataError, FerryError, Interrupted, RetriableError
from ferry_core.mysql import catalogue
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.faults import classify, files_are_refused, unreachable
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.guarded import malformed
from ferry_core.mysql.identity import COLUMNS, ServerIdentity
from ferry_core.mysql.left_open import LeftOpen
from ferry_core.mysql.settings import session_settings
from ferry_core.mysql.tls_probe import wants_tls
from ferry_core.mysql.upload import UploadConnection
from ferry_core.mysql.version import ServerVersion
from ferry_core.mysql.warned import UNLISTED, LoadResult, Warned, warned
from ferry_core.reasons import Reason

Row = tuple[bytes | None, ...]

DEPRECATIONS = frozenset({1287, 1681, 3719, 3778})
"""Deprecation warnings, which say nothing about the rows. _utf8mb3 before a key's literal causes one on MySQL 9.7, and
so does utf8, which row filters and definitions may have.
"""
MOST_WARNINGS = 65535
"""Maximum that the protocol can count."""
NO_LIMITS = (
    f"SESSION sql_select_limit = {(1 << 64) - 1}, SESSION sql_big_selects = 1 "
    "/*!50708 , SESSION max_execution_time = 0 */ /*M!100101 , SESSION max_statement_time = 0 */"
)
"""Removes limits with one SET that works on both families (each sees the other's part as a comment).

Sent before any query.
"""
LIFT_ATTEMPTS = 20


class Purpose(Enum):
    """The purpose of a session decides its character sets and isolation level."""

    SOURCE = "source"  # renders rows; literals are binary, so QUOTE accepts any bytes
    SOURCE_TEXT = "source-text"  # the same with a row filter; literals are utf8mb4, as the filter's author meant them
    TARGET = "target"
    CONTROL = "control"  # short administrative statements, text in utf8mb4


class Session:
    """An open, configured connection; ``close`` never raises."""

    def __init__(
        self,
        endpoint: Endpoint,
        purpose: Purpose,
        *,
        connect_timeout: float = 10,
        read_timeout: float = 300,
        extra: Mapping[str, str] | None = None,
        opening: Callable[["Session"], None] | None = None,
    ) -> None:
        """``opening`` receives the session before it connects, so that another thread can ``abort`` even the
        connect.
        """
        self.endpoint = endpoint
        self.purpose = purpose
        self.connection_id = 0
        """0 until the connection is open."""
        self._left = LeftOpen()
        try:
            self._connection = UploadConnection(
                **endpoint.login,
                charset="utf8mb4",
                use_unicode=False,
                conv={},
                autocommit=None,
                local_infile=purpose is Purpose.TARGET,
                max_allowed_packet=1 << 30,
                connect_timeout=connect_timeout,
                read_timeout=read_timeout,
                write_timeout=read_timeout,
                ssl=endpoint.tls,
                ssl_disabled=endpoint.tls is None,
                tls_optional=not endpoint.tls_required,
                defer_connect=True,
            )
            if opening is not None:
                opening(self)
            self._connection.connect()
        # RuntimeError: a login method that PyMySQL does not support
        except (err.MySQLError, OSError, RuntimeError) as error:
            found = unreachable(error, endpoint)
            raise (wants_tls(endpoint) if found.reason == Reason.ACCESS_DENIED else None) or found from error
        try:
            self._introduce(dict(extra or {}))
        except BaseException:
            self.close()
            raise

    def _introduce(self, extra: dict[str, str]) -> None:
        """Remove the limits first, because they would truncate any answer.

        Then check which server answers, before anything else.
        """
        endpoint = self.endpoint
        self._lift_limits()
        row = self.row(f"SELECT CONNECTION_ID(), VERSION(), {COLUMNS}", 4)
        try:
            number, version, name, start = ((value or b"").decode() for value in row)
            self.connection_id = int(number)
        except ValueError as error:
            raise self._malformed("it does not say who it is") from error
        self.version = ServerVersion(version)
        self.identity = ServerIdentity(name, start)
        endpoint.check(self.identity)
        binary, target = self.purpose in (Purpose.SOURCE, Purpose.TARGET), self.purpose is Purpose.TARGET
        settings = session_settings(self.version, binary=binary, target=target) | extra
        self.sql_mode = settings["sql_mode"].strip("'")
        """The session's default sql_mode."""
        self._set({"max_error_count": str(MOST_WARNINGS)} | settings, settings)
        if endpoint.tls_required and not self.row("SHOW SESSION STATUS LIKE 'Ssl_cipher'", 2)[1]:
            raise ConfigError(
                Reason.TLS_NOT_OFFERED,
                f"{endpoint.where} does not offer TLS and the Ferry's tls.mode requires it; "
                "enable TLS on the server or set tls.mode: Preferred",
                server=endpoint.role,
            )

    @property
    def flavor(self) -> Flavor:
        return self.version.flavor

    def _lift_limits(self) -> None:
        """Remove the limits. MariaDB's statement time limit can interrupt even this statement, so it is retried."""
        interrupted, often = retry_if_exception_type(Interrupted), stop_after_attempt(LIFT_ATTEMPTS)
        Retrying(retry=interrupted, stop=often, reraise=True)(self.execute, f"SET {NO_LIMITS}")

    def _set(self, wished: Mapping[str, str], needed: Mapping[str, str]) -> None:
        """Set all of ``wished`` if the account may, otherwise ``needed``.

        Thousands of deprecation warnings should not push an important one off the list, but MySQL lets only accounts
        with SESSION_VARIABLES_ADMIN lengthen the list. ``warnings`` reports when it was too short.
        """
        try:
            self.execute("SET " + ", ".join(f"SESSION {name} = {value}" for name, value in wished.items()))
        except ConfigError as error:
            if error.reason != Reason.MISSING_PRIVILEGE or wished == needed:
                raise
            self._set(needed, needed)

    def query(self, statement: str | bytes) -> list[Row]:
        """All rows of one statement, values as the server sent them.

        An answer of information_schema is complete or an error.
        """
        self.execute(statement)
        rows = self.fetched()
        if self.warning_count and catalogue.is_asked(statement):
            return catalogue.whole(self, statement, rows)
        return rows

    def fetched(self) -> list[Row]:
        """The rows of the last ``execute``."""
        connection: Any = self._connection
        return list(connection._result.rows or ())  # noqa: SLF001 - a cursor would decode and copy

    def named(self, statement: str) -> list[dict[str, str | None]]:
        """The same as text by the names of the columns, for statements whose columns differ between versions."""
        rows = self.query(statement)
        connection: Any = self._connection
        names = [field.name for field in connection._result.fields or ()]  # noqa: SLF001 - as above
        texts = ([None if value is None else value.decode("utf-8", "replace") for value in row] for row in rows)
        return [dict(zip(names, row, strict=True)) for row in texts]

    def row(self, statement: str | bytes, columns: int) -> Row:
        """These first columns of the first row. An answer without them is not MySQL's (AnswerMalformed)."""
        rows = self.query(statement)
        if not rows or len(rows[0]) < columns:
            raise self._malformed(f"no row of {columns} columns where one was due")
        return rows[0][:columns]

    def value(self, statement: str | bytes) -> bytes | None:
        """The first column of the only row."""
        rows = self.query(statement)
        if len(rows) != 1 or not rows[0]:
            raise self._malformed(f"{len(rows)} rows where one was due")
        return rows[0][0]

    def text(self, statement: str) -> str:
        """``value`` as text; NULL is the empty string."""
        try:
            return (self.value(statement) or b"").decode()
        except UnicodeDecodeError as error:
            raise self._malformed("text that is not UTF-8") from error

    def number(self, statement: str) -> int:
        """``value`` as an integer; NULL is 0."""
        try:
            return int(self.value(statement) or 0)
        except ValueError as error:
            raise self._malformed("a text where a number was due") from error

    def execute(self, statement: str | bytes, shown: str = "") -> int:
        """Run one statement; returns the affected rows. Text may hold bytes, decoded with ``surrogateescape``.

        ``shown``: the part that an error may show, if the statement holds values of rows.
        """
        raw = statement.encode("utf-8", "surrogateescape") if isinstance(statement, str) else statement
        self._left.sent(raw)
        with self._errors(shown.encode() if shown else raw if isinstance(statement, str) else raw[:400]):
            return int(self._connection.query(raw))

    def stream(self, statement: str) -> Generator[Row]:
        """The rows of one statement as they come, so that any number fits. Left before its end the session is closed.

        ``warnings`` speaks of the statement after its last row.
        """
        raw = statement.encode("utf-8", "surrogateescape")
        with self._errors(raw):
            yield from self._connection.stream(raw)

    @contextmanager
    def _errors(self, statement: bytes) -> Iterator[None]:
        """What the driver raises, as values of ``errors``."""
        try:
            yield
        except (err.MySQLError, OSError, AttributeError, ValueError) as error:
            if isinstance(error, AttributeError | ValueError):
                # PyMySQL raises odd errors when another thread has shut its socket.
                raise ConnectionLost(
                    Reason.CONNECTION_LOST, f"{self.endpoint.where}: closed", server=self.endpoint.role
                ) from error
            raise classify(error, self.endpoint, statement.decode("utf-8", "replace")) from error

    def _malformed(self, problem: str) -> FerryError:
        return classify(malformed(problem), self.endpoint)

    @property
    def closed(self) -> bool:
        """Whether this end has closed it."""
        return not self._connection.open

    def takes_files(self) -> bool:
        """Whether the server accepts LOAD DATA LOCAL now, as far as is known."""
        known = self.endpoint.known
        if known is not None and known.refuses_files:
            return False
        return self.number("SELECT @@GLOBAL.local_infile") == 1

    def load(self, statement: str, payload: bytes) -> LoadResult:
        """Run LOAD DATA LOCAL with ``payload`` as the content of the file.

        A refusal is as if the connection were lost: new sessions know of it, and send rows in another way.
        """
        self._connection.payload = payload
        try:
            self.execute(statement)
        except DataError as error:
            known = self.endpoint.known
            if known is None or not files_are_refused(error):
                raise
            known.refuses_files = True
            raise ConnectionLost(
                Reason.LOCAL_INFILE_DISABLED,
                f"{error.message}; rows are sent as REPLACE ... VALUES from now on",
                server=error.server,
                code=error.code,
            ) from error
        finally:
            self._connection.payload = None
        # The message starts with a length byte, so it is not split. lc_messages sets its language.
        counts = {word: int(number) for word, number in re.findall(rb"([A-Z][a-z]+): (\d+)", self._connection.message)}
        if len(counts) < len(LoadResult.__dataclass_fields__):
            raise self._malformed("no counts of loaded rows")
        return LoadResult(counts[b"Records"], counts[b"Deleted"], counts[b"Skipped"], counts[b"Warnings"])

    def refuse_restarted(self) -> None:
        """Raise ServerRestarted if the server restarted before this session was opened.

        Call it before steps that must not follow a restart.
        """
        if self.endpoint.known is not None:
            self.endpoint.known.refuse_restarted()

    @property
    def warning_count(self) -> int:
        """Number of warnings of the last statement, without asking the server."""
        return int(self._connection.warning_count)

    def warnings(self) -> list[Warned]:
        """SHOW WARNINGS of the last statement without deprecations. Asks the server only if there are any."""
        count = self.warning_count
        if not count:
            return []
        rows = self.query("SHOW WARNINGS")
        found = [warned((a or b"").decode(), int(b or 0), (c or b"").decode("utf-8", "replace")) for a, b, c in rows]
        if count > len(found) or count == MOST_WARNINGS:
            advice = "grant SESSION_VARIABLES_ADMIN to the account or raise the server's max_error_count"
            message = f"{count} warnings, of which the server lists {len(found)}: {advice}"
            found.append(Warned("Warning", UNLISTED, message))
        return [warned for warned in found if warned.code not in DEPRECATIONS]

    @contextmanager
    def changed(self, setting: str, value: int) -> Iterator[None]:
        """While entered, a setting that is a number has this value."""
        usual = self.number(f"SELECT @@SESSION.{setting}")
        self._left.settings.append(setting)
        self.execute(f"SET SESSION {setting} = {value}")
        try:
            yield
        finally:
            with suppress(RetriableError):  # a lost connection has raised already
                self.execute(f"SET SESSION {setting} = {usual}")
                self._left.settings.remove(setting)

    @property
    def left_open(self) -> str:
        """What keeps it from being used for something else; empty if nothing does. The server is not asked."""
        return self._left.told(transaction=self._connection.in_transaction)

    def begin(self) -> None:
        self.execute("START TRANSACTION")

    def commit(self) -> None:
        self.execute("COMMIT")

    def rollback(self) -> None:
        self.execute("ROLLBACK")

    def abort(self) -> None:
        """Break the socket from another thread: the owner's statement fails with ConnectionLost at once."""
        sock = getattr(self._connection, "_sock", None)
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # already closed by its owner: nothing runs on it

    def answers_within(self, seconds: float) -> None:
        """From now on an answer may take that long."""
        connection: Any = self._connection
        connection._read_timeout = seconds  # noqa: SLF001 - PyMySQL reads it before each answer

    def answers(self, seconds: float) -> bool:
        """Whether the connection still works. If not, it is of no more use."""
        connection: Any = self._connection
        usual = connection._read_timeout  # noqa: SLF001 - as above
        self.answers_within(seconds)
        try:
            self.execute("DO 1")
        except FerryError:
            return False
        finally:
            self.answers_within(usual)
        return True

    def close(self) -> None:
        """Close without a COM_QUIT, which could block."""
        connection: Any = self._connection
        connection._force_close()  # noqa: SLF001 - close() would write to a possibly dead socket

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
