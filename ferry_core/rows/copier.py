"""RowCopier: one call moves the rows of a selector from the source to the target, server to server.

The source renders the rows as load-file text in one SELECT, the copier passes the text on as opaque bytes, and the
target loads it in one fenced transaction. Used by copy workers (key ranges) and by the flusher (sets of changed keys).
What may run at the same time is decided by ``consistency``, not here.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from ferry_core.errors import ConnectionLost, DataError, TooLarge
from ferry_core.mysql.abandoned import end_abandoned, is_late
from ferry_core.mysql.session import Purpose, Session
from ferry_core.mysql.warned import UNLISTED, Warned
from ferry_core.reasons import Reason
from ferry_core.rows.big_rows import BIG_ROW, load_line
from ferry_core.rows.loading import LoadWarned, leniently, load, refused, shown
from ferry_core.rows.statements import Statements
from ferry_core.rows.target_keys import has_hash_unique, target_key_index
from ferry_core.tables.nullable import key_has_null, key_not_unique
from ferry_core.tables.table import KeyLiterals, KeySet, Selector, Table

log = logging.getLogger(__name__)

CUT = {1260, 1301}
"""GROUP_CONCAT was truncated, or a function's result exceeds max_allowed_packet: the rows do not fit."""
BATCH_BYTES = 32 << 20
"""Maximum text of one batch, whatever the servers accept. Rows that may be longer are copied as big rows."""


class FencedTransaction(Protocol):
    """Begins, checks the fence, commits at the end; rolls back on an exception."""

    def transaction(self, session: Session) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class CopyResult:
    """Result of one call."""

    rows_sent: int
    bytes_sent: int
    rows_asked: int  # number of keys in a key set, or of rows in a range
    deleted_missing: int
    json_changed: int  # rows whose JSON changes when its text is parsed
    read_seconds: float
    write_seconds: float
    missing: tuple[KeyLiterals, ...] = ()  # keys of a key set that the source did not return
    commit_seconds: float = 0.0  # of write_seconds; 0: nothing was written, or by several transactions


@dataclass(frozen=True)
class _Batch:
    """What the source returned."""

    rows: int  # number of rows without the big ones
    payload: bytes
    json_changed: int
    keys: frozenset[str]  # joined key literals of the small rows; for key sets only
    big: tuple[KeyLiterals, ...]
    hashes: frozenset[bytes]
    hashed: bool


class _Written(NamedTuple):
    """``commit_seconds`` is 0 if there was nothing to write."""

    deleted: int
    commit_seconds: float


