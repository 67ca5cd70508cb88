"""``ferry verify -f``: compares the tables of a manifest on both servers, without a run and without writing anything.

Called by the CLI. There is no stream to tell whether a change is on its way. So rows that differ are compared again
several times: those that stayed different in the same way count as different, which is true if no replication between
the servers is further behind than these comparisons take. The others are undecided: somebody writes to them now.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ferry_core.api.choices import Acknowledgement
from ferry_core.cancellation import Cancellation
from ferry_core.errors import ConfigError, DataError, KeyUnusable
from ferry_core.manifest import LoadedFerry
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from ferry_core.rows.target_keys import target_key_index
from ferry_core.tables.discovery import explore
from ferry_core.tables.nullable import refuse_unusable, without_key
from ferry_core.tables.table import Table
from ferry_core.text import agreeing, counted, shortlist
from ferry_core.verify.difference import NAMED_ROWS, Difference
from ferry_core.verify.final_pass import FinalPass
from ferry_core.verify.groups import by_table, compare_keys, keys_of
from ferry_core.verify.sessions import ReadSessions

ROUNDS = 3
SETTLE_SECONDS = 6
"""How long a row has to stay different: the time of all rounds together."""
MOST_KEYS = 1000


@dataclass(frozen=True)
class Compared:
    """``undecided`` rows changed meanwhile. ``unfinished`` tables have more differences than are kept."""

    rows: Counter[Table]
    differing: Sequence[Difference]
    undecided: Sequence[Difference]
    unfinished: frozenset[Table]
    settle: int = SETTLE_SECONDS

    def as_text(self) -> str:
        """One line a table that differs, its first keys, and a verdict."""
        lines = []
        for table, its in by_table(self.differing).items():
            least = "at least " if table in self.unfinished else ""
            lines.append(
                f"{table.id}: {least}{agreeing(len(its), 'row', 'differ')}: {shortlist(its, NAMED_ROWS, '; ')}"
            )
        for table, its in by_table(self.undecided).items():
            lines.append(
                f"{table.id}: {counted(len(its), 'row')} changed during the comparison: {shortlist(its, 5, '; ')}"
            )
        tables, rows = len(self.rows), self.rows.total()
        if self.differing:
            verdict = agreeing(len(self.differing), "row", "differ")
        elif self.undecided or self.unfinished:
            verdict = "undecided: rows are written now; compare again"
        else:
            verdict = "source and target are equal"
        return "\n".join(
            [*lines, self._scope(), f"compared {counted(rows, 'row')} of {counted(tables, 'table')}: {verdict}"]
        )

    def _scope(self) -> str:
        """What the verdict is worth while rows are written."""
        if self.differing:
            return (
                f"these rows stayed different for {self.settle} s: they differ if nothing was written meanwhile, or "
                f"only by a replication less than {self.settle} s behind (longer: --settle SECONDS); while a Ferry "
                "runs between these servers, ask it: ferry verify without -f"
            )
        return "rows were read one after another: if the source is written to, the result holds for no single moment"

    def as_json(self) -> str:
        """For programs: keys as SQL literals, at most MOST_KEYS a table."""
        differing, undecided = by_table(self.differing), by_table(self.undecided)
        tables = [
            {
                "name": table.id,
                "target": str(table.target),
                "rows": rows,
                "differing": len(differing.get(table, [])),
                "undecided": len(undecided.get(table, [])),
                "complete": table not in self.unfinished,
                "keys": [
                    {"key": list(one.key), "kind": one.kind.value} for one in differing.get(table, [])[:MOST_KEYS]
                ],
            }
            for table, rows in sorted(self.rows.items(), key=lambda item: item[0].id)
        ]
        equal = not (self.differing or self.undecided or self.unfinished)
        return json.dumps(
            {"equal": equal, "rows": self.rows.total(), "settleSeconds": self.settle, "tables": tables}, indent=2
        )


def compare(loaded: LoadedFerry, only: Sequence[str], settle: int = SETTLE_SECONDS) -> Compared:
    """Compare all selected tables, or those named in ``only``. ``settle``: seconds that a row has to stay different."""
    comparison = _Comparison(loaded, settle)
    tables = comparison.tables(only)
    while True:
        try:
            return comparison.run(tables)
        except KeyUnusable as unusable:  # rows that its key does not name came in meanwhile
            tables = [without_key(table) if table.id == unusable.table else table for table in tables]


@dataclass(frozen=True)
class _Comparison:
    """A signal ends the process at once: nothing here waits for its threads then."""

    loaded: LoadedFerry
    settle: int

    def _source(self, purpose: Purpose) -> Session:
        return Session(self.loaded.source, purpose)

    def _target(self) -> Session:
        return Session(self.loaded.target, Purpose.TARGET)

    def tables(self, only: Sequence[str]) -> list[Table]:
        # A wrong password of the target is reported before the first long read.
        with self._source(Purpose.CONTROL) as control, self._target() as target:
            return [_comparable(target, table) for table in _chosen(control, target, self.loaded, only)]

    def run(self, tables: Sequence[Table]) -> Compared:
        rows: Counter[Table] = Counter()
        lock = threading.Lock()

        def progress(table: Table, compared: int) -> None:
            with lock:
                rows[table] += compared

        moves = list(MoveSet.of(tables, self.loaded.ferry.spec.copy_))
        result = FinalPass(moves, self._source, self._target).run(Cancellation(), progress)
        differing, undecided = self._confirmed(result.candidates)
        unfinished = frozenset(move.table for move in result.overflowed)
        return Compared(rows, differing, undecided, unfinished, self.settle)

    def _confirmed(self, candidates: Sequence[Difference]) -> tuple[Sequence[Difference], Sequence[Difference]]:
        """Those that stay the same, and others that still differ."""
        steady, left = set(candidates), list(candidates)
        with ReadSessions(self._source, self._target) as sessions:
            for _ in range(ROUNDS):
                if not left:
                    break
                time.sleep(self.settle / ROUNDS)
                keys = {table: keys_of(its) for table, its in by_table(left).items()}
                found = compare_keys(sessions, keys, Cancellation())
                left = [difference for its in found.values() for difference in its]
                steady.intersection_update(left)
        return [one for one in left if one in steady], [one for one in left if one not in steady]


def _comparable(target: Session, table: Table) -> Table:
    """The table, without its key if that does not name every row of the target. Raises DataError if rows of one key
    may be there more than once.
    """
    if table.whole:
        return table
    try:
        index = target_key_index(target, table)
    except DataError:
        target.query(f"SELECT 1 FROM {table.target.sql} LIMIT 0")  # a table that is not there is called so
        raise
    try:
        refuse_unusable(target, [replace(table, source=table.target, key=replace(table.key, index_name=index))])
    except KeyUnusable:
        return without_key(table)
    return table


def _chosen(control: Session, target: Session, loaded: LoadedFerry, only: Sequence[str]) -> list[Table]:
    spec = loaded.ferry.spec
    found = explore(control, spec.tables).across(control.version, target.version)
    found.refuse()
    unknown = set(only).difference(table.id for table in found.tables)
    if unknown:
        raise ConfigError(
            Reason.PATTERN_MATCHES_NOTHING, f"not among the selected tables: {shortlist(sorted(unknown), 10)}"
        )
    stored = Acknowledgement.GENERATED_VALUES not in spec.acknowledge
    return [replace(table, compares_stored=stored) for table in found.tables if not only or table.id in only]
