"""Creates tables that are missing on the target, from the source's definitions under their target names.

Everything is created at once (indexes, checks, partitions, AUTO_INCREMENT), also foreign keys between selected tables:
an ALTER for each table would take longer than the copy of small tables. Only indexes of large tables may come after
their rows (``deferred``). Until the cutover foreign keys act on nothing, because each session that writes rows has
foreign_key_checks=0: it neither checks nor cascades. Called by the coordinator once the fence is taken, and again at
every resume: existing tables are kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.listings import exists
from ferry_core.mysql.literals import identifier, string
from ferry_core.mysql.session import Session
from ferry_core.mysql.version import ServerVersion
from ferry_core.reasons import Reason
from ferry_core.schema.building import Build, as_written
from ferry_core.schema.constraint_names import ConstraintNames
from ferry_core.schema.deferred import referenced_columns, without_deferred
from ferry_core.schema.definition import Definition, parse
from ferry_core.schema.drop import drop_if_empty
from ferry_core.schema.likeness import differences
from ferry_core.schema.parallel_builds import Builds, Opening
from ferry_core.schema.spelling import spelled_out
from ferry_core.schema.translate import translated
from ferry_core.tables.families import NoCounterpartError, collation_there
from ferry_core.tables.table import Table, TableName

AT_ONCE = 64
"""Tables between two looks at the lease. Each look costs a connection for each session that creates tables."""


class Fence(Protocol):
    """Keeps successors waiting while statements run that cannot be part of a transaction."""

    def hold(self, working: Session) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class Creation:
    """How to create: ``planned`` is called with all tables before the first is created, and with those that are created
    without their deferred indexes; ``created`` with each one afterwards, in any thread. ``connect`` opens further
    sessions to the target; None: there is only the given one. ``sequences``: of the source's, the target's names.
    ``defers``: whether a table's indexes are deferred, if they can be.
    """

    planned: Callable[[Sequence[Table], Sequence[Table]], object] = lambda _tables, _deferred: None
    created: Callable[[Table], object] = lambda _table: None
    connect: Callable[[], Session] | None = None
    sequences: Mapping[TableName, TableName] = field(default_factory=dict)
    defers: Callable[[Table], bool] = lambda _table: False


def create_missing(
    source: Session, target: Session, tables: Sequence[Table], fence: Fence, creation: Creation = Creation()
) -> list[Table]:
    """Create schemas and tables that are missing on the target; returns the tables created now.

    Raises ConfigError for tables that differ from the source's after creation, and drops those of them that are empty.
    """
    missing = [table for table in tables if not exists(target, table.target)]
    if not missing:
        return []
    for table in missing:
        take_literally(target, table)
    whole = {table.source: wanted_definition(source, table, creation.sequences, target.version) for table in missing}
    references = referenced_columns(tables)
    made = whole | {
        table.source: without_deferred(whole[table.source], table, references)
        for table in missing
        if creation.defers(table)
    }
    creation.planned(missing, [table for table in missing if made[table.source] != whole[table.source]])
    statements = _statements(target, missing, made, {table.source: table.target for table in tables})
    with fence.hold(target):
        create_schemas(source, target, missing)
    with as_written(target) as build:
        for first in range(0, len(missing), AT_ONCE):
            some = missing[first : first + AT_ONCE]
            with fence.hold(target):
                _build(build, some, statements[first : first + AT_ONCE], fence, creation)
    _refuse_unlike(source, target, missing, fence, made)
    return missing


def _statements(
    target: Session,
    missing: Sequence[Table],
    made: Mapping[TableName, Definition],
    targets: Mapping[TableName, TableName],
) -> list[str]:
    """One CREATE TABLE each. The first table gets a constraint's name if several want it."""
    checks, keys = ConstraintNames(target, "CHECK"), ConstraintNames(target, "FOREIGN KEY")
    statements = []
    for table in missing:
        it = made[table.source]
        inside = [key for key in it.foreign_keys if key.references in targets]
        taken = checks.taken(table.target) if it.checks else frozenset()
        names = keys.taken(table.target) if inside else frozenset()
        constraints = [key.referencing(targets[key.references], names) for key in inside]
        statements.append(it.create(table.target, taken, constraints))
        if it.checks:
            checks.take(table.target, [check.name for check in it.checks])
        if inside:
            keys.take(table.target, [key.name for key in inside])
    return statements


def _build(build: Build, tables: Sequence[Table], statements: Sequence[str], fence: Fence, creation: Creation) -> None:
    builds = Builds(statements, done=lambda at: creation.created(tables[at]))
    helper = None if creation.connect is None else partial(_helping, creation.connect, fence)
    for refused in builds.run(build, helper).refused.values():
        raise refused


