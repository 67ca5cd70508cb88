"""Compares keys of many tables in a few statements.

A statement of its own for each table costs a round trip on both servers, and under the cutover's lock writers wait for
all of them. So tables with few keys share one statement, which gives one sum for each. Where the sums are equal the
rows are (see ``checksum``); the caller compares the other keys row by row. Used by ``verifier`` and ``last_check``.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ferry_core.cancellation import Cancellation
from ferry_core.errors import ServerRole
from ferry_core.tables.table import KeyLiterals, KeySet, Table
from ferry_core.verify.checksum import chunk_sums
from ferry_core.verify.difference import Difference
from ferry_core.verify.narrow import KEYS_PER_STATEMENT, check_keys
from ferry_core.verify.sessions import ReadSessions
from ferry_core.verify.unproven import Batch

TURN_SECONDS = 60.0
"""How long a comparison is retried."""
TABLES_PER_STATEMENT = 32
COLUMNS_PER_STATEMENT = 1000
"""Each adds some 100 bytes to the statement, which must fit into a packet."""


class Part(NamedTuple):
    """Keys of one table for one statement. If their rows are equal, ``batch`` is proven."""

    table: Table
    keys: Sequence[KeyLiterals]
    batch: Batch | None = None


def parts_of(table: Table, keys: Sequence[KeyLiterals]) -> Iterator[Part]:
    """Keys that belong to no batch."""
    for start in range(0, len(keys), KEYS_PER_STATEMENT):
        yield Part(table, keys[start : start + KEYS_PER_STATEMENT])


def parts_of_batch(batch: Batch) -> Iterator[Part]:
    """The batch's keys, each part with the batch that it proves."""
    for start in range(0, len(batch.keys), KEYS_PER_STATEMENT):
        part = batch.only(batch.keys[start : start + KEYS_PER_STATEMENT])
        yield Part(part.move.table, part.literals(), part)


def grouped(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Parts that share a statement. Takes parts only as they are needed."""
    group: list[Part] = []
    keys = columns = 0
    for part in parts:
        keys += len(part.keys)
        columns += len(part.table.columns)
        full = keys > KEYS_PER_STATEMENT or columns > COLUMNS_PER_STATEMENT or len(group) == TABLES_PER_STATEMENT
        if group and (full or _kind(part) != _kind(group[0]) or part.table.whole):
            yield group
            group, keys, columns = [], len(part.keys), len(part.table.columns)
        group.append(part)
    if group:
        yield group


def _kind(part: Part) -> tuple[bool, bool]:
    """Tables with a row filter have a session of their own; those without a key are compared in their own way."""
    return part.table.row_filter is not None, part.table.whole


def doubtful(group: Sequence[Part], sessions: ReadSessions, cancelled: Cancellation, seconds: float) -> Sequence[Part]:
    """The parts that are not known to be equal: they have to be compared row by row."""
    if len(group) == 1:
        return group
    chosen = [(part.table, KeySet(tuple(part.keys))) for part in group]

    def compare() -> Sequence[Part]:
        on_source = chunk_sums(sessions.source(group[0].table), chosen, ServerRole.SOURCE)
        on_target = chunk_sums(sessions.target, chosen, ServerRole.TARGET)
        if on_source is None or on_target is None:
            return group
        return [part for part, one, other in zip(group, on_source, on_target, strict=True) if one != other]

    return sessions.retrying(compare, cancelled, seconds)


def differences_of(part: Part, sessions: ReadSessions, cancelled: Cancellation, seconds: float) -> list[Difference]:
    """Compare row by row."""
    table = part.table
    return sessions.retrying(
        lambda: check_keys(table, part.keys, sessions.source(table), sessions.target), cancelled, seconds
    )


def compare_keys(
    sessions: ReadSessions, keys: Mapping[Table, Sequence[KeyLiterals]], cancelled: Cancellation
) -> dict[Table, list[Difference]]:
    """The differing rows among these, by table."""
    parts = (part for table, its in keys.items() for part in parts_of(table, its))
    return by_table(
        difference
        for group in grouped(parts)
        for part in doubtful(group, sessions, cancelled, TURN_SECONDS)
        for difference in differences_of(part, sessions, cancelled, TURN_SECONDS)
    )


def by_table(differences: Iterable[Difference]) -> dict[Table, list[Difference]]:
    """The differences of each table."""
    found: defaultdict[Table, list[Difference]] = defaultdict(list)
    for difference in differences:
        found[difference.table].append(difference)
    return dict(found)


def keys_of(differences: Sequence[Difference]) -> list[KeyLiterals]:
    """Each key once."""
    return list(dict.fromkeys(difference.key for difference in differences))
