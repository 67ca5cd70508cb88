"""Rows that differ between the servers. Made by ``narrow``; they end a run.

Messages, which reach logs, Events and the status, have their tables and numbers. Their keys are values of rows: only
the log at level debug and ``ferry verify -f`` name them. The exception is ``run.late_writes``: a person has to find the
rows that the source changed after the cutover.
"""

import logging
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ferry_core.errors import DataError
from ferry_core.reasons import Reason
from ferry_core.tables.table import KeyLiterals, Table
from ferry_core.text import agreeing, shortlist
from ferry_core.verify.checksum import DIGEST_DIGITS

log = logging.getLogger(__name__)


class DifferenceKind(StrEnum):
    """How a row differs, seen from the target."""

    MISSING = "missing"
    EXTRA = "extra"
    CHANGED = "changed"


_TEXTS = {
    DifferenceKind.MISSING: "missing on the target",
    DifferenceKind.EXTRA: "on the target, but not on the source, or excluded by the row filter",
    DifferenceKind.CHANGED: "different values on the target",
}

_HEX_LITERAL = re.compile(r"(?:_(?P<charset>\w+)\s*)?(?:0x(?P<hex>[0-9A-Fa-f]+)|[xX]'(?P<quoted>[0-9A-Fa-f]*)')")
_QUOTED_LITERAL = re.compile(r"(?:_\w+\s*)?'(?P<text>.*)'", re.DOTALL)

# MySQL's character set names -> Python's, where they differ. For others Python knows MySQL's name.
_PYTHON_CHARSETS = {
    "utf8mb3": "utf-8",
    "utf8mb4": "utf-8",
    "utf8": "utf-8",
    "ucs2": "utf-16-be",
    "utf16": "utf-16-be",
} | {
    "utf32": "utf-32-be",
    "utf16le": "utf-16-le",
    "sjis": "shift_jis",
    "ujis": "euc_jp",
    "euckr": "euc_kr",
}


def readable(literal: str) -> str:
    """A key literal in a form for people: hexadecimal text is decoded; bytes that are not text stay unchanged."""
    whole = _readable_alone(literal)
    if whole is not None:
        return whole
    inner = _HEX_LITERAL.search(literal)  # a literal inside a CAST or a COLLATE
    return literal if inner is None else (_readable_alone(inner.group()) or literal)


_LACKING = {"utf8mb3": 0xF0, "ascii": 0x80}
"""The first byte that no text of these character sets has."""


def is_foreign(key: KeyLiterals) -> bool:
    """Whether the source's character set lacks the key's text: only a target with a wider one can have such a row, and
    no statement can ask the source for it.
    """
    found = filter(None, map(_HEX_LITERAL.fullmatch, key))
    return any(
        byte >= _LACKING.get(literal["charset"] or "", 0x100)
        for literal in found
        for byte in bytes.fromhex(literal["hex"] or "")
    )


def named_key(table: Table, key: KeyLiterals) -> str:
    """Names and values of a key's columns."""
    return ", ".join(f"{column.name}={readable(part)}" for column, part in zip(table.key.columns, key, strict=True))


def _readable_alone(literal: str) -> str | None:
    if found := _QUOTED_LITERAL.fullmatch(literal):
        return f"'{found['text']}'"
    if not (found := _HEX_LITERAL.fullmatch(literal)):
        return None
    charset = (found["charset"] or "binary").lower()
    raw = bytes.fromhex(found["hex"] or found["quoted"] or "")
    if charset == "binary":
        return f"0x{raw.hex()}"
    encoding = "cp1252" if charset == "latin1" else _PYTHON_CHARSETS.get(charset, charset)
    try:
        text = raw.decode(encoding)
    except (LookupError, UnicodeDecodeError):
        return f"0x{raw.hex()}"
    return f"'{text}'" if text.isprintable() else repr(text)


