"""Checks that existing tables on the target accept every row of the source without replacing any.

Called by ``target``.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.listings import rows_of
from ferry_core.mysql.literals import identifier
from ferry_core.mysql.session import Row, Session
from ferry_core.mysql.version import ServerVersion
from ferry_core.preflight.facts import decoded
from ferry_core.schema.drop import takes_no_row
from ferry_core.schema.tokens import tokens_of
from ferry_core.tables.alike import holds_texts, orders_alike, plain_collation, plain_type, same_in_wider
from ferry_core.tables.families import of_the_same_values, tells_apart
from ferry_core.tables.members import spelled_type
from ferry_core.tables.table import Table, TableName

_INTRODUCER = re.compile(r"\b_[a-z0-9]+(?=\\?')")
"""Introducer before a literal. MySQL prints another one once a table was created from its own output."""

_OPERATORS = frozenset(["AND", "OR", "XOR", "NOT", "DIV", "MOD", *"+-*/%|&^~!"])

Columns = tuple[str, ...]


@dataclass(frozen=True)
class _Column:
    type: str
    collation: str
    nullable: bool
    expression: str  # of a generated column, as the server prints it; otherwise empty


@dataclass(frozen=True)
class Structure:
    """The parts of a table's definition that decide whether rows fit."""

    engine: str
    columns: dict[str, _Column]
    unique: dict[Columns, str]  # expression of each UNIQUE index -> the index's name
    checks: set[str]  # the clause of each enforced CHECK, as the server prints it


def structures(session: Session, names: Collection[TableName]) -> dict[TableName, Structure]:
    """Structures of those of ``names`` that exist, by the server's spelling."""
    found = {
        TableName(decoded(row[0]), decoded(row[1])): Structure(decoded(row[2]), {}, {}, set())
        for row in rows_of(session, names, "TABLES", "ENGINE")
    }
    shown = "COLUMN_NAME, COLUMN_TYPE, COLLATION_NAME, IS_NULLABLE, GENERATION_EXPRESSION"
    for row in rows_of(session, names, "COLUMNS", shown):
        schema, name, column, kind, collation, nullable, expression = map(decoded, row)
        if TableName(schema, name) in names:
            kind = spelled_type(session, TableName(schema, name), column, kind)
        described = _Column(
            plain_type(kind),
            plain_collation(collation),
            nullable == "YES",
            _INTRODUCER.sub("", _unescaped(session, expression)),
        )
        if table := found.get(TableName(schema, name)):
            table.columns[column.lower()] = described
    for table_name, index, columns in _unique_indexes(session, names):
        if table := found.get(table_name):
            table.unique[columns] = index
    for schema, name, clause in (map(decoded, row) for row in _checks(session, names)):
        if table := found.get(TableName(schema, name)):
            table.checks.add(_INTRODUCER.sub("", _unescaped(session, clause)))
    return found


def _unescaped(session: Session, expression: str) -> str:
    """MySQL's catalogue escapes the text of an expression once more than SHOW CREATE TABLE."""
    return re.sub(r"\\(.)", r"\1", expression, flags=re.DOTALL) if session.flavor is Flavor.MYSQL else expression


def of_other_family(
    table: Table, source: Structure, target: Structure, version: ServerVersion, cascading: Collection[str] = ()
) -> Structure:
    """What the source's table is on a target of the other family. Raises NoCounterpartError.

    ``cascading`` as for ``differences``.
    """
    columns = {}
    keys = {column.name.lower() for column in table.key.columns}.union(cascading)
    for column in table.columns:
        there, here = of_the_same_values(column, version), source.columns.get(column.name.lower())
        if here is not None:  # otherwise dropped since: the run reads definitions again before its first row
            kind, collation = plain_type(there.column_type), plain_collation(there.collation)
            found = target.columns.get(column.name.lower())
            if found is not None and column.name.lower() not in keys and tells_apart(found.collation, collation):
                collation = found.collation
            columns[column.name.lower()] = replace(here, type=kind, collation=collation)
    valid = {f"json_valid({identifier(column.name)})" for column in table.columns if column.data_type == "json"}
    return plainly(replace(source, columns=columns, checks=source.checks | valid))


def plainly(table: Structure) -> Structure:
    """With expressions in one spelling for both families, which put other parentheses around their parts."""
    columns = {name: replace(it, expression=_bare(it.expression)) for name, it in table.columns.items()}
    return replace(table, columns=columns, checks=set(map(_bare, table.checks)))


def _bare(expression: str) -> str:
    """Without parentheses, if they can change nothing: with one operator at most, or with AND or OR alone."""
    tokens = tokens_of(expression)
    operators = [name for one in tokens if one.kind != "string" and (name := one.word or one.text) in _OPERATORS]
    grouped = len(operators) > 1 and set(operators) not in ({"AND"}, {"OR"})
    kept = [one for one in tokens if grouped or not (one.is_mark("(") or one.is_mark(")"))]
    return " ".join(repr(one.text) if one.kind == "string" else one.text.lower() for one in kept)


