"""A state of the replication model, as nested named tuples, and small functions over them.

Positions count binlog events. Unless ``Config.absolute``, they are relative to the checkpoint, so that equal situations
merge.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

from tests.model.config import Keys

Label = tuple[object, ...]

TODO, COMMITTED, DONE, EMPTIED = 0, 1, 2, 3
"""Progress of a chunk or a batch, besides rows that were read. DONE: the checkpoint says so. EMPTIED: whole tables."""
NEVER = 99
"""A position that is after all others."""


class Row(NamedTuple):
    unique: str
    version: int  # the transaction that wrote it; -1: read by another definition
    selected: int  # by the row filter


Rows = tuple[Row | None, ...]
"""One for each key."""
Writes = tuple[tuple[int, Row | None], ...]
Found = tuple[tuple[int, Row], ...]
"""Rows that a read has returned, with their keys."""


class Scan(NamedTuple):
    """A locking read that is not at its end; rows that it returned stay locked."""

    keys: int
    rows: Found


Progress = int | Found | Scan


class Event(NamedTuple):
    kind: str  # T(ransaction), P(repare), C(ommit), R(ollback), D(DL)
    keys: Keys
    xid: int
    tx: int = 0
    undo: Writes = ()


class Hidden(NamedTuple):
    """In the binlog, not visible yet: its locks are held."""

    pos: int
    writes: Writes
    xid: int


class Prepared(NamedTuple):
    pos: int
    writes: Writes
    xid: int
    listed: bool  # by XA RECOVER


class Write(NamedTuple):
    """A transaction on the target: the keys asked for, or the range, and the rows."""

    keys: Keys
    span: Keys
    rows: Found


class Mark(NamedTuple):
    """A write of a dead run to the checkpoint."""

    chunk: int


class Batch(NamedTuple):
    keys: Keys
    progress: Progress


Pending = tuple[tuple[int, int], ...]
"""Changed keys, each with the position of its first event."""


class Generation(NamedTuple):
    seen: int
    taken: Pending
    batches: tuple[Batch, ...]


class Held(NamedTuple):
    """Keys of an undecided XA transaction, by the position of its PREPARE."""

    xid: int
    pos: int
    keys: Keys


class Stored(NamedTuple):
    """A checkpoint."""

    started: int
    chunks: tuple[int, ...]
    position: int = 0
    last: tuple[int, int] = (0, 0)  # position behind the last transaction read, and its ``tx``
    definition: int = 0


class Run(NamedTuple):
    """A copier that runs. Phases: look, new, empty, compare, wait, list, end, copy; unrecorded; ended."""

    phase: str
    pos: int
    start: int
    waits: Keys  # XIDs, or the position of the binlog's end
    held: tuple[Held, ...]
    pending: Pending
    generations: tuple[Generation, ...]
    chunks: tuple[Progress, ...]
    unproven: Keys = ()
    asked: tuple[Any, ...] = ()  # of a checkpoint that is on its way
    definition: int = 0
    compared: tuple[int, int] = (0, 0)  # end of the binlog at the last comparison, and the statement compared


class State(NamedTuple):
    txs: int
    rows: Rows
    hidden: tuple[Hidden, ...]
    prepared: tuple[Prepared, ...]
    log: tuple[Event, ...]
    target: Rows
    stored: Stored
    faults: int
    orphans: tuple[Write | Mark, ...]  # what a dead run, or a lost connection, may still commit
    run: Run | None
    shape: int = 0  # the table's definition
    replica: Rows = ()  # what another server at the address has
    past: tuple[tuple[Any, ...], ...] = ()  # earlier states of the target
    file: tuple[Any, ...] = ()  # earlier checkpoints in the state file; the target's mark is last in ``marked``
    marked: int = 0
    memory: tuple[int, int] = (0, 0)  # the last transaction read, as the process remembers it


Step = tuple[Label, State]

T = TypeVar("T")


def put(items: tuple[T, ...], at: int, item: T) -> tuple[T, ...]:
    return (*items[:at], item, *items[at + 1 :])


def without(items: tuple[T, ...], at: int) -> tuple[T, ...]:
    return items[:at] + items[at + 1 :]


def add(pending: Pending, keys: Iterable[int], pos: int) -> Pending:
    known = dict(pending)
    for key in keys:
        known[key] = min(known.get(key, pos), pos)
    return tuple(sorted(known.items()))


def in_flight(progress: Progress) -> bool:
    return isinstance(progress, tuple)


def rows_of(progress: Progress) -> Found:
    assert isinstance(progress, tuple)
    return progress.rows if isinstance(progress, Scan) else progress


def open_chunks(run: Run) -> list[int]:
    return [number for number, progress in enumerate(run.chunks) if in_flight(progress) or progress == EMPTIED]


def kept(orphans: tuple[Write | Mark, ...]) -> tuple[Write | Mark, ...]:
    """In one order, so that equal states merge."""
    return tuple(sorted(orphans, key=repr))
