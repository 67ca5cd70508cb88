"""What every check is given: the spec, the tables and two servers whose answers are asked once. Made by run and CLI."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ferry_core.api.choices import CreateTables, SourceLockMode
from ferry_core.api.spec import Spec
from ferry_core.errors import ConfigError
from ferry_core.mysql.session import Session
from ferry_core.preflight.facts import ServerFacts
from ferry_core.preflight.lease import Lease, read_leases
from ferry_core.schema.definition import ForeignKey, parse
from ferry_core.tables.table import Table, TableName


class CannotAskError(Exception):
    """A check lacks what it needs, for a reason that another line of the result tells."""


@dataclass(eq=False)
class PreflightContext:
    """The sessions are of Purpose.CONTROL, None for a server that could not be reached.

    ``movable`` is what discovery found, ``keyless`` what it found and no run can move, ``problems`` what is wrong with
    the selection. ``started`` are the ids of tables that the stored state goes on with, None if it could not be read;
    ``state_at`` says where that was looked for, ``stateless`` that there is none, ``restart`` that rows of an earlier
    run may go then. ``makes_anew`` are the ids of tables that an earlier start has made and copied nothing into: they
    need not be like the source's.
    """

    spec: Spec
    ferry_uid: str
    source_session: Session | None
    target_session: Session | None
    movable: Sequence[Table]
    started: Collection[str] | None = ()
    state_at: str = "its state"
    keyless: Sequence[Table] = ()
    problems: Sequence[ConfigError] = ()
    stateless: bool = False
    restart: bool = False
    makes_anew: Collection[str] = ()

    @cached_property
    def tables(self) -> Sequence[Table]:
        """All that are selected: also those without a key have other findings, which one round should show."""
        _reached(self.source_session, "source")  # else there is nothing to say of none
        return sorted([*self.movable, *self.keyless], key=lambda table: table.source)

    @property
    def source(self) -> Session:
        return _reached(self.source_session, "source")

    @property
    def target(self) -> Session:
        return _reached(self.target_session, "target")

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
            for found in map(self.target_facts.folded, self.target_facts.existing(wanted))
            if found in wanted
        )

    @cached_property
    def foreign_keys(self) -> Mapping[Table, Sequence[ForeignKey]]:
        """The constraints that each table has on the source; none of one that may not be read, which a check says."""
        return {
            table: parse(table.definition, table.source).foreign_keys if table.definition else ()
            for table in self.tables
        }

    @property
    def creates_tables(self) -> bool:
        return self.spec.schema_.create is CreateTables.IF_MISSING

    @property
    def makes_source_read_only(self) -> bool:
        return self.spec.cutover.source_lock is SourceLockMode.READ_ONLY


def _reached(session: Session | None, role: str) -> Session:
    if session is None:
        raise CannotAskError(f"the {role} could not be reached")
    return session
