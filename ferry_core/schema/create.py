"""Creates tables that are missing on the target, from the source's definitions under their target names.

``foreign_keys`` adds foreign keys later, after the rows; everything else (indexes, checks, partitions, AUTO_INCREMENT)
is created at once. Called by the coordinator once the fence is taken, and again at every resume: existing tables are
kept.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.listings import exists, listed
from ferry_core.mysql.literals import identifier, string
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.schema.building import as_written
from ferry_core.schema.definition import Definition, parse
from ferry_core.schema.drop import drop_if_empty
from ferry_core.schema.likeness import differences
from ferry_core.schema.spelling import spelled_out
from ferry_core.tables.table import Table, TableName


class Fence(Protocol):
    """Keeps successors waiting while statements run that cannot be part of a transaction."""

    def hold(self, working: Session) -> AbstractContextManager[None]: ...


def create_missing(
    source: Session,
    target: Session,
    tables: Sequence[Table],
    fence: Fence,
    planned: Callable[[Sequence[Table]], object] = len,
    created: Callable[[Table], object] = lambda _table: None,
) -> list[Table]:
    """Create schemas and tables that are missing on the target; returns the tables created now.

    ``planned`` is called with all of them before the first is created, ``created`` with each one afterwards. Raises
    ConfigError for tables that differ from the source's after creation, and drops those of them that are empty.
    """
    missing = [table for table in tables if not exists(target, table.target)]
    if not missing:
        return []
    planned(missing)
    with as_written(target) as build:
        for table in missing:
            take_literally(target, table)
            made = definition(source, table.source).on_engine(table.target_engine)
            taken = taken_names(target, table.target, "CHECK") if made.checks else frozenset()
            statement = made.create(table.target, taken)
            with fence.hold(target):
                _create_schema(source, target, table)
                build(statement)
            created(table)
    _refuse_unlike(source, target, missing, fence)
    return missing


def _refuse_unlike(source: Session, target: Session, created: Sequence[Table], fence: Fence) -> None:
    found = differences(source, target, [(table, table.target) for table in created], definition)
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


def definition(source: Session, table: TableName) -> Definition:
    """The source's definition of a table."""
    text = source.query(f"SHOW CREATE TABLE {table.sql}")[0][1]
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


def taken_names(session: Session, table: TableName, kind: str) -> frozenset[str]:
    """Constraint names of other tables of the schema, in lower case, if names must be unique in the schema."""
    owners = constraint_owners(session, table.schema, kind)
    return frozenset(name for name, owner in owners.items() if owner != table.name)


def constraint_owners(session: Session, schema: str, kind: str) -> dict[str, str]:
    """The names of a schema's constraints, in lower case, with their tables, if names must be unique in the schema."""
    if kind == "CHECK" and session.flavor is not Flavor.MYSQL:
        return {}  # on MariaDB names are unique per table
    rows = listed(
        session,
        "SELECT constraint_name, table_name FROM information_schema.table_constraints"
        f" WHERE constraint_type = {string(kind)} AND constraint_schema = {string(schema)}",
    )
    return {(name or b"").decode().lower(): (owner or b"").decode() for name, owner in rows}


def _create_schema(source: Session, target: Session, table: Table) -> None:
    rows = source.query(
        "SELECT default_character_set_name, default_collation_name FROM information_schema.schemata"
        f" WHERE schema_name = {string(table.source.schema)}"
    )
    charset, collation = ((value or b"").decode() for value in rows[0])
    target.execute(
        f"CREATE DATABASE IF NOT EXISTS {identifier(table.target.schema)} CHARACTER SET {charset} COLLATE {collation}"
    )