@dataclass(frozen=True)
class Difference:
    """The row with this key, in literals of the server that holds the row.

    The hashes are those that were read; None on a side without the row. With them a second comparison can tell whether
    the row differs in the same way.
    """

    table: Table
    key: KeyLiterals
    kind: DifferenceKind
    source_hash: bytes | None = None
    target_hash: bytes | None = None

    @property
    def only_generated(self) -> bool:
        """The copied values are equal, but the values that each server computed from them are not."""
        one, other = self.source_hash or b"", self.target_hash or b""
        return len(one) > DIGEST_DIGITS and one[:DIGEST_DIGITS] == other[:DIGEST_DIGITS]

    @property
    def replaces(self) -> bool:
        """Whether a copy of the source's row deletes or replaces a row of the target."""
        return self.kind is not DifferenceKind.MISSING

    @property
    def generated_names(self) -> str:
        """The generated columns whose values are compared."""
        return ", ".join(one.name for one in self.table.stored_columns)

    def __str__(self) -> str:
        return f"{self.table.source} ({named_key(self.table, self.key)}): {self.how}"

    @property
    def how(self) -> str:
        """How it differs, in words."""
        if self.only_generated:
            return f"other values in generated columns ({self.generated_names})"
        return _TEXTS[self.kind]


_WRITTEN = (
    "no change to these rows is pending: somebody else wrote to the target, or this is a bug in mysql-ferry. "
    "Compare the rows, delete them on the target, and touch them on the source"
)
_GENERATED = (
    "all copied values are equal. The target computes these values itself, in UTC and under the source's global "
    "settings; the source's were computed in sessions with other settings (docs/verification.md). Set acknowledge: "
    "[GeneratedValues] and rebuild these tables on the target before the cutover under the application's settings "
    "(SET time_zone, ALTER TABLE ... FORCE, ALGORITHM=COPY), or leave them out"
)

_GENERATED_ACROSS = (
    "all copied values are equal. The target computes these values itself, and the other family gets others from the "
    "same expression; rebuilding the table changes nothing. Make them plain columns on the source, or leave these "
    "tables out; set acknowledge: [GeneratedValues] if the target's values are right for the applications"
)

FOREIGN = (
    "the source's character set lacks characters of their keys, so somebody else wrote them: delete them on the "
    "target, and start again"
)
TOO_MANY = (
    "that is too many rows to copy again one by one. Find out who removed or changed them on the target, then ferry "
    "abort, empty the target tables, and start over with a fresh copy"
)

NAMED_ROWS = 20
"""Maximum number of rows that are named at once."""
NAMED_TABLES = 10
WHERE_NAMED = "their keys: ferry verify -f MANIFEST, or the log at level debug"


class RowsDiffer(DataError):
    """The verification has found rows that really differ."""

    def __init__(self, differing: Sequence[Difference], advice: str = "") -> None:
        generated = all(difference.only_generated for difference in differing)
        crosses = any(column.crosses for one in differing for column in one.table.columns)
        computed = _GENERATED_ACROSS if crosses else _GENERATED
        advice = advice or (computed if generated else _WRITTEN)
        super().__init__(Reason.ROWS_DIFFER, f"{summary(differing)}; {advice}")
        self.by_table: Mapping[Table, int] = Counter(difference.table for difference in differing)


class RowsKept(RowsDiffer):
    """The source may have lost them, so they stay as they are on the target, until a person starts the Ferry again.

    ``reported``: tables of which these are all such rows. The next start may copy the source's rows over them.
    """

    def __init__(self, differing: Sequence[Difference], advice: str, reported: Collection[Table]) -> None:
        super().__init__(differing, advice)
        self.reported = frozenset(self.by_table).intersection(reported)


class RowsDifferAgain(DataError):
    """Rows were copied again because they differed, and differ once more. Usually somebody else writes to them."""

    def __init__(self, differing: Sequence[Difference], times: int) -> None:
        super().__init__(
            Reason.TARGET_WRITTEN_BY_OTHERS,
            f"{summary(differing)}; they were copied again {times} times and differ once more. Usually somebody else "
            "writes to them on the target: an application, a job, a trigger or another replication. Stop that, then "
            "start again. If nobody does, the two servers print one value in two ways, or this is a bug in mysql-ferry"
            ": compare the rows, and report it",
        )


def summary(differing: Sequence[Difference]) -> str:
    """How many rows of which tables differ, and how. Names the first of them in the log at level debug."""
    log.debug("rows that differ: %s", shortlist(differing, NAMED_ROWS, "; "))
    kinds = Counter((one.table, one.how) for one in differing)
    texts = [f"{table.source}: {how}{'' if table.whole else f' ({number})'}" for (table, how), number in kinds.items()]
    how_many = agreeing(len(differing), "row", "differ")
    return f"{how_many} between source and target: {shortlist(texts, NAMED_TABLES, '; ')} ({WHERE_NAMED})"