class RowCopier:
    """Bound to one source and one target session, and so to one thread."""

    def __init__(
        self,
        source: Session,
        target: Session,
        fence: FencedTransaction,
        lock_clause: str = "",
        after_read: Callable[[], Session] | None = None,
    ) -> None:
        """``lock_clause`` is empty or `` LOCK IN SHARE MODE``, as required for visibility on this source.

        ``after_read`` gives the session to write in: the target has ended ``target`` if the source read for long.
        """
        self._source = source
        self._target = target
        self._after_read = after_read or (lambda: target)
        self._fence = fence
        self._lock = lock_clause
        packets = [session.number("SELECT @@max_allowed_packet") for session in (source, target)]
        self._packet = min(*packets, BATCH_BYTES)
        # MySQL does not limit GROUP_CONCAT by max_allowed_packet: without this a batch could be a gigabyte.
        source.execute(f"SET SESSION group_concat_max_len = {self._packet}")
        self._literals = not target.takes_files()
        self._statements: dict[Table, Statements] = {}
        self._hashed: set[Table] = set()
        self._index_names: dict[Table, str] = {}
        self._hash_unique: dict[Table, bool] = {}

    def copy(self, table: Table, selector: Selector) -> CopyResult:
        """Make the target's rows of ``selector`` equal to the source's current rows. TooLarge asks for a smaller
        selector.

        For a range, rows are only added and replaced; the stream reports deleted rows. For a key set, target rows that
        the source did not return are deleted, always before the load.
        """
        statements = self._statements_of(table)
        started = time.monotonic()
        batch = self._read(statements, selector)
        read = time.monotonic() - started
        try:
            written = self._write(statements, selector, batch)
        except LoadWarned as warned:
            if batch.hashed or not warned.excusable:
                raise refused(table, warned.warnings) from None
            # Only a batch that was read together with its hashes can prove that the warnings left the rows intact.
            self._hashed.add(table)
            return self.copy(table, selector)
        result = CopyResult(
            rows_sent=batch.rows,
            bytes_sent=len(batch.payload),
            rows_asked=len(selector.keys) if isinstance(selector, KeySet) else batch.rows + len(batch.big),
            deleted_missing=written.deleted,
            json_changed=batch.json_changed,
            read_seconds=read,
            write_seconds=time.monotonic() - started - read,
            missing=tuple(_missing(selector, batch)),
            commit_seconds=written.commit_seconds,
        )
        for key in batch.big:
            result = self._copy_big(statements, key, result)
        return result

    def _statements_of(self, table: Table) -> Statements:
        if table not in self._statements:
            text = self._source.purpose is Purpose.SOURCE_TEXT
            if table.row_filter and not text:
                raise AssertionError(f"{table.id} has a row filter: its source session must be SOURCE_TEXT")
            flavors = self._source.flavor, self._target.flavor
            self._statements[table] = Statements(table, *flavors, text, self._packet, self._literals)
        return self._statements[table]

    def _index(self, table: Table) -> str:
        if table not in self._index_names:
            self._index_names[table] = target_key_index(self._target, table)
        return self._index_names[table]

    def _isolate(self, table: Table) -> None:
        """Set the isolation level. MariaDB's REPLACE handles duplicates of a hash index correctly only with gap locks.

        Under READ COMMITTED it checks after the row is written (MDEV-37199), then replaces one of two rows by an UPDATE
        and fails with error 1062.
        """
        if table not in self._hash_unique:
            self._hash_unique[table] = has_hash_unique(self._target, table)
        if self._hash_unique[table]:
            self._target.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    # -- read -----------------------------------------------------------------------------------------------------

    def _read(self, statements: Statements, selector: Selector) -> _Batch:
        table, hashed = statements.table, statements.table in self._hashed
        with self._in_time(table):
            row = self._source.row(statements.source(selector, self._lock, hashed=hashed), 6)
        if warnings := self._source.warnings():
            self._refuse_cut(table, selector, warnings)
        total, payload, changed, keys, big, hashes = row
        big_keys = tuple(tuple(key.split(",")) for key in _split(big))
        if any("" in key or len(key) < len(table.key.columns) for key in big_keys):
            raise key_has_null(table)
        if table.key.promised and isinstance(selector, KeySet):
            named = {*_split(keys), *_split(big)}
            if len(named) < int(total or 0):
                raise key_not_unique(table)
        rows = int(total or 0) - len(big_keys)
        if rows and payload is None:
            raise AssertionError(f"{rows} rows of {table.id} without text and without a warning")
        return _Batch(
            rows=rows,
            payload=payload or b"",
            json_changed=int(changed or 0),
            keys=frozenset(_split(keys)),
            big=big_keys,
            hashes=frozenset((hashes or b"").split(b"\n")) - {b""},
            hashed=hashed,
        )

    @contextmanager
    def _in_time(self, table: Table) -> Iterator[None]:
        """The same read would take as long again: ask for fewer rows."""
        try:
            yield
        except ConnectionLost as error:
            if not is_late(error):
                raise
            end_abandoned(self._source)
            raise TooLarge(
                Reason.READ_TOO_SLOW,
                f"reading rows of {table.id} took too long: {error.message}; if it is a single row, see what the "
                "source waits for (SHOW PROCESSLIST), or make the row filter simpler",
            ) from error

    def _refuse_cut(self, table: Table, selector: Selector, warnings: Sequence[Warned]) -> None:
        if isinstance(selector, KeySet) and len(selector.keys) > 1 and any(one.code == UNLISTED for one in warnings):
            # MySQL warns about each literal of a deprecated character set (utf8mb3, ucs2) and lists 1024 warnings,
            # unless the account may raise that. Further warnings are only counted; with fewer keys they are all listed.
            raise TooLarge(Reason.WARNINGS_UNLISTED, f"{table.id}: {shown(warnings)}")
        if any(warned.code not in CUT for warned in warnings):
            raise DataError(
                Reason.SOURCE_WARNING, f"reading {table.id}: {shown(warnings)}; correct the rows or the filter"
            )
        if isinstance(selector, KeySet) and len(selector.keys) == 1:
            raise _too_large(table, selector.keys[0], shown(warnings))
        raise TooLarge(Reason.ROWS_TOO_LARGE, f"{table.id}: {shown(warnings)}")

    # -- write ----------------------------------------------------------------------------------------------------

    def _write(self, statements: Statements, selector: Selector, batch: _Batch) -> _Written:
        missing = _missing(selector, batch)
        if not missing and not batch.rows:
            return _Written(0, 0.0)
        deleted = 0
        self._target = self._after_read()
        self._isolate(statements.table)
        with leniently(self._target, batch.hashed):
            with self._fence.transaction(self._target):
                if statements.table.key.promised:  # nothing on the target makes REPLACE find these rows
                    self._delete(statements, selector)
                elif missing:
                    deleted = self._delete(statements, KeySet(tuple(missing)))
                if batch.rows:
                    self._load(statements, selector, batch)
                loaded = time.monotonic()
            commit_seconds = time.monotonic() - loaded
        return _Written(deleted, commit_seconds)

    def _delete(self, statements: Statements, selector: Selector) -> int:
        deleted = self._target.execute(statements.delete(selector, self._index(statements.table)))
        if warnings := self._target.warnings():
            raise refused(statements.table, warnings)
        return deleted

    def _load(self, statements: Statements, selector: Selector, batch: _Batch) -> None:
        warnings = load(self._target, statements, batch.payload, batch.rows, lenient=batch.hashed)
        if warnings:
            self._prove_equal(statements, selector, batch, warnings)

    def _prove_equal(
        self, statements: Statements, selector: Selector, batch: _Batch, warnings: Sequence[Warned]
    ) -> None:
        found = self._target.value(statements.target_hashes(selector, self._index(statements.table)))
        if self._target.warnings() or not batch.hashes.issubset((found or b"").split(b"\n")):
            raise LoadWarned(warnings)

    # -- big rows -------------------------------------------------------------------------------------------------

    def _copy_big(self, statements: Statements, key: KeyLiterals, before: CopyResult) -> CopyResult:
        """Copy one row in a transaction of its own. If the row no longer exists, delete it on the target."""
        table = statements.table
        try:
            with BIG_ROW:
                return self._copy_alone(statements, key, before, hashed=table in self._hashed)
        except LoadWarned as warned:
            if table in self._hashed or not warned.excusable:
                raise refused(table, warned.warnings) from None
            self._hashed.add(table)
            return self._copy_big(statements, key, before)

    def _copy_alone(self, statements: Statements, key: KeyLiterals, before: CopyResult, *, hashed: bool) -> CopyResult:
        table, selector = statements.table, KeySet((key,))
        started = time.monotonic()
        with self._in_time(table):
            rows = self._source.query(statements.raw_row(selector, self._lock, hashed=hashed))
        if warnings := self._source.warnings():
            self._refuse_cut(table, selector, warnings)
        if len(rows) > 1:
            raise key_not_unique(table)
        line = load_line(statements, rows[0][1:]) if rows else b""
        read = time.monotonic() - started
        keys = frozenset({",".join(key)} if rows else ())
        hashes = frozenset(digest for digest, *_ in rows if digest)
        batch = _Batch(len(rows), line, 0, keys, (), hashes, hashed)
        del rows
        try:
            written = self._write(statements, selector, batch)
        except TooLarge as error:  # of MySQL's JSON, which becomes text on the way, or of a REPLACE ... VALUES
            raise _too_large(table, key, error.message) from None
        return replace(
            before,
            rows_sent=before.rows_sent + batch.rows,
            bytes_sent=before.bytes_sent + len(line),
            deleted_missing=before.deleted_missing + written.deleted,
            read_seconds=before.read_seconds + read,
            write_seconds=before.write_seconds + time.monotonic() - started - read,
            missing=before.missing if batch.rows else (*before.missing, key),
        )


def _missing(selector: Selector, batch: _Batch) -> list[KeyLiterals]:
    """Requested keys that were not returned.

    If the server spells one differently, its row is deleted and loaded again.
    """
    if not isinstance(selector, KeySet):
        return []
    returned = batch.keys.union(",".join(key) for key in batch.big)
    return [key for key in selector.keys if ",".join(key) not in returned]


def _split(value: bytes | None) -> list[str]:
    return (value or b"").decode().split("\n") if value else []


def _too_large(table: Table, key: KeyLiterals, why: str) -> DataError:
    log.debug("the row of %s that does not fit has the key (%s)", table.id, ", ".join(key))
    return DataError(
        Reason.ROW_TOO_LARGE,
        f"a row of {table.id} does not fit: {why}; raise max_allowed_packet on both ends (its key is in the log at "
        "level debug)",
    )
