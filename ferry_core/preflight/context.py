"""Input of every check: the spec, the tables, and two servers whose answers are cached. Made by the run and the CLI."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ferry_core.api.choices import CreateTables, SourceLockMode
from ferry_core.api.spec import Spec
from ferry_core.errors import ConfigError
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Session
from ferry_core.preflight.facts import ServerFacts
from ferry_core.preflight.lease import Lease, read_leases
from ferry_core.schema.definition import ForeignKey, parse
from ferry_core.schema.objects import Definition, Listed, created_kinds, read, wanted_objects
from ferry_core.tables.table import Table, TableName


class CannotAskError(Exception):
    """A check lacks its input, for a reason that another line of the result reports."""


@dataclass(eq=False)
class PreflightContext:
    """Sessions have Purpose.CONTROL; None for a server that could not be reached.

    ``selected`` are the tables that discovery found, ``problems`` what is wrong with the selection. ``started`` are the
    ids of tables that the stored state resumes, None if the state could not be read. ``state_at`` says where the state
    was looked for, ``stateless`` that there is none, ``restart`` that rows of an earlier run may be deleted then.
    ``recreatable`` are the ids of tables that an earlier start created without copying any row; they may differ from
    the source's. ``copied_again`` are those of tables that this Ferry has filled and now empties,
    ``dropped_again`` those of them that it drops and creates once more. ``own_objects`` are the views, routines and
    events that it created or planned: for a name in the state, the fingerprints that its definition may have.
    ``replicas`` are those to watch, in the order of the spec.
    ``by_gtid`` says that the stored state has a position of GTIDs. ``primary_session`` is on the primary of a source
    that is a replica, None if the spec names none.
    """

    spec: Spec
    ferry_uid: str
    source_session: Session | None
    target_session: Session | None
    selected: Sequence[Table]
    started: Collection[str] | None = ()
    state_at: str = "its state"
    problems: Sequence[ConfigError] = ()
    stateless: bool = False
    restart: bool = False
    recreatable: Collection[str] = ()
    copied_again: Collection[str] = ()
    dropped_again: Collection[str] = ()
    own_objects: Callable[[str], Collection[str]] = lambda _: ()
    replicas: Sequence[Endpoint] = ()
    by_gtid: bool = False
    primary_session: Session | None = None

    @cached_property
    def tables(self) -> Sequence[Table]:
        """All selected tables, ordered by name."""
        _reached(self.source_session, "source")  # otherwise nothing can be said about any
        return sorted(self.selected, key=lambda table: table.source)

    @property
    def source(self) -> Session:
        return _reached(self.source_session, "source")

    @property
    def target(self) -> Session:
        return _reached(self.target_session, "target")

    @property
    def written(self) -> Session:
        """On the server that applications write to: the source or its primary."""
        if self.spec.source.primary is None:
            return self.source
        return _reached(self.primary_session, "primary")

    @cached_property
    def written_facts(self) -> ServerFacts:
        return self.source_facts if self.spec.source.primary is None else ServerFacts(self.written)

    @cached_property
    def source_facts(self) -> ServerFacts:
        return ServerFacts(self.source)

    @cached_property
    def target_facts(self) -> ServerFacts:
        return ServerFacts(self.target)

    @cached_property
    def leases(self) -> Sequence[Lease]:
        """Rows of the target's lease table, ours and others'. None if there is no such table."""
        return read_leases(self.target)

    @property
    def own_lease(self) -> Lease | None:
        return next((lease for lease in self.leases if lease.ferry_uid == self.ferry_uid), None)

    @cached_property
    def existing_targets(self) -> frozenset[TableName]:
        """Target names for which a table or view already exists."""
        wanted = {self.target_facts.folded(table.target): table.target for table in self.tables}
        return frozenset(
            wanted[found]
            for found in map(self.target_facts.folded, self.target_facts.existing(wanted))
            if found in wanted
        )

    @cached_property
    def foreign_keys(self) -> Mapping[Table, Sequence[ForeignKey]]:
        """Foreign keys of each table on the source.

        None for a table that may not be read, which another check reports.
        """
        return {
            table: parse(table.definition, table.source).foreign_keys if table.definition else ()
            for table in self.tables
        }

    @cached_property
    def objects(self) -> Mapping[Listed, Definition]:
        """The views, routines, triggers and events that a run creates."""
        kinds = created_kinds(self.spec.schema_.objects)
        return {
            one: read(self.source, one) for one in wanted_objects(self.source, self.spec.tables, self.tables, kinds)
        }

    @cached_property
    def crosses(self) -> bool:
        """Whether the servers are of different families."""
        return self.source.flavor is not self.target.flavor

    @cached_property
    def reads_lock(self) -> bool:
        """Whether reads that copy rows lock them: on a MySQL source without GTIDs."""
        source = self.source_facts
        return not (source.mariadb or self.by_gtid) and source.variable("gtid_mode", "OFF") != "ON"

    @property
    def creates_tables(self) -> bool:
        return self.spec.schema_.create is CreateTables.IF_MISSING

    @property
    def makes_source_read_only(self) -> bool:
        return self.spec.cutover.source_lock is SourceLockMode.READ_ONLY

    @property
    def locks_source_tables(self) -> bool:
        return self.spec.cutover.source_lock is SourceLockMode.LOCK_TABLES


def _reached(session: Session | None, role: str) -> Session:
    if session is None:
        raise CannotAskError(f"the {role} could not be reached")
    return session