@contextmanager
def _helping(connect: Callable[[], Session], fence: Fence, opening: Opening) -> Iterator[Build]:
    with connect() as session:
        opening(session)
        with fence.hold(session), as_written(session) as build:
            yield build


def _refuse_unlike(
    source: Session,
    target: Session,
    created: Sequence[Table],
    fence: Fence,
    made: Mapping[TableName, Definition],
) -> None:
    def read(session: Session, name: TableName) -> Definition:
        return made[name] if session is source else definition(session, name)

    found = differences(source, target, [(table, table.target) for table in created], read)
    if not found:
        return
    with fence.hold(target):
        for table in created:
            if table in found:
                drop_if_empty(target, table.target)
    raise ConfigError(
        Reason.DEFINITION_DIFFERS,
        "; ".join(
            f"{target.endpoint.address} made {table.target} differently: {difference}"
            for table, difference in found.items()
        )
        + "; create these tables there yourself, or leave them out with tables.exclude",
    )


def take_literally(target: Session, table: Table) -> None:
    """Make a session create ``table`` as its definition says, whatever the target's global settings are.

    Otherwise a table with only a UNIQUE key may get an additional column without a warning. ConfigError if the account
    may not prevent that.
    """
    if table.key.index_name == "PRIMARY":
        return
    adds_keys = target.query("SHOW SESSION VARIABLES LIKE 'sql_generate_invisible_primary_key'")
    if not adds_keys or adds_keys[0][1] == b"OFF":
        return
    try:
        target.execute("SET SESSION sql_generate_invisible_primary_key = OFF")
    except ConfigError as error:
        if error.reason != Reason.MISSING_PRIVILEGE:
            raise
        raise ConfigError(
            Reason.TARGET_CHANGES_DEFINITIONS,
            f"{target.endpoint.address} has sql_generate_invisible_primary_key = ON: {table.target}, which has no "
            "primary key, would get a column that the source's does not have; GRANT SESSION_VARIABLES_ADMIN ON *.* to "
            "the target's account, SET GLOBAL sql_generate_invisible_primary_key = OFF, or create the table beforehand",
        ) from error


def wanted_definition(
    source: Session, table: Table, sequences: Mapping[TableName, TableName], target: ServerVersion
) -> Definition:
    """The definition that the target's table is to have."""
    it = definition(source, table.source).on_engine(table.target_engine)
    try:
        return of_family(it, table, source.version, target).with_sequences(sequences)
    except NoCounterpartError as problem:
        raise ConfigError(
            Reason.FAMILIES_DIFFER, f"{table.source} cannot be created on {target.flavor.value}: {problem}"
        ) from problem


def of_family(it: Definition, table: Table, source: ServerVersion, target: ServerVersion) -> Definition:
    """Translated, if the target is of the other family. Raises NoCounterpartError."""
    return it if source.flavor is target.flavor else translated(it, table, target)


def definition(source: Session, table: TableName) -> Definition:
    """The source's definition of a table."""
    text = source.row(f"SHOW CREATE TABLE {table.sql}", 2)[1]
    if text is None:
        raise DataError(Reason.DEFINITION_UNREADABLE, f"SHOW CREATE TABLE of {table} gave nothing")
    # It contains literals of other character sets as raw bytes, which are passed to the target unchanged.
    return _defined(source, table, text.decode("utf-8", "surrogateescape"))


def known_definition(source: Session, table: Table) -> Definition:
    """The definition that was read together with the table's columns."""
    if not table.definition:
        return definition(source, table.source)  # raises why it could not be read
    return _defined(source, table.source, table.definition)


def _defined(source: Session, table: TableName, text: str) -> Definition:
    return parse(spelled_out(source, table, text), table)


def create_schemas(source: Session, target: Session, tables: Sequence[Table]) -> None:
    """Those of the tables, like the source's; existing ones are kept."""
    for of_source, of_target in dict.fromkeys((table.source.schema, table.target.schema) for table in tables):
        rows = source.query(
            "SELECT default_character_set_name, default_collation_name FROM information_schema.schemata"
            f" WHERE schema_name = {string(of_source)}"
        )
        if not rows:
            raise DataError(Reason.SCHEMA_CHANGED, f"{source.endpoint.where}: schema {of_source} was dropped just now")
        charset, collation = ((value or b"").decode() for value in rows[0])
        target.execute(
            f"CREATE DATABASE IF NOT EXISTS {identifier(of_target)} {_default(source, target, charset, collation)}"
        )


def _default(source: Session, target: Session, charset: str, collation: str) -> str:
    """Of a schema. Tables name their own, so one that the other family lacks is left to the server."""
    if source.flavor is target.flavor:
        return f"CHARACTER SET {charset} COLLATE {collation}"
    try:
        return f"CHARACTER SET {charset} COLLATE {collation_there(collation, target.version)}"
    except NoCounterpartError:
        return ""
