"""Keys that change without events of their own: by InnoDB's cascades on MariaDB and on MySQL before 9.6.

docs/correctness.md says why this is exact. A *reference* (values that a parent's row has or had) waits in the child's
buffer of changes. The child's next generation looks it up on both servers, while it holds the child's gate, and reads
and writes what it finds. If the child is a parent itself, rows that the source no longer has become references, too:
after that read, and before the generation is forgotten. If it has a UNIQUE index besides its key, ``REPLACE`` may have
removed such a row earlier; so rows whose parent the target does not have are looked up as well.

Used by the flusher, in its thread; ``noticed`` is called by the threads that write.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.consistency.pending import Generation
from ferry_core.errors import ServerRole
from ferry_core.moves.move import TableMove
from ferry_core.moves.move_set import MoveSet
from ferry_core.schema.cascades import ABSENT, Cascade, Reference
from ferry_core.tables.table import KeyLiterals

VALUES = 1000
"""Referenced values in one statement."""
PAGE_KEYS = 20_000
"""Keys that are found, read and written at once: one row may have a million children."""
KNOWN_REFERENCES = 100_000

Find = Callable[[Cascade, ServerRole, Sequence[KeyLiterals], KeyLiterals | None, int], list[KeyLiterals]]
"""Keys of the child's rows on that server that reference one of the values: the first ones after a key."""


class _Lookup(NamedTuple):
    cascade: Cascade
    role: ServerRole
    values: Sequence[KeyLiterals]


class DerivedKeys:
    """One per engine."""

    def __init__(self, moves: MoveSet, buffer: ChangeBuffer, find: Find) -> None:
        self._moves = moves
        self._buffer = buffer
        self._find = find
        self._missing: defaultdict[TableMove, list[KeyLiterals]] = defaultdict(list)
        self._found: defaultdict[TableMove, list[KeyLiterals]] = defaultdict(list)
        self._referred: dict[Reference, int] = {}

    def pages(self, move: TableMove, generation: Generation) -> Iterator[list[KeyLiterals]]:
        """Keys that the generation's references lead to. Each page must be on the target before the next is asked for.

        The target's rows are found by what they referenced before, the source's by what they reference now.
        """
        by_cascade: defaultdict[Cascade, list[KeyLiterals]] = defaultdict(list)
        for reference in generation.references():
            by_cascade[reference.cascade].append(reference.values)
        for cascade, values in by_cascade.items():
            if ABSENT in values:
                values.remove(ABSENT)
                yield from self._pages(move, generation, _Lookup(cascade, ServerRole.TARGET, [ABSENT]))
            for start in range(0, len(values), VALUES):
                some = values[start : start + VALUES]
                for role in (ServerRole.TARGET, ServerRole.SOURCE):
                    yield from self._pages(move, generation, _Lookup(cascade, role, some))

    def _pages(self, move: TableMove, generation: Generation, lookup: _Lookup) -> Iterator[list[KeyLiterals]]:
        behind: KeyLiterals | None = None
        while page := self._find(lookup.cascade, lookup.role, lookup.values, behind, PAGE_KEYS):
            self._buffer.derived(move, page)
            if any(one.parent_key_follows for one in self._below(move)):
                self._found[move] += page
            yield page
            self.refer(move, generation)
            if len(page) < PAGE_KEYS:
                return
            if self._buffer.fullness >= 1:  # by what was just referred to: its turn comes first, then the rest
                rest = [Reference(lookup.cascade, values) for values in lookup.values]
                self._buffer.refer(move, rest, generation)
                return
            behind = page[-1]

    def noticed(self, move: TableMove, missing: Iterable[KeyLiterals]) -> None:
        """The source did not return these keys of a generation."""
        if self._below(move):
            self._missing[move] += missing

    def refer(self, move: TableMove, generation: Generation) -> None:
        """Refer to the children of rows that are gone. Call it when the keys noticed so far are on the target."""
        missing, found = self._missing.pop(move, []), self._found.pop(move, [])
        # While rows are still copied, all that is not there yet would be found; ``workers.orphans`` looks after that.
        replaced = move.table.secondary_unique and move.copied and any(generation.references())
        for cascade in self._below(move):
            references = [Reference(cascade, cascade.values(key)) for key in missing]
            if replaced:
                references.append(Reference(cascade, ABSENT))
            if cascade.parent_key_follows:
                references += self._not_known([Reference(cascade, cascade.values(key)) for key in found], generation)
            if references:
                self._buffer.refer(self._child(cascade), list(dict.fromkeys(references)), generation)

    def _not_known(self, references: Iterable[Reference], generation: Generation) -> list[Reference]:
        """Without those looked up for this stream position already: rows may reference each other in a circle."""
        if len(self._referred) > KNOWN_REFERENCES:
            self._referred.clear()
        seen = generation.seen.sequence
        new = [reference for reference in references if self._referred.get(reference, -1) < seen]
        self._referred.update(dict.fromkeys(new, seen))
        return new

    def _below(self, move: TableMove) -> list[Cascade]:
        """Cascades that continue what a cascade has done to the move's rows."""
        return [one for one in self._moves.cascades if one.parent is move.table and one.parent_follows]

    def _child(self, cascade: Cascade) -> TableMove:
        return next(move for move in self._moves if move.table is cascade.child)
