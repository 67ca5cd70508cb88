"""WholeCopier: replaces all rows of a target table with the rows that the source's table has now.

For tables without a key. One streaming SELECT reads the source, so one read view; the target's table is emptied first,
then filled by one fenced transaction after another. In between it holds neither the old rows nor the new ones. Nothing
is lost by that: until the last transaction has committed the table counts as changed, in memory and in the checkpoint,
so a copy that ends early is repeated. No second table exists that a kill could leave behind, and indexes, constraints,
triggers and privileges stay as they are.

It has the interface of ``RowCopier``. ``CopySessions`` chooses it for tables with ``Table.whole``.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from ferry_core.errors import DataError, TooLarge
from ferry_core.mysql.idle import may_idle
from ferry_core.mysql.session import Purpose, Row, Session
from ferry_core.mysql.warned import Warned
from ferry_core.reasons import Reason
from ferry_core.rows.big_rows import load_line
from ferry_core.rows.copier import BATCH_BYTES, CopyResult, FencedTransaction
from ferry_core.rows.loading import LoadWarned, leniently, load, refused, shown
from ferry_core.rows.session_pair import SessionPair
from ferry_core.rows.statements import Statements
from ferry_core.tables.table import EVERY_ROW, KeyRange, Selector, Table

PART_BYTES = 8 << 20
"""Text of one transaction: as much as a chunk has."""
EMPTY_ROWS = 100_000
"""Rows that one DELETE removes. Transactions stay short, so that a successor's new epoch does not wait long.

But each DELETE passes all rows deleted before that an old reader on the target still sees: in steps of 20,000 it took
35 s to delete 524,288 rows.
"""


class Pacing(Protocol):
    """What may hold a copy back before it reads the source.

    Nothing may afterwards. Until its last row is sent, a SELECT of a table without transactions keeps every UPDATE and
    DELETE waiting, and on any table an ALTER, behind which all other statements wait.
    """

    def admit(self) -> float:
        """Block until rows may move; returns the seconds that this took."""

    def charge(self, rows: int) -> None:
        """Account for rows that moved: whatever asks later waits for them."""


class Unpaced:
    """No limits."""

    def admit(self) -> float:
        return 0.0

    def charge(self, rows: int) -> None:
        """Nobody counts them."""


@dataclass
class _Part:
    """Rows for one transaction."""

    rows: int
    payload: bytes


class _Reading:
    """Totals of the source's rows read so far. ``hash_sum`` is the sum of their hashes, so equal rows count each."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self.rows = self.bytes = self.json_changed = self.hash_sum = 0

    def parts(self, rows: Iterator[Row]) -> Iterator[_Part]:
        lines: list[bytes] = []
        size = 0
        big = self._statements.big is not None
        for changed, digest, *text in rows:
            line = load_line(self._statements, tuple(text)) if big else text[0] or b""
            self.json_changed += changed == b"1"
            self.hash_sum += int(digest, 16) if digest else 0
            lines.append(line)
            size += len(line) + 1
            if size >= PART_BYTES:
                yield self._part(lines, size)
                lines, size = [], 0
        if lines:
            yield self._part(lines, size)

    def _part(self, lines: list[bytes], size: int) -> _Part:
        self.rows += len(lines)
        self.bytes += size
        return _Part(len(lines), b"\n".join(lines))


