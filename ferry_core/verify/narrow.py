"""Narrows differing ranges down to differing rows, and compares single keys. Used by ``final_pass`` and ``verifier``.

The source is always read before the target: a proof is as old as its read of the source. Rows are matched by the text
of their key literals. Two keys that SQL considers equal but whose bytes differ ('a' and 'A') appear as one missing and
one extra row: they do differ, and a list of keys may name a row twice.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from ferry_core.errors import ServerRole
from ferry_core.mysql.session import Session
from ferry_core.rows.bounds import next_bound
from ferry_core.rows.target_keys import known_key_index
from ferry_core.tables.table import KeyLiterals, KeyRange, KeySet, Table
from ferry_core.verify.checksum import ChunkSum, chunk_sum, row_hashes
from ferry_core.verify.difference import FOREIGN, Difference, DifferenceKind, RowsDiffer, is_foreign
from ferry_core.verify.whole import compare_whole

FETCH_ROWS = 5000
"""Number of rows whose hashes are fetched at once: about 3 MB in Python, in each of the workers of a pass.

While a huge transaction is on its way every chunk differs, so all workers fetch all the time.
"""

KEYS_PER_STATEMENT = 1000


class ChunkResult(NamedTuple):
    """The result of comparing one chunk. While writes continue its differences are candidates."""

    rows: int  # number of rows on the source
    differing: list[Difference]
    complete: bool  # False: there are more differences than were asked for


def compare_chunk(table: Table, chunk: KeyRange, source: Session, target: Session, limit: int) -> ChunkResult:
    """Compare sums, and where they differ rows, until ``limit`` differences are found."""
    if table.whole:
        return ChunkResult(*compare_whole(table, source, target), complete=True)
    on_source = chunk_sum(source, table, chunk, ServerRole.SOURCE)
    on_target = chunk_sum(target, table, chunk, ServerRole.TARGET)
    if on_source == on_target:
        return ChunkResult(on_source.rows, [], complete=True)
    differing: list[Difference] = []
    for part in _parts(table, chunk, source, target, on_source, on_target):
        differing += compare_rows(table, part, source, target)
        if len(differing) > limit:
            return ChunkResult(on_source.rows, differing[:limit], complete=False)
    return ChunkResult(on_source.rows, differing, complete=True)


def _parts(
    table: Table, chunk: KeyRange, source: Session, target: Session, on_source: ChunkSum, on_target: ChunkSum
) -> list[KeyRange]:
    """Ranges that cover the chunk and are small enough to fetch: the part after the source's last key can be long."""
    if max(on_source.rows, on_target.rows) <= FETCH_ROWS:
        return [chunk]
    if on_target.rows >= on_source.rows:
        key = replace(table.key, index_name=known_key_index(target, table))
        walker, walked = target, replace(table, source=table.target, key=key, filter_index="")
    else:
        walker, walked = source, table
    parts = []
    lo = chunk.lo
    for _ in range(max(on_source.rows, on_target.rows) // FETCH_ROWS):
        bound = next_bound(walker, walked, lo, FETCH_ROWS)
        if bound is None:
            break
        _refuse_foreign([Difference(table, bound, DifferenceKind.EXTRA)])
        parts.append(KeyRange(lo, bound))
        lo = bound
    return [*parts, KeyRange(lo, chunk.hi)]


def compare_rows(
    table: Table, selector: KeyRange | KeySet, source: Session, target: Session, lock_clause: str = ""
) -> list[Difference]:
    """The selected rows that differ; ``lock_clause`` goes to the source's SELECT."""
    if table.whole:
        return compare_whole(table, source, target)[1]
    on_source = row_hashes(source, table, selector, ServerRole.SOURCE, lock_clause)
    on_target = row_hashes(target, table, selector, ServerRole.TARGET)
    differing = []
    for key, digest in on_source.items():
        other = on_target.pop(key, None)
        if other is None:
            differing.append(Difference(table, key, DifferenceKind.MISSING, digest, None))
        elif other != digest:
            differing.append(Difference(table, key, DifferenceKind.CHANGED, digest, other))
    extra = [Difference(table, key, DifferenceKind.EXTRA, None, digest) for key, digest in on_target.items()]
    _refuse_foreign(extra)
    return differing + extra


def _refuse_foreign(extra: Sequence[Difference]) -> None:
    if foreign := [one for one in extra if is_foreign(one.key)]:
        raise RowsDiffer(foreign, FOREIGN)


def check_keys(
    table: Table, keys: Sequence[KeyLiterals], source: Session, target: Session, lock_clause: str = ""
) -> list[Difference]:
    """Compare only the rows with these keys.

    A row that is missing on both servers, or missing and filtered out, is equal.
    """
    differing: list[Difference] = []
    for start in range(0, len(keys), KEYS_PER_STATEMENT):
        batch = KeySet(tuple(keys[start : start + KEYS_PER_STATEMENT]))
        differing += compare_rows(table, batch, source, target, lock_clause)
    return differing
