"""The Validating stage: identify the servers, find the selected tables, run preflight, load the state.

Called by ``ferry``.
"""

import json
import logging
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from ferry_core.api.choices import Acknowledgement, CreateTables, OnNewTable, SourceLockMode
from ferry_core.api.report import Stage
from ferry_core.api.spec import Ferry as FerryManifest
from ferry_core.api.spec import ferry_uid
from ferry_core.checkpoint.marks import Marks, newest_held, others_copied, read_marks
from ferry_core.checkpoint.sqlite import SqliteStore
from ferry_core.checkpoint.state import RunState
from ferry_core.checkpoint.store import CheckpointStore
from ferry_core.checkpoint.target import TargetStore
from ferry_core.consistency.fence import COMPLETED, Lease, read_lease
from ferry_core.consistency.visibility import visibility_of
from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.identity import UNPROVEN, perhaps_renamed
from ferry_core.mysql.session import Session
from ferry_core.preflight import CheckResult, PreflightContext, refuse_failed, run_checks
from ferry_core.preflight.selection import refuse_gone
from ferry_core.reasons import Reason
from ferry_core.run.definitions import rediscovered
from ferry_core.run.filter_indexes import found_by_index
from ferry_core.run.joining import join, leave_out, refuse_new, without_joining
from ferry_core.run.options import RunOptions
from ferry_core.run.renamed import source_was
from ferry_core.schema.unfollowed import copied_as_needed
from ferry_core.tables.discovery import Discovered, explore, new_tables
from ferry_core.tables.table import Table, TableName
from ferry_core.workers.connections import Connections

log = logging.getLogger(__name__)

_START_OVER = "start over: run ferry cleanup, and empty or drop the tables on the target"


@dataclass(frozen=True)
class RunContext:
    """Everything that validation found, for the rest of the run."""

    ferry: FerryManifest
    uid: str
    name: str
    flavor: Flavor
    source_id: str
    connections: Connections
    store: CheckpointStore
    state: RunState | None
    lease: Lease | None
    marks: Marks = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    new_tables: list[TableName] = field(default_factory=list)
    """Tables that match too but did not exist when the copy began. They are not moved."""

    @property
    def was_cut_over(self) -> bool:
        return self.lease is not None and self.lease.phase == COMPLETED

    @property
    def begun(self) -> bool:
        """Whether an earlier run has copied rows."""
        return self.state is not None and bool(self.state.tables)

    @property
    def epoch(self) -> int:
        """The newest known epoch. A restored target may know only older ones."""
        return max(self.lease.epoch if self.lease else 0, self.state.epoch if self.state else 0)

    @property
    def stateless(self) -> bool:
        """Whether the state is missing, or is older than the first row although the target has rows of another
        state.
        """
        in_file = isinstance(self.store, SqliteStore)
        return self.state is None or (in_file and not self.begun and others_copied(self.marks))

    @property
    def started(self) -> Collection[str]:
        """Ids of tables whose rows on the target are kept."""
        return self.kept(self.lease)

    def kept(self, lease: Lease | None) -> Collection[str]:
        """Ids of tables with a record of their start, unless ``lease`` says that the run ended before its first row."""
        unwritten = lease.unwritten if lease is not None and lease.by_table else ()
        recorded = self.state.started if self.state is not None else ()
        return {table.id for table in self.tables if table.id in recorded and str(table.target) not in unwritten}

    @property
    def recreatable(self) -> Collection[str]:
        """Ids of tables that an earlier start created without copying any row."""
        return self.state.recreatable if self.state is not None else ()

    @property
    def copied_again(self) -> frozenset[str]:
        """Ids of tables to copy again."""
        stored = self.state.tables.items() if self.state is not None else ()
        return frozenset(table_id for table_id, table in stored if not table.started)

    @property
    def dropped_again(self) -> Collection[str]:
        """Ids of tables to copy again that this Ferry has created: it drops them and creates them once more."""
        if self.state is None or self.ferry.spec.schema_.create is not CreateTables.IF_MISSING:
            return ()
        return self.copied_again.intersection(self.state.created)

    @property
    def may_lack_indexes(self) -> Collection[str]:
        """Ids of tables that an earlier start may have created without their deferred indexes.

        If its state is lost: all that it claimed, unless the user creates the tables.
        """
        if self.stateless and self.lease is not None and self.ferry.spec.schema_.create is CreateTables.IF_MISSING:
            return {table.id for table in self.tables if str(table.target) in self.lease.tables}
        return self.state.indexes_deferred if self.state is not None else ()

    @property
    def may_replicate(self) -> bool:
        """Whether replication may run on the source during the cutover: the user stops the writes and allows it."""
        spec = self.ferry.spec
        acknowledged = Reason.SOURCE_IS_REPLICA.value in {str(word) for word in spec.acknowledge}
        return acknowledged and spec.cutover.source_lock in (SourceLockMode.NONE, SourceLockMode.WEBHOOK)

    @property
    def reached(self) -> Stage:
        """The stage to resume in. A cutover attempt during which an earlier run died is undone."""
        copied = self.state is not None and self.state.all_copied(table.id for table in self.tables)
        return Stage.STREAMING if copied else Stage.COPYING


