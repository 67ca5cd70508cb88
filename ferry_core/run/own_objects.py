"""Which views, routines, events and sequences on the target are this Ferry's own, by the checkpoint.

Used by ``objects``, ``creating`` and cleanup.

Before an object is created its name is stored with the fingerprints that it may get: it is *planned*. Once it exists it
is *ours*. A run that is killed in between leaves the name planned, and somebody else may then create an object of that
name. So a planned object is replaced only if its definition is the planned one, and never dropped by a cleanup. One of
ours that was changed on the target since is somebody else's too.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from ferry_core.api.choices import Definer
from ferry_core.checkpoint.state import LateObject, ObjectsState
from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.session import Session
from ferry_core.schema.fingerprints import fingerprint, planned_fingerprints
from ferry_core.schema.object_maker import ObjectMaker
from ferry_core.schema.objects import Definition, Kind, Listed, list_objects, read
from ferry_core.tables.table import TableName

log = logging.getLogger(__name__)


class KeptObjects(NamedTuple):
    """Part of the checkpoint; ``save`` stores it."""

    state: ObjectsState
    save: Callable[[], None]


def object_id(kind: Kind, name: TableName) -> str:
    """The name in the state: ``VIEW shop.v``, with the object's name on the target."""
    return f"{kind} {name}"


def split_id(text: str) -> tuple[Kind, TableName]:
    """Kind and name from an ``object_id``."""
    kind = next(kind for kind in sorted(Kind, key=len, reverse=True) if text.startswith(f"{kind} "))
    return kind, TableName.parse(text.removeprefix(f"{kind} "))


def recognised(found: Definition, fingerprints: Collection[str]) -> bool:
    return fingerprint(found) in fingerprints


def plan(kept: ObjectsState, wanted: Mapping[str, Definition], definer: Definer, account: bytes) -> None:
    """These are about to be created."""
    for name, one in wanted.items():
        kept.planned[name] = planned_fingerprints(one, definer, account)


def forget_gone(
    kept: ObjectsState, there: Mapping[str, Definition], wanted: Collection[str], kinds: Collection[Kind]
) -> list[str]:
    """The names of ours on the target that the source has no more. Those that may be somebody else's are forgotten.

    ``there`` and ``wanted`` have only these ``kinds``; an earlier run may have created others.
    """
    gone = []
    for name in {name for name in [*kept.ours, *kept.planned] if split_id(name)[0] in kinds}.difference(wanted):
        kept.planned.pop(name, None)
        if name in there and recognised(there[name], kept.ours.get(name, ())):
            gone.append(name)
            continue
        kept.ours.pop(name, None)
        if name in there:
            log.warning(
                "the source has no %s any more; the target's may be somebody else's and is kept", _shown([name])
            )
    return sorted(gone)


def drop_own_objects(session: Session, kept: ObjectsState, shared: frozenset[str]) -> str:
    """Before a cutover: drop the objects that a state records as the Ferry's own; returns what was dropped and kept.

    Those in ``shared`` schemas are kept: another Ferry has tables there, found them equal, and relies on them.
    """
    names = {name: split_id(name) for name in sorted({*kept.ours, *kept.planned})}
    there = list_objects(session, {named.schema for _, named in names.values()}, list(Kind))
    found = {(one.kind, one.name): one for one in there}
    dropped, left = [], []
    for name, (kind, named) in names.items():
        if (one := found.get((kind, named))) is None:
            continue
        if shared.isdisjoint((named.schema, named.schema.lower())) and _is_ours(session, one, kept.ours.get(name, ())):
            ObjectMaker(session, named.schema, Definer.KEEP).drop(kind, named.name)
            dropped.append(name)
        else:
            left.append(name)
    said = f"; dropped {_shown(dropped)}" if dropped else ""
    if left:
        said += f"; kept {_shown(left)} (perhaps not this Ferry's alone): drop what you do not need by hand"
    return said


def _shown(names: Sequence[str]) -> str:
    return ", ".join(f"{kind.lower()} {name}" for kind, name in map(split_id, names))


def _is_ours(session: Session, one: Listed, fingerprints: Collection[str]) -> bool:
    try:
        return recognised(read(session, one), fingerprints)
    except (ConfigError, DataError):  # the account may not read it, or it names something that does not exist
        return False


def stored_late(wanted: Mapping[Listed, Definition]) -> list[LateObject]:
    """For the checkpoint: triggers and events, as they must be after the cutover."""
    return [
        LateObject(
            kind=one.kind,
            source_schema=one.name.schema,
            name=one.name.name,
            table=one.table,
            place=one.place,
            statement=it.statement.decode("latin-1"),
            sql_mode=it.sql_mode,
            character_set=it.character_set,
            collation=it.collation,
            schema_collation=it.schema_collation,
            time_zone=it.time_zone,
        )
        for one, it in wanted.items()
    ]


def restored_late(late: Collection[LateObject]) -> dict[Listed, Definition]:
    """The reverse of ``stored_late``."""
    return {
        Listed(Kind(one.kind), TableName(one.source_schema, one.name), one.table, one.place, b""): Definition(
            Kind(one.kind),
            one.source_schema,
            one.name,
            one.statement.encode("latin-1"),
            one.sql_mode,
            one.character_set,
            one.collation,
            one.schema_collation,
            one.time_zone,
        )
        for one in late
    }