class WholeCopier:
    """Bound to the two sessions of one thread.

    A KeyRange selects the table's first copy: no row of this Ferry is on the target yet, so rows found there belong to
    others and are refused. ``EVERY_ROW`` replaces what is there.
    """

    def __init__(
        self, pair: SessionPair, fence: FencedTransaction, lock_clause: str = "", pacing: Pacing | None = None
    ) -> None:
        """As for ``RowCopier``. A copy that is broken off closes its session on the source, hence the pair."""
        self._pair = pair
        self._fence = fence
        self._lock_clause = lock_clause
        self._pacing = pacing or Unpaced()
        self._held = 0.0
        self._begun: set[Table] = set()
        """Tables whose rows on the target may come from this copier."""
        self._hashed: set[Table] = set()

    def copy(self, table: Table, selector: Selector) -> CopyResult:
        """Copy the whole table until it has committed."""
        try:
            with may_idle(self._target):
                return self._copy(table, selector)
        except LoadWarned as warned:
            if table in self._hashed or not warned.excusable:
                raise refused(table, warned.warnings) from None
            # Only rows read together with their hashes can prove that the warnings left the values intact.
            self._hashed.add(table)
            return self.copy(table, EVERY_ROW)
        except TooLarge as error:
            raise DataError(
                Reason.ROW_TOO_LARGE,
                f"a row of {table.id} does not fit: {error.message}; raise max_allowed_packet on both ends",
            ) from error

    @property
    def _target(self) -> Session:
        return self._pair.target

    def _copy(self, table: Table, selector: Selector) -> CopyResult:
        started, self._held = time.monotonic(), 0.0
        source, hashed = self._pair.source(table), table in self._hashed
        statements = self._statements(table, source)
        if self._lock_clause:  # before the target's rows are deleted: it may be repeated for hours
            for _ in source.stream(statements.wait_for_locks(self._lock_clause)):
                """It has one row."""
        self._pair.give_back()  # a throttle may hold the next steps back for hours
        deleted = self._clear(table, selector)
        source = self._pair.source(table)
        reading, excused, writing = _Reading(statements), list[Warned](), 0.0
        with closing(source.stream(statements.stream(hashed=hashed))) as rows:
            for part in reading.parts(rows):
                self._pacing.charge(part.rows)
                began = time.monotonic()
                excused += self._load(statements, part, hashed=hashed)
                writing += time.monotonic() - began
        if warnings := source.warnings():
            raise DataError(
                Reason.SOURCE_WARNING, f"reading {table.id}: {shown(warnings)}; correct the rows or the filter"
            )
        if excused:
            self._prove_equal(statements, reading, excused)
        return CopyResult(
            rows_sent=reading.rows,
            bytes_sent=reading.bytes,
            rows_asked=reading.rows,
            deleted_missing=deleted,
            json_changed=reading.json_changed,
            # How long a copy takes under the cutover's lock is estimated from this: nothing is throttled there.
            read_seconds=time.monotonic() - started - writing - self._held,
            write_seconds=writing,
        )

    def _statements(self, table: Table, source: Session) -> Statements:
        packets = [session.number("SELECT @@max_allowed_packet") for session in (source, self._target)]
        text = source.purpose is Purpose.SOURCE_TEXT
        flavors, literals = (source.flavor, self._target.flavor), not self._target.takes_files()
        return Statements(table, *flavors, text, min(*packets, BATCH_BYTES), literals)

    def _clear(self, table: Table, selector: Selector) -> int:
        """Empty the target's table, or refuse rows that are certainly not ours. Returns how many were deleted."""
        if isinstance(selector, KeyRange) and table not in self._begun:
            if self._target.query(f"SELECT 1 FROM {table.target.sql} LIMIT 1"):
                raise DataError(
                    Reason.TARGET_NOT_EMPTY,
                    f"{table.target} holds rows that this Ferry did not write: they came after the Ferry had claimed "
                    "the table and before its first row; empty the table and start again",
                )
            self._begun.add(table)
            return 0
        self._begun.add(table)
        return self._empty(table)

    def _empty(self, table: Table) -> int:
        deleted, left = 0, True
        while left:
            self._held += self._pacing.admit()
            with self._fence.transaction(self._target):
                rows = self._target.execute(f"DELETE FROM {table.target.sql} LIMIT {EMPTY_ROWS}")
            left = rows == EMPTY_ROWS
            deleted += rows
        return deleted

    def _load(self, statements: Statements, part: _Part, *, hashed: bool) -> Sequence[Warned]:
        with leniently(self._target, hashed), self._fence.transaction(self._target):
            return load(self._target, statements, part.payload, part.rows, lenient=hashed)

    def _prove_equal(self, statements: Statements, reading: _Reading, excused: Sequence[Warned]) -> None:
        ((rows, total),) = self._target.stream(statements.target_sum())
        if (int(rows or 0), int(total or 0)) != (reading.rows, reading.hash_sum):
            raise refused(statements.table, excused)
