"""What every check is given: the spec, the tables and two servers whose answers are asked once. Made by run and CLI."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from ferry_core.api.choices import CreateTables, SourceLockMode
from ferry_core.api.spec import Spec
from ferry_core.mysql.session import Session
from ferry_core.preflight.facts import ServerFacts
from ferry_core.preflight.lease import Lease, read_leases
from ferry_core.tables.table import Table, TableName


@dataclass(eq=False)
class PreflightContext:
    """``source`` and ``target`` are sessions of Purpose.CONTROL; ``tables`` is what discovery found.

    ``started`` are the ids of tables that the stored state goes on with; ``state_at`` says where that was looked for.
    """

    spec: Spec
    ferry_uid: str
    source: Session
    target: Session
    tables: Sequence[Table]
    started: Collection[str] = ()
    state_at: str = "its state"

    @cached_property
    def source_facts(self) -> ServerFacts:
        return ServerFacts(self.source)

    @cached_property
    def target_facts(self) -> ServerFacts:
        return ServerFacts(self.target)

    @cached_property
    def leases(self) -> Sequence[Lease]:
        """The rows of the target's lease table, ours and others'; none while there is no such table."""
        return read_leases(self.target)

    @property
    def own_lease(self) -> Lease | None:
        return next((lease for lease in self.leases if lease.ferry_uid == self.ferry_uid), None)

    @cached_property
    def existing_targets(self) -> frozenset[TableName]:
        """Target names under which there is something already, table or view."""
        wanted = {self.target_facts.folded(table.target): table.target for table in self.tables}
        return frozenset(
            wanted[found]
            for found in map(self.target_facts.folded, self.target_facts.tables_of({t.schema for t in wanted}))
            if found in wanted
        )

    @property
    def creates_tables(self) -> bool:
        return self.spec.schema_.create is CreateTables.IF_MISSING

    @property
    def makes_source_read_only(self) -> bool:
        return self.spec.cutover.source_lock is SourceLockMode.READ_ONLY
