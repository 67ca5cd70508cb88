"""The SQL statements of one copy: what the source renders, how the target loads it, and the hashes of rows. No I/O.

Used by ``copier`` and ``big_rows``. There is one ``Statements`` per table and kind of source session, built once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.literals import identifier
from ferry_core.tables.codecs import Codec, codec
from ferry_core.tables.predicates import where
from ferry_core.tables.table import KeyRange, KeySet, Selector, Table

LINES = "CHARACTER SET binary FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\\'' ESCAPED BY '\\\\'"
"""The load-file format, which QUOTE() writes too. Lines end with a newline, the default."""

PACKET_SLACK = 4096
"""Bytes of a packet that are not available for row text."""


@dataclass(frozen=True)
class Statements:
    """``packet`` is the smaller max_allowed_packet of both servers. A row that may not fit it is a big row."""

    table: Table
    flavor: Flavor  # of the source
    target_flavor: Flavor
    text_session: bool
    packet: int
    literals: bool = False  # rows go out as REPLACE ... VALUES, because the target refuses LOAD DATA LOCAL
    codecs: tuple[Codec, ...] = field(init=False)  # as the source renders the columns
    target_codecs: tuple[Codec, ...] = field(init=False)  # as the target takes them
    big: str | None = field(init=False)  # condition for rows that may not fit a packet; None: no row can be that wide

    def __post_init__(self) -> None:
        columns = self.table.copied_columns
        object.__setattr__(self, "codecs", tuple(codec(column, self.flavor) for column in columns))
        object.__setattr__(self, "target_codecs", tuple(codec(column, self.target_flavor) for column in columns))
        object.__setattr__(self, "big", self._big())

    # -- source ---------------------------------------------------------------------------------------------------

    def source(self, selector: Selector, lock_clause: str, *, hashed: bool) -> str:
        """One result row: count, lines, rows with changed JSON, keys of small rows, keys of big rows, hashes (NULL
        unless requested).
        """
        small = f"IF({self.big},NULL,{{}})" if self.big else "{}"
        line = small.format(self._line())
        keys = small.format(self.key()) if isinstance(selector, KeySet) else None
        columns = [
            "COUNT(*)",
            _lines(line),
            f"COUNT(IF({changed},1,NULL))" if (changed := self._changed()) else "0",
            _lines(keys),
            _lines(f"IF({self.big},{self.key()},NULL)" if self.big else None),
            _lines(small.format(self.row_hash(self.codecs)) if hashed else None),
        ]
        where_from = f"FROM {self._from(selector, lock_clause)} WHERE {self.condition(selector)}"
        return f"SELECT {','.join(columns)} {where_from}{lock_clause}"

    def condition(self, selector: Selector) -> str:
        """Selector and row filter, for the source."""
        chosen = where(self.table.key, selector)
        # On its own line, so that a comment in the filter ends with the filter.
        return f"{chosen} AND (\n{self.table.row_filter}\n)" if self.table.row_filter else chosen

    def key(self) -> str:
        """A row's key literals, joined by commas (no literal contains one)."""
        literals = (codec(column, self.flavor).key_literal() for column in self.table.key.columns)
        return f"CONCAT_WS(',',{','.join(literals)})"

    def row_hash(self, codecs: Sequence[Codec]) -> str:
        """The first 64 bits of a row's digest, computed by the server to which these codecs belong."""
        return f"LEFT(SHA2(CONCAT_WS(',',{','.join(each.hash_expression() for each in codecs)}),256),16)"

    def wait_for_locks(self, lock_clause: str) -> str:
        """A scan that ends once no earlier change of the table is locked any more: then SELECTs see it.

        Not of an index, which a change of other columns does not lock.
        """
        return f"SELECT SUM(1) FROM {self.table.source.sql} USE INDEX (){lock_clause}"

    def stream(self, *, hashed: bool) -> str:
        """One result row per row of the table: whether its JSON changed, its hash (or NULL), then its text.

        The text is one line, or the columns as of ``raw_row`` if a row may be ``big``.
        """
        text = ",".join(self._raw_columns()) if self.big else self._line()
        digest = self.row_hash(self.codecs) if hashed else "NULL"
        condition = f" WHERE (\n{self.table.row_filter}\n)" if self.table.row_filter else ""
        return f"SELECT {self._changed() or 0},{digest},{text} FROM {self.table.source.sql}{condition}"

    def raw_row(self, selector: Selector, lock_clause: str, *, hashed: bool) -> str:
        """The row's hash (or NULL), then its columns one by one: unbounded ones raw, the others as load-file text."""
        columns = ",".join([self.row_hash(self.codecs) if hashed else "NULL", *self._raw_columns()])
        where_from = f"FROM {self._from(selector, lock_clause)} WHERE {self.condition(selector)}"
        return f"SELECT {columns} {where_from}{lock_clause}"

    def _raw_columns(self) -> list[str]:
        return [each.name if each.unbounded else self._field(each) for each in self.codecs]

    def _from(self, selector: Selector, lock_clause: str) -> str:
        """Reads that lock use the key: it is proven that they wait for every change of it that is not visible yet."""
        by_filter = self.table.finding_index if isinstance(selector, KeyRange) and not lock_clause else ""
        return f"{self.table.source.sql} FORCE INDEX ({identifier(by_filter or self.table.key.index_name)})"

    def _line(self) -> str:
        return f"CONCAT_WS(',',{','.join(map(self._field, self.codecs))})"

    def _field(self, each: Codec) -> str:
        render = each.literal if self.literals else each.field
        return render(text_session=self.text_session)

    def _changed(self) -> str:
        return " OR ".join(filter(None, (each.changed_expression() for each in self.codecs)))

    def _big(self) -> str | None:
        head = len(self.replace().encode("utf-8", "surrogateescape")) if self.literals else 0
        limit = self.packet - PACKET_SLACK - head
        if sum(2 * each.column.max_bytes + self._around(each) for each in self.codecs) <= limit:
            return None
        wide = [each for each in self.codecs if each.unbounded and each.column.max_bytes > PACKET_SLACK]
        fixed = sum(2 * each.column.max_bytes for each in self.codecs if each not in wide)
        lengths = "+".join(f"IFNULL(LENGTH({each.name}),0)" for each in wide)
        return f"2*({lengths})+{fixed + sum(map(self._around, self.codecs))}>{limit}"

    def _around(self, each: Codec) -> int:
        """Bytes around a value: quotes, a comma, and what precedes them."""
        return 3 + (len(each.introducer) if self.literals else 0)

    # -- target ---------------------------------------------------------------------------------------------------

    def load(self) -> str:
        """LOAD DATA of what ``source`` rendered."""
        names, sets = [], []
        for at, each in enumerate(self.target_codecs):
            assignment = each.assignment(f"@v{at}")
            names.append(each.name if assignment is None else f"@v{at}")
            if assignment is not None:
                sets.append(f"{each.name} = {assignment}")
        into = f"REPLACE INTO TABLE {self.table.target.sql} {LINES} ({','.join(names)})"
        return f"LOAD DATA LOCAL INFILE 'ferry' {into}" + (f" SET {', '.join(sets)}" if sets else "")

    def replace(self) -> str:
        """What precedes the rows of the same text as a REPLACE ... VALUES."""
        names = ",".join(each.name for each in self.target_codecs)
        return f"REPLACE INTO {self.table.target.sql} ({names})"

    def delete(self, selector: Selector, index_name: str) -> str:
        """DELETE by key. Only the form that names the table twice uses an index: no scan, and no other row locked."""
        target = self.table.target.sql
        forced = f"{target} FORCE INDEX ({identifier(index_name)})"
        return f"DELETE {target} FROM {forced} WHERE {where(self.table.key, selector)}"

    def target_sum(self) -> str:
        """Number of the target's rows, and the sum of their hashes, in which equal rows count each."""
        digits = self.row_hash(self.target_codecs)
        return f"SELECT COUNT(*), SUM(CAST(CONV({digits},16,10) AS UNSIGNED)) FROM {self.table.target.sql}"

    def target_hashes(self, selector: Selector, index_name: str) -> str:
        """Hashes of the target's rows, small and big."""
        forced = f"{self.table.target.sql} FORCE INDEX ({identifier(index_name)})"
        return (
            f"SELECT {_lines(self.row_hash(self.target_codecs))} FROM {forced} WHERE {where(self.table.key, selector)}"
        )


def _lines(expression: str | None) -> str:
    """Without ORDER BY: the order does not matter, and sorting would double the cost."""
    return f"GROUP_CONCAT({expression} SEPARATOR '\\n')" if expression else "NULL"
