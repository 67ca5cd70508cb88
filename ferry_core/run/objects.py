"""Views, routines, triggers, events and sequences on the target: when a run creates them, and which are the Ferry's.

Sequences are created before the tables, whose DEFAULTs may name them. Views, routines and disabled events are created
once the rows are copied, and all are updated before each cutover attempt. Triggers, and the statuses of events, follow
when the cutover is recorded: from then on the fence allows no row write of ours, so no trigger can fire for one, and a
failed attempt has nothing to undo. Under the cutover's lock one check proves that nothing changed on the source since.
The checkpoint has the definitions of triggers and events from before the attempt, so if a run is killed in between, the
next start finishes the work whatever the source has by then (``late_objects``). What this Ferry creates is recorded
with a fingerprint of its definition: only what still has that is dropped or replaced (``own_objects``). Used by
``operations`` and ``late_objects``.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from ferry_core.api.spec import Spec
from ferry_core.checkpoint.state import ObjectsState
from ferry_core.consistency.fence import Fence
from ferry_core.cutover.outcome import AttemptFailed
from ferry_core.errors import ConfigError, DataError, FerryError
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.run.own_objects import KeptObjects, forget_gone, object_id, plan, recognised, stored_late
from ferry_core.schema.event_zones import refuse_other_zone
from ferry_core.schema.fingerprints import account_clause
from ferry_core.schema.object_maker import ObjectMaker, differs, foreign_objects
from ferry_core.schema.objects import (
    EARLY,
    LATE,
    Definition,
    Kind,
    Listed,
    created_kinds,
    list_objects,
    read,
    schema_on_target,
    wanted_objects,
)
from ferry_core.tables.table import Table, TableName
from ferry_core.text import shortlist
from ferry_core.workers.connections import Connections

log = logging.getLogger(__name__)

LOCK_SECONDS = 5
"""How long a CREATE TRIGGER waits for readers of its table before it is retried."""
SHOWN = 5
TRIGGER_EXISTS = 1359
AFTER = (Kind.EVENT, Kind.TRIGGER)
"""Not as on the source before the cutover is recorded."""

Save = Callable[[], None]
Waits = Callable[[Definition, Mapping[Definition, FerryError]], bool]


class TargetObjects:
    """The objects of one start of a run. Used in the coordinator's thread, ``refuse_changed`` in the attempt's."""

    def __init__(self, spec: Spec, tables: Sequence[Table], connections: Connections, fence: Fence) -> None:
        self._spec = spec
        self._tables = tables
        self._connections = connections
        self._fence = fence
        self._kinds = created_kinds(spec.schema_.objects)
        self._definer = spec.schema_.objects.definer
        self._wanted: dict[Listed, Definition] = {}
        self._left: Sequence[Listed] = ()

    def bring(self, kept: ObjectsState, save: Save) -> None:
        """Make objects that exist before the cutover equal to the source's. ``kept`` is stored before each step.

        Raises ConfigError if the target refuses one, or has one of that name that does not belong to this Ferry.
        """
        if not self._kinds:
            return
        with self._connections.source_control() as source, self._connections.target() as target:
            self._read(source)
            refuse_other_zone(source, target, self._wanted)
            late = stored_late({one: it for one, it in self._wanted.items() if one.kind in AFTER})
            known, kept.late = kept.late, late
            if not self._bring(target, KeptObjects(kept, save), self._kinds.difference(LATE)) and late != known:
                save()

    def bring_early(self, source: Session, target: Session, kept: KeptObjects) -> None:
        """The same for what tables need."""
        kinds = self._kinds.intersection(EARLY)
        self._wanted = {one: read(source, one) for one in self._list(source, kinds)}
        self._bring(target, kept, kinds)

    def _bring(self, target: Session, keeping: KeptObjects, kinds: frozenset[Kind]) -> bool:
        """Returns False if there is nothing to do."""
        kept, save = keeping
        early = {one: it for one, it in self._wanted.items() if one.kind in kinds}
        there = self._on_target(target, kinds)
        missing = [one for one in early if self._id(one) not in there]
        outdated = [one for one in early if one not in missing and self._differs(one, there[self._id(one)])]
        foreign = [one for one in outdated if not recognised(there[self._id(one)], kept.may_be(self._id(one)))]
        if foreign:
            raise ConfigError(Reason.TARGET_OBJECT_DIFFERS, foreign_objects([str(one) for one in foreign]))
        gone = forget_gone(kept, there, set(map(self._id, early)), kinds)
        if not (missing or outdated or gone):
            return False
        made = {self._id(one): early[one] for one in early if one in missing or one in outdated}
        plan(kept, made, self._definer, account_clause(target))
        save()
        with self._fence.hold(target):
            for name in [*gone, *map(self._id, outdated)]:
                self._maker(target, there[name].schema).drop(there[name].kind, there[name].name)
            self._create(target, [one for one in early if self._id(one) in made])
        for name in gone:
            del kept.ours[name]
        kept.ours |= {name: kept.planned.pop(name) for name in made}
        save()
        self._refuse_unlike(target, early, Reason.DEFINITION_DIFFERS)
        log.info("created on the target: %s", shortlist([str(one) for one in early if self._id(one) in made], SHOWN))
        return True

    def refuse_changed(self, source: Session) -> None:
        """AttemptFailed if the source's objects differ from those that ``bring`` has read. Call it while no application
        writes.
        """
        if self._kinds and (now := set(self._list(source))) != self._wanted.keys():
            changed = sorted({str(one) for one in now ^ self._wanted.keys()})
            raise AttemptFailed(
                Reason.OBJECTS_CHANGED,
                f"changed on the source during the attempt: {shortlist(changed, SHOWN)}; the next attempt brings the "
                "target up to date first",
            )

    def finish(self) -> int:
        """After the cutover is recorded: create triggers and set the events' statuses. May be repeated; returns
        milliseconds.

        Raises DataError if the target refuses one: a person must look, and a restarted run continues here.
        """
        began = time.monotonic()
        if not self.after_cutover:
            return 0
        with self._connections.target() as target, self._fence.hold(target):
            there = self._on_target(target, AFTER)
            self._left = [one for one in self.after_cutover if one.kind in LATE and self._id(one) not in there]
            try:
                self._create(target, self._left, self._made, self._follows(there))
                for one, event in self.after_cutover.items():
                    if one.kind is Kind.EVENT and (found := there.get(self._id(one))) and found.status != event.status:
                        self._maker(target, found.schema).give_status(event)
                self._refuse_unlike(target, self.after_cutover, Reason.OBJECTS_MISSING, statuses=True)
            except (ConfigError, DataError) as error:
                raise DataError(
                    Reason.OBJECTS_MISSING,
                    f"the cutover is recorded and applications may use the target, but not all of its triggers and "
                    f"events are as on the source: {error.problem}. Fix that and start this Ferry again, which creates "
                    "what is missing, or create it by hand",
                ) from error
        return round((time.monotonic() - began) * 1000)

    @property
    def after_cutover(self) -> Mapping[Listed, Definition]:
        """Triggers, and events."""
        return {one: it for one, it in self._wanted.items() if one.kind in AFTER}

    def adopt(self, wanted: Mapping[Listed, Definition] | None) -> None:
        """Finish with these definitions, which an earlier run has stored. None: read the source."""
        if wanted is not None:
            self._wanted = dict(wanted)
        elif self._kinds:
            with self._connections.source_control() as source:
                self._read(source)

    @property
    def left(self) -> Mapping[Listed, Definition]:
        """Triggers that ``finish`` has not created yet. Any thread may read it."""
        return {one: self._wanted[one] for one in list(self._left)}

    def _follows(self, there: Mapping[str, Definition]) -> Waits:
        """Whether a trigger follows one of its table that cannot be created now. Their order is that of their creation.

        ``there``: another one may have that name.
        """
        tables = {self._wanted[one]: (one.name.schema, one.table) for one in self.after_cutover if one.table}
        others = {
            tables[it]
            for one, it in self.after_cutover.items()
            if it in tables and (found := there.get(self._id(one))) and self._differs(one, found)
        }

        def follows(one: Definition, refused: Mapping[Definition, FerryError]) -> bool:
            lacking = {tables[it] for it, why in refused.items() if why.code != TRIGGER_EXISTS}
            return tables[one] in others | lacking

        return follows

    def _made(self, made: Definition) -> None:
        self._left = [one for one in self._left if self._wanted[one] != made]

    # -- reading --------------------------------------------------------------------------------------------------

    def _list(self, source: Session, kinds: Collection[Kind] | None = None) -> list[Listed]:
        return wanted_objects(source, self._spec.tables, self._tables, self._kinds if kinds is None else kinds)

    def _read(self, source: Session) -> None:
        self._wanted = {one: read(source, one) for one in self._list(source)}

    def _on_target(self, target: Session, kinds: Collection[Kind]) -> dict[str, Definition]:
        schemas = {self._schema(one) for one in self._wanted} | {table.target.schema for table in self._tables}
        return {object_id(one.kind, one.name): read(target, one) for one in list_objects(target, schemas, kinds)}

    def _schema(self, one: Listed) -> str:
        return schema_on_target(one, self._spec.tables)

    def _id(self, one: Listed) -> str:
        return object_id(one.kind, TableName(self._schema(one), one.name.name))

    def _differs(self, one: Listed, there: Definition, *, statuses: bool = False) -> str:
        return differs(self._wanted[one], there, self._definer, statuses=statuses)

    # -- making ---------------------------------------------------------------------------------------------------

    def _maker(self, target: Session, schema: str) -> ObjectMaker:
        return ObjectMaker(target, schema, self._definer, LOCK_SECONDS)

    def _create(
        self,
        target: Session,
        wanted: Sequence[Listed],
        made: Callable[[Definition], None] = lambda _: None,
        waits: Waits = lambda _one, _refused: False,
    ) -> None:
        for schema in dict.fromkeys(map(self._schema, wanted)):
            tried = self._maker(target, schema).create(
                [self._wanted[one] for one in wanted if self._schema(one) == schema], made, waits
            )
            # A lost connection may have created a trigger: the comparison that follows tells whether it is right.
            refused = {one: why for one, why in tried.refused.items() if why.code != TRIGGER_EXISTS}
            refuse(target, schema, refused)

    def _refuse_unlike(
        self, target: Session, wanted: Collection[Listed], reason: Reason, *, statuses: bool = False
    ) -> None:
        there = self._on_target(target, {one.kind for one in wanted})
        unlike = []
        for one in wanted:
            found = there.get(self._id(one))
            if said := "it is missing" if found is None else self._differs(one, found, statuses=statuses):
                unlike.append(f"{one}: {said}")
        if unlike:
            raise ConfigError(
                reason,
                f"{target.endpoint.where} made these otherwise than the source: {shortlist(unlike, SHOWN, '; ')}",
            )


def refuse(target: Session, schema: str, refused: Mapping[Definition, FerryError]) -> None:
    """Raise ConfigError with the first reason and all messages."""
    if refused:
        said = [f"{one.kind.lower()} {TableName(schema, one.name)}: {why.problem}" for one, why in refused.items()]
        first = next(iter(refused.values()))
        reason = first.reason if isinstance(first, ConfigError) else Reason.DEFINITION_REFUSED
        raise ConfigError(reason, f"{target.endpoint.where} refuses to create {shortlist(said, SHOWN, '; ')}")