def source_identity(session: Session) -> str:
    """Identity of a server independent of its address, as stored in lease and checkpoint."""
    return session.identity.stored


def binlog_retention(session: Session) -> float | None:
    """For how many seconds the source keeps its binlogs; None: for ever."""
    return float(session.text(f"SELECT {session.version.retention_seconds}")) or None


def selection_of(ferry: FerryManifest) -> str:
    """The spec's tables section in one canonical form."""
    selection = ferry.spec.tables.model_dump(mode="json", by_alias=True)
    for rule in selection["rules"]:
        for name in ("key", "index"):
            if rule[name] is None:
                del rule[name]  # states of older versions do not have it
    if selection["tenant"] is None:
        del selection["tenant"]
    return json.dumps(selection, sort_keys=True)


def open_store(state_path: Path | None, connect: Callable[[], Session], uid: str) -> CheckpointStore:
    """``connect`` opens a session on the target."""
    return TargetStore(connect, uid) if state_path is None else SqliteStore(state_path)


def validate(
    ferry: FerryManifest,
    connections: Connections,
    options: RunOptions,
    say: Callable[[list[CheckResult]], None],
) -> RunContext:
    """Read both servers and the stored state; refuse whatever would fail. Writes nothing.

    Raises ConfigError with the first failed check's reason and all failed checks in its message.
    """
    uid = ferry_uid(ferry)
    name = f"{ferry.metadata.namespace}/{ferry.metadata.name}"
    connections.compute_like_source()
    with ExitStack() as opened, connections.source_control() as source, connections.target_control() as target:
        connections.meet(source, target)
        store = opened.enter_context(closing(open_store(options.state_path, connections.target, uid)))
        context = RunContext(
            ferry=ferry,
            uid=uid,
            name=name,
            flavor=source.flavor,
            source_id=source_identity(source),
            connections=connections,
            store=store,
            state=None,
            lease=_lease_if_shown(target, uid, store),
            marks=read_marks(target, uid),
        )
        context = replace(context, state=_stored_state(context))
        _refuse_foreign_state(context)
        context = _checked(context, source, target, say, restart=options.restart)
        opened.pop_all()  # the store stays open
    return context


def validate_again(context: RunContext, state: RunState, say: Callable[[list[CheckResult]], None]) -> RunContext:
    """The same while the run goes on, whose ``state`` is in memory: some of its tables may have changed, and others
    have appeared. Changes ``state``.
    """
    with context.connections.source_control() as source, context.connections.target_control() as target:
        context = replace(context, state=state, lease=read_lease(target, context.uid))
        return _checked(context, source, target, say)


def _checked(
    context: RunContext,
    source: Session,
    target: Session,
    say: Callable[[list[CheckResult]], None],
    *,
    restart: bool = False,
) -> RunContext:
    """With the tables as they are now, which passed preflight."""
    context, found = _with_tables(context, source, target)
    state, connections = context.state, context.connections
    if context.was_cut_over and state is not None:
        return context
    with _on_primary(connections) as primary:
        checked = PreflightContext(
            *(context.ferry.spec, context.uid, source, target, found.tables, context.started, context.store.describe()),
            problems=found.problems,
            stateless=context.stateless,
            restart=restart,
            recreatable=context.recreatable,
            copied_again=context.copied_again,
            dropped_again=context.dropped_again,
            own_objects=state.objects.may_be if state is not None else lambda _: (),
            replicas=connections.replicas(),
            by_gtid=state is not None and state.by_gtid,
            primary_session=primary,
        )
        _refuse_lost_tables(context, checked.existing_targets)
        results = run_checks(checked)
        say(results)
        refuse_failed(results)
    return context


def _on_primary(connections: Connections) -> AbstractContextManager[Session | None]:
    return connections.written_control() if connections.has_primary else nullcontext()


def _lease_if_shown(target: Session, uid: str, store: CheckpointStore) -> Lease | None:
    """None if the account may not see it: preflight names the privilege. With a state there must be a lease."""
    try:
        return read_lease(target, uid)
    except ConfigError:
        if store.load() is not None:
            raise
        return None


def _stored_state(context: RunContext) -> RunState | None:
    """The newest state whose rows the target has. A state that must be refused is left to ``_refuse_foreign_state``."""
    store, lease = context.store, context.lease
    newest = store.load()
    ours = newest is not None and newest.ferry_uid == context.uid and lease is not None and not context.was_cut_over
    if not (ours and isinstance(store, SqliteStore)):
        return newest
    return newest_held(store, context.marks, f"target {_target(context.ferry)}")


