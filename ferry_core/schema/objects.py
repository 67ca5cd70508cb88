"""What schemas contain besides tables (views, routines, triggers, events, sequences), as a server lists and prints it.

A definition is the bytes of its statement together with the settings under which it was created: sql_mode, character
sets, time zone. It is read with its own schema as the current one, so that it names a schema only if its author did.
Used by ``object_maker``, by preflight and by the run.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from ferry_core.api.choices import OtherObjects
from ferry_core.api.selection import Tables
from ferry_core.api.spec import Objects
from ferry_core.errors import ConfigError
from ferry_core.mysql.literals import identifier, string
from ferry_core.mysql.session import Row, Session
from ferry_core.reasons import Reason
from ferry_core.tables.patterns import matches
from ferry_core.tables.table import Table, TableName


class Kind(StrEnum):
    """In the order of creation; the values are SQL keywords."""

    SEQUENCE = "SEQUENCE"
    FUNCTION = "FUNCTION"
    PROCEDURE = "PROCEDURE"
    PACKAGE = "PACKAGE"
    PACKAGE_BODY = "PACKAGE BODY"
    VIEW = "VIEW"
    EVENT = "EVENT"
    TRIGGER = "TRIGGER"


ROUTINES = (Kind.FUNCTION, Kind.PROCEDURE, Kind.PACKAGE, Kind.PACKAGE_BODY)
EARLY = (Kind.SEQUENCE,)
"""Created before the tables, whose defaults may name them."""
LATE = (Kind.TRIGGER,)
"""Created once no row of ours is written any more."""

_NAME = rb"(?:`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\")"
"""A name in the quotes of the sql_mode under which a routine was created."""
_DEFINER = re.compile(rb" DEFINER=" + _NAME + rb"(?:@" + _NAME + rb")?")
_STATUS = re.compile(rb"( ON COMPLETION (?:NOT )?PRESERVE )(ENABLE|DISABLE ON SLAVE|DISABLE ON REPLICA|DISABLE)\b")
_AS_BIGINT = re.compile(rb"(?<=` )as bigint ")
_SHOWN_COLUMNS = {Kind.SEQUENCE: 2, Kind.VIEW: 4, Kind.EVENT: 7}
"""Of SHOW CREATE. Six of the other kinds."""
"""Printed by MariaDB since 11.5, which has other types too."""
_LISTINGS = {
    (Kind.SEQUENCE,): "SELECT 'SEQUENCE', TABLE_SCHEMA, TABLE_NAME, '', 0, ''"
    " FROM information_schema.TABLES WHERE TABLE_TYPE = 'SEQUENCE' AND TABLE_SCHEMA",
    (Kind.VIEW,): "SELECT 'VIEW', TABLE_SCHEMA, TABLE_NAME, '', 0,"
    " CONCAT_WS(0x00, VIEW_DEFINITION, CHECK_OPTION, DEFINER, SECURITY_TYPE)"
    " FROM information_schema.VIEWS WHERE TABLE_SCHEMA",
    ROUTINES: "SELECT ROUTINE_TYPE, ROUTINE_SCHEMA, ROUTINE_NAME, '', 0,"
    " CONCAT_WS(0x00, CREATED, LAST_ALTERED, DEFINER)"
    " FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA",
    (Kind.TRIGGER,): "SELECT 'TRIGGER', TRIGGER_SCHEMA, TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_ORDER,"
    " CONCAT_WS(0x00, ACTION_TIMING, EVENT_MANIPULATION, ACTION_STATEMENT, CREATED, DEFINER)"
    " FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA",
    (Kind.EVENT,): "SELECT 'EVENT', EVENT_SCHEMA, EVENT_NAME, '', 0,"
    " CONCAT_WS(0x00, EVENT_DEFINITION, EXECUTE_AT, INTERVAL_VALUE, INTERVAL_FIELD, STARTS, ENDS, SQL_MODE, TIME_ZONE,"
    " ON_COMPLETION, STATUS, EVENT_COMMENT, DEFINER)"
    " FROM information_schema.EVENTS WHERE EVENT_SCHEMA",
}


@dataclass(frozen=True)
class Listed:
    """One object from information_schema. A different ``version`` means that it was changed."""

    kind: Kind
    name: TableName
    table: str
    """The table of a trigger; otherwise empty."""
    place: int
    """The position of a trigger among those with the same table, event and time."""
    version: bytes

    def __str__(self) -> str:
        return f"{self.kind.lower()} {self.name}"


@dataclass(frozen=True)
class Definition:
    """``statement`` is in bytes of ``character_set``, which must be set on a server before it reads them."""

    kind: Kind
    schema: str
    name: str
    statement: bytes
    sql_mode: str
    character_set: str
    collation: str
    schema_collation: str
    time_zone: str

    @property
    def definer(self) -> bytes:
        """The DEFINER clause; empty if there is none."""
        found = _DEFINER.search(self.statement)
        return found.group() if found else b""

    @property
    def status(self) -> bytes:
        """Of an event: ENABLE, DISABLE or DISABLE ON another server."""
        found = _STATUS.search(self.statement) if self.kind is Kind.EVENT else None
        return found.group(2) if found else b""

    def named(self, name: str) -> "Definition":
        """A sequence with another name."""
        statement = self.statement.replace(identifier(self.name).encode(), identifier(name).encode(), 1)
        return replace(self, name=name, statement=statement)

    def by(self, definer: bytes) -> bytes:
        """The statement with another DEFINER clause."""
        return _DEFINER.sub(lambda _: definer, self.statement, count=1)

    def comparable(self, *, definers: bool, statuses: bool) -> tuple[object, ...]:
        """Equal for definitions of two servers that mean the same."""
        text = self.statement if definers else self.by(b"")
        if not statuses and self.kind is Kind.EVENT:
            text = disabled(text)
        if self.kind is Kind.VIEW:  # MariaDB names the view's own schema if it lacks the definer
            text = text.replace(identifier(self.schema).encode() + b".", b"")
        settings = (self.sql_mode, self.character_set, self.collation, self.schema_collation, self.time_zone)
        return (self.kind, self.name, text, *settings)


def disabled(event: bytes) -> bytes:
    """CREATE EVENT for a disabled event."""
    return _STATUS.sub(rb"\1DISABLE", event, count=1)


def created_kinds(objects: Objects) -> frozenset[Kind]:
    """The kinds that the spec wants created."""
    wanted = {
        EARLY: objects.sequences,
        (Kind.VIEW,): objects.views,
        ROUTINES: objects.routines,
        (Kind.TRIGGER,): objects.triggers,
        (Kind.EVENT,): objects.events,
    }
    return frozenset(kind for kinds, how in wanted.items() if how is OtherObjects.CREATE for kind in kinds)


def list_objects(session: Session, schemas: Collection[str], kinds: Collection[Kind]) -> list[Listed]:
    """In the order of creation, except for views that depend on views."""
    if not schemas:
        return []
    names = ", ".join(sorted(map(string, schemas)))
    found = []
    for listed, select in _LISTINGS.items():
        if any(kind in kinds for kind in listed):
            found += [_listed(row) for row in session.query(f"{select} IN ({names})")]
    found = [_with_options(session, one) for one in found if one.kind in kinds]
    order = list(Kind)
    return sorted(found, key=lambda one: (order.index(one.kind), one.name.schema, one.table, one.place, one.name.name))


def _listed(row: Row) -> Listed:
    kind, schema, name, table, place, version = row
    named = TableName((schema or b"").decode(), (name or b"").decode())
    return Listed(Kind((kind or b"").decode()), named, (table or b"").decode(), int(place or 0), version or b"")


def _with_options(session: Session, one: Listed) -> Listed:
    """An ALTER SEQUENCE does not change what information_schema has."""
    return replace(one, version=read(session, one).statement) if one.kind is Kind.SEQUENCE else one


def wanted_objects(
    session: Session, selection: Tables, tables: Iterable[Table], kinds: Collection[Kind]
) -> list[Listed]:
    """Objects of the tables' schemas to be created: those that no exclude pattern names, and only triggers of these
    tables.
    """
    of_tables = {table.source for table in tables}
    return [
        one
        for one in list_objects(session, {name.schema for name in of_tables}, kinds)
        if (one.kind is not Kind.TRIGGER or TableName(one.name.schema, one.table) in of_tables)
        and not any(matches(one.name, pattern) for pattern in selection.exclude)
    ]


def read(session: Session, one: Listed) -> Definition:
    """The definition on the session's server. ConfigError if the account may not see it."""
    session.execute(f"USE {identifier(one.name.schema)}")
    shown = session.row(f"SHOW CREATE {one.kind} {identifier(one.name.name)}", _SHOWN_COLUMNS.get(one.kind, 6))
    row = [value or b"" for value in shown]
    match one.kind:
        case Kind.SEQUENCE:
            values = [b"", _AS_BIGINT.sub(b"", row[1]), b"utf8mb4", b"utf8mb4_general_ci", b"", b""]
        case Kind.VIEW:
            values = [b"", row[1], row[2], row[3], b"", b""]
        case Kind.EVENT:
            values = [row[1], row[3], row[4], row[5], row[6], row[2]]
        case _:
            values = [*row[1:6], b""]
    mode, statement, *settings = values
    if not statement:
        raise ConfigError(
            Reason.MISSING_PRIVILEGE, f"{session.endpoint.where}: the account may not read the definition of {one}"
        )
    removed = session.version.removed_sql_modes
    modes = ",".join(word for word in mode.decode().split(",") if word not in removed)
    return Definition(one.kind, *one.name, statement, modes, *(value.decode() for value in settings))


def schema_on_target(one: Listed, selection: Tables) -> str:
    return selection.rename_schemas.get(one.name.schema, one.name.schema)


def names_schema(definition: Definition, schema: str) -> bool:
    """Whether the text may name something with this schema, in code, a comment or a string."""
    return _named(definition, rf"[`\"]?{re.escape(schema)}[`\"]?(?:\s|/\*.*?\*/)*\.")


def renamed_in(definition: Definition, schema: str, selection: Tables, tables: Iterable[Table]) -> list[str]:
    """Tables that the text seems to name and that have another name on the target."""
    found = {table.source.schema for table in tables if table.target.schema != table.source.schema}
    named = [other for other in sorted(found) if names_schema(definition, other)]
    for table in tables:
        expected = TableName(selection.rename_schemas.get(table.source.schema, table.source.schema), table.source.name)
        if table.target != expected and (table.source.schema == schema or table.source.schema in named):
            word = rf"{re.escape(table.source.name)}(?![\w$])"
            named += [str(table.source)] if _named(definition, word) else []
    return named


def _named(definition: Definition, pattern: str) -> bool:
    text = definition.statement.decode("utf-8", "replace")
    return re.search(rf"(?i)(?<![\w$]){pattern}", text, re.DOTALL) is not None