def _checks(session: Session, names: Collection[TableName]) -> list[Row]:
    if not session.version.lists_checks:
        return []
    if session.flavor is Flavor.MARIADB:
        return rows_of(session, names, "CHECK_CONSTRAINTS", "CHECK_CLAUSE", of=("CONSTRAINT_SCHEMA", "TABLE_NAME"))
    return rows_of(
        session,
        names,
        "TABLE_CONSTRAINTS JOIN information_schema.CHECK_CONSTRAINTS USING (CONSTRAINT_SCHEMA, CONSTRAINT_NAME)",
        "CHECK_CLAUSE",
        condition="CONSTRAINT_TYPE = 'CHECK' AND ENFORCED = 'YES'",
    )


def _unique_indexes(session: Session, names: Collection[TableName]) -> Iterator[tuple[TableName, str, Columns]]:
    over = session.version.index_expression
    shown = f"INDEX_NAME, COALESCE(COLUMN_NAME, {over}), COALESCE(SUB_PART, ''), SEQ_IN_INDEX"
    parts: dict[tuple[TableName, str], list[str]] = {}
    for row in rows_of(session, names, "STATISTICS", shown, condition="NON_UNIQUE = 0", order="3, 6"):
        schema, name, index, column, prefix, _ = map(decoded, row)
        parts.setdefault((TableName(schema, name), index), []).append(
            column.lower() + (f"({prefix})" if prefix else "")
        )
    for (table, index), columns in parts.items():
        yield table, index, tuple(columns)


def differences(
    table: Table, source: Structure, target: Structure, *, ours: bool, cascading: Collection[str] = ()
) -> Iterator[str]:
    """Why the target's table cannot hold the source's rows exactly, in words.

    ``ours``: it was created from the source's definition or found equal to it. Another version may print its
    expressions differently. ``cascading``: columns, in lower case, by whose values the run finds the rows that a
    cascade has changed.
    """
    if target.engine not in ("InnoDB", table.target_engine):
        wanted = " or ".join(dict.fromkeys(["InnoDB", table.target_engine]))
        yield f"it is {'a view' if not target.engine else 'of the engine ' + target.engine}, not {wanted}"
        return
    for name in source.columns.keys() - target.columns.keys():
        yield f"the column {name} is missing"
    for name in target.columns.keys() - source.columns.keys():
        yield f"the column {name} is not on the source"
    for name in sorted(source.columns.keys() & target.columns.keys()):
        yield from _column_differences(name, source.columns[name], target.columns[name])
    yield from _index_differences(table, source, target, cascading)
    if any(map(takes_no_row, target.checks - source.checks)):
        yield "it takes no row: a run was about to drop it (CHECK (1 = 0))"
    if not ours:
        yield from _expression_differences(source, target)


def _column_differences(name: str, source: _Column, target: _Column) -> Iterator[str]:
    if bool(source.expression) != bool(target.expression):
        yield f"the column {name} is generated on the {'source' if source.expression else 'target'} only"
    elif source.type != target.type:
        yield f"the column {name} is {target.type} and not {source.type}"
    elif not holds_texts(target.collation, source.collation):
        yield f"the column {name} has the character set of {target.collation} and not that of {source.collation}"
    if source.nullable and not target.nullable:
        yield f"the column {name} is NOT NULL on the target only"


def _index_differences(table: Table, source: Structure, target: Structure, cascading: Collection[str]) -> Iterator[str]:
    key = next((columns for columns, index in source.unique.items() if index == table.key.index_name), ())
    if key and key not in target.unique:
        yield f"it has no UNIQUE index over the key ({', '.join(key)})"
    for columns, index in target.unique.items():
        if columns not in source.unique:
            over = ", ".join(columns)
            yield f"its UNIQUE index {index} ({over}) is not on the source: one row could replace another"
    unique = {column.partition("(")[0] for columns in (key, *source.unique) for column in columns}
    unique |= {column.name.lower() for column in table.key.columns if table.key.promised}
    for name in sorted(unique.union(cascading) & source.columns.keys() & target.columns.keys()):
        ours, theirs = source.columns[name].collation, target.columns[name].collation
        if source.columns[name].type.startswith(("enum(", "set(")):
            continue  # compared by number
        if holds_texts(theirs, ours) and not orders_alike(theirs, ours):
            what = f"unique column {name}" if name in unique else f"column {name} of a cascading foreign key"
            wanted = same_in_wider(theirs, ours)
            yield f"the {what} has the collation {theirs} and not {wanted}, so other values count as equal"


def _expression_differences(source: Structure, target: Structure) -> Iterator[str]:
    for name in sorted(source.columns.keys() & target.columns.keys()):
        ours, theirs = source.columns[name].expression, target.columns[name].expression
        if ours and theirs and ours != theirs:
            yield f"the column {name} is generated as {theirs} and not as {ours}"
    for clause in sorted(target.checks - source.checks):
        yield f"its CHECK ({clause}) is not on the source: it could reject rows"