def _with_tables(context: RunContext, source: Session, target: Session) -> tuple[RunContext, Discovered]:
    """The tables that match the patterns; once copying has begun, those that matched then."""
    selection, state = context.ferry.spec.tables, context.state
    if state is None or not state.tables:
        known = explore(source, selection).across(source.version, target.version)
        found = _found_by_index(context, source, _as_specified(context, source, known))
        return replace(context, tables=found.tables), found
    state.meets_source(source.identity.start)  # before a changed table is forgotten
    schema = context.ferry.spec.schema_
    if schema.on_new_table is OnNewTable.COPY and not context.was_cut_over:
        join(state, new_tables(source, selection, state.tables))
    elif not context.was_cut_over:
        leave_out(state)
    again = rediscovered(source, selection, state, copies_again=schema.copies_again, compares=not context.was_cut_over)
    known = again.found.across(source.version, target.version)
    found = _found_by_index(context, source, _as_specified(context, source, known))
    if context.was_cut_over:
        return replace(context, tables=found.tables), found
    refuse_gone(source, without_joining(state, again.gone))
    refuse_new(context.ferry, again.new_tables, state.tables)
    return replace(context, tables=found.tables, new_tables=again.new_tables), found


def _as_specified(context: RunContext, source: Session, found: Discovered) -> Discovered:
    """With the engine that the spec asks for; without stored generated columns if differing values are acknowledged.

    And marked where cascades cannot be followed.
    """
    found = found.on_engine(context.ferry.spec.schema_.engine)
    compares = Acknowledgement.GENERATED_VALUES not in context.ferry.spec.acknowledge
    tables = [replace(table, compares_stored=compares) for table in found.tables]
    stored = context.state.tables.items() if context.state is not None else ()
    return replace(found, tables=copied_as_needed(source, tables, {name for name, one in stored if one.copied_whole}))


def _found_by_index(context: RunContext, source: Session, found: Discovered) -> Discovered:
    """With those tables marked whose filter is better not evaluated by an index."""
    state, pace = context.state, context.ferry.spec.copy_
    reads_lock = visibility_of(source, state.position if state is not None else None).lock_clause != ""
    tables = found_by_index(source, found.tables, pace.chunk_target_bytes, reads_lock=reads_lock)
    return replace(found, tables=tables)


def _target(ferry: FerryManifest) -> str:
    return ferry.spec.target.address


def _refuse_lost_tables(context: RunContext, existing: Collection[TableName]) -> None:
    started = [table for table in context.tables if table.id in context.started]
    refuse_lost(context, [table for table in started if table.target not in existing])


def refuse_lost(context: RunContext, lost: Collection[Table]) -> None:
    """Raise TargetTableLost for these tables, if there are any.

    They would be created again, without the rows that the state counts as copied.
    """
    if lost:
        names = ", ".join(str(table.target) for table in lost)
        raise DataError(
            Reason.TARGET_TABLE_LOST,
            f"target {_target(context.ferry)} no longer has {names}, to which this Ferry has copied rows; "
            f"{_START_OVER}",
        )


def _refuse_foreign_state(context: RunContext) -> None:
    state, lease = context.state, context.lease
    if state is not None:
        where = context.store.describe()
        if state.ferry_uid != context.uid:
            raise ConfigError(
                Reason.STATE_OF_OTHER_FERRY,
                f"{where} belongs to Ferry {state.ferry_name} ({state.ferry_uid}), not to {context.name}; "
                "give another --state",
            )
        if state.tables and state.selection != selection_of(context.ferry):
            raise ConfigError(
                Reason.SELECTION_CHANGED,
                f"spec.tables differs from the one with which {where} was written; restore it, or give this Ferry "
                "another name: the selection cannot change once copying has begun",
            )
        if state.tables and (lease is None or (lease.epoch < state.epoch and state.run is None)):
            raise ConfigError(
                Reason.STATE_OF_OTHER_TARGET,
                f"{where} records rows on another target than {_target(context.ferry)}, which has no record of that "
                f"run: it is another server, was restored from a backup, or was cleaned up. Point the Ferry at the "
                f"target it began with, or {_START_OVER}",
            )
    begun = state if context.begun else lease if lease is not None and lease.tables else None
    known = begun.source_id if begun is not None else None
    if known is not None and not source_was(known, context.source_id, context.connections, state):
        raise ConfigError(
            Reason.OTHER_SOURCE,
            f"this Ferry began with source server {known}, but {context.ferry.spec.source.address} "
            f"is {context.source_id}; point it at the server it began with"
            f"{UNPROVEN + ', or ' + _START_OVER if perhaps_renamed(known, context.source_id) else ''}",
        )
