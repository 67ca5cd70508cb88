"""Rows that are found by what they reference, in the sessions of the flusher's thread. Used by ``engine``."""

from collections.abc import Callable, Sequence

from ferry_core.errors import DataError, ServerRole
from ferry_core.mysql.faults import index_is_gone
from ferry_core.rows.referencing import OrphanWalk, index_hint, referencing_keys
from ferry_core.schema.cascades import ABSENT, Cascade
from ferry_core.tables.table import KeyLiterals
from ferry_core.workers.sessions import CopySessions
from ferry_core.workers.step import CopyStep


class RelatedRows:
    """Repeats a lookup until it succeeds, as the copy of rows is repeated."""

    def __init__(self, step: CopyStep, pair: Callable[[], CopySessions], lock_clause: str) -> None:
        """``lock_clause`` is what makes reads of the source see everything streamed (R1)."""
        self._step = step
        self._pair = pair
        self._lock_clause = lock_clause
        self._hints: dict[tuple[Cascade, ServerRole], str] = {}

    def find(
        self,
        cascade: Cascade,
        role: ServerRole,
        values: Sequence[KeyLiterals],
        behind: KeyLiterals | None,
        limit: int,
    ) -> list[KeyLiterals]:
        """See ``changes.derived_keys.Find``."""
        pair = self._pair()
        if ABSENT in values:
            return self._orphans(pair, cascade, behind, limit)
        known = cascade, role

        def find() -> list[KeyLiterals]:
            pair.refresh()
            on_source = role is ServerRole.SOURCE
            session = pair.source() if on_source else pair.target
            hint = self._hints.get(known) or index_hint(session, cascade, role)
            self._hints[known] = hint
            clause = self._lock_clause if on_source else ""
            return referencing_keys(
                session, cascade, role, values, behind=behind, limit=limit, hint=hint, lock_clause=clause
            )

        try:
            return self._step.retrying(pair, find)
        except DataError as error:
            if not index_is_gone(error):
                raise
            del self._hints[known]  # another index has taken its place: servers drop it then without being asked to
            return self._step.retrying(pair, find)

    def _orphans(
        self, pair: CopySessions, cascade: Cascade, behind: KeyLiterals | None, limit: int
    ) -> list[KeyLiterals]:
        walk, found = OrphanWalk(cascade, behind), list[KeyLiterals]()

        def step() -> list[KeyLiterals]:
            pair.refresh()
            return walk.step(pair.target)

        while not walk.ended and len(found) < limit:
            found += self._step.retrying(pair, step)
        return found[:limit]
