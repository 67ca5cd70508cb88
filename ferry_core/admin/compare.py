"""``ferry verify -f``: compares the tables of a manifest on both servers, without a run and without writing anything.

Called by the CLI. There is no stream to tell whether a change is on its way. So rows that differ are compared again,
some seconds apart: those that differ in the same way each time really differ. The others are undecided: somebody writes
to them now.
"""

import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from ferry_core.api.choices import Acknowledgement
from ferry_core.cancellation import Cancellation
from ferry_core.errors import ConfigError
from ferry_core.manifest import LoadedFerry
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from ferry_core.tables.discovery import explore
from ferry_core.tables.table import Table
from ferry_core.text import shortlist
from ferry_core.verify.difference import NAMED_ROWS, Difference
from ferry_core.verify.final_pass import FinalPass
from ferry_core.verify.groups import by_table, compare_keys, keys_of
from ferry_core.verify.sessions import ConnectSource, ConnectTarget, ReadSessions

ROUNDS = 3
ROUND_SECONDS = 2.0
MOST_KEYS = 1000


@dataclass(frozen=True)
class Compared:
    """``undecided`` rows changed meanwhile. ``unfinished`` tables have more differences than are kept."""

    rows: Counter[Table]
    differing: Sequence[Difference]
    undecided: Sequence[Difference]
    unfinished: frozenset[Table]

    def as_text(self) -> str:
        """One line a table that differs, its first keys, and a verdict."""
        lines = []
        for table, its in by_table(self.differing).items():
            least = "at least " if table in self.unfinished else ""
            lines.append(f"{table.id}: {least}{len(its)} rows differ: {shortlist(its, NAMED_ROWS, '; ')}")
        for table, its in by_table(self.undecided).items():
            lines.append(f"{table.id}: {len(its)} rows changed while they were compared: {shortlist(its, 5, '; ')}")
        tables, rows = len(self.rows), self.rows.total()
        if self.differing:
            verdict = f"{len(self.differing)} rows differ"
        elif self.undecided or self.unfinished:
            verdict = "undecided: rows are written now; compare again"
        else:
            verdict = "source and target are equal"
        return "\n".join([*lines, f"compared {rows} rows of {tables} tables: {verdict}"])

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
        return json.dumps({"equal": equal, "rows": self.rows.total(), "tables": tables}, indent=2)


def compare(loaded: LoadedFerry, only: Sequence[str]) -> Compared:
    """Compare all selected tables, or those named in ``only``."""

    def source(purpose: Purpose) -> Session:
        return Session(loaded.source, purpose)

    def target() -> Session:
        return Session(loaded.target, Purpose.TARGET)

    with ExitStack() as opened:
        control = opened.enter_context(source(Purpose.CONTROL))
        opened.enter_context(target())  # a wrong password of the target is reported before the first long read
        tables = _chosen(control, loaded, only)
    moves = list(MoveSet.of(tables, loaded.ferry.spec.copy_))
    rows: Counter[Table] = Counter()

    def progress(table: Table, compared: int) -> None:
        rows[table] += compared

    result = FinalPass(moves, source, target).run(Cancellation(), progress)
    differing, undecided = _confirmed(result.candidates, source, target)
    return Compared(rows, differing, undecided, frozenset(move.table for move in result.overflowed))


def _chosen(control: Session, loaded: LoadedFerry, only: Sequence[str]) -> list[Table]:
    spec = loaded.ferry.spec
    found = explore(control, spec.tables)
    found.refuse()
    unknown = set(only).difference(table.id for table in found.tables)
    if unknown:
        raise ConfigError(
            Reason.PATTERN_MATCHES_NOTHING, f"not among the selected tables: {shortlist(sorted(unknown), 10)}"
        )
    stored = Acknowledgement.GENERATED_VALUES not in spec.acknowledge
    return [replace(table, compares_stored=stored) for table in found.tables if not only or table.id in only]


def _confirmed(
    candidates: Sequence[Difference], source: ConnectSource, target: ConnectTarget
) -> tuple[Sequence[Difference], Sequence[Difference]]:
    """Those that stay the same, and others that still differ."""
    steady, left = set(candidates), list(candidates)
    with ReadSessions(source, target) as sessions:
        for _ in range(ROUNDS):
            if not left:
                break
            time.sleep(ROUND_SECONDS)
            keys = {table: keys_of(its) for table, its in by_table(left).items()}
            found = compare_keys(sessions, keys, Cancellation())
            left = [difference for its in found.values() for difference in its]
            steady.intersection_update(left)
    return [one for one in left if one in steady], [one for one in left if one not in steady]
