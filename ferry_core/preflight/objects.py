"""Checks whether the target accepts the views, routines, triggers, events and sequences of ``schema.objects``.

Each is really created in a temporary schema of this Ferry, over empty copies of the tables that it names, compared with
the source's and dropped again. An object that names its own schema is not tried, because it would be created in the
real one.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ferry_core.api.choices import Definer
from ferry_core.errors import ConfigError, DataError, FerryError
from ferry_core.mysql.computing import computing_settings
from ferry_core.mysql.literals import identifier, string
from ferry_core.mysql.session import Session
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import ServerFacts, decoded
from ferry_core.preflight.privileges import lacks, scope_of
from ferry_core.preflight.result import Check, Finding, failed, passed, warning
from ferry_core.preflight.trial_schema import trial_schema
from ferry_core.reasons import Reason
from ferry_core.schema.building import Build, as_written
from ferry_core.schema.create import definition
from ferry_core.schema.event_zones import other_zone
from ferry_core.schema.fingerprints import fingerprint
from ferry_core.schema.object_maker import ObjectMaker, differs, foreign_objects
from ferry_core.schema.objects import (
    EARLY,
    ROUTINES,
    Definition,
    Kind,
    Listed,
    created_kinds,
    list_objects,
    names_schema,
    read,
    renamed_in,
    schema_on_target,
)
from ferry_core.schema.sequences import sequence_names
from ferry_core.tables.table import TableName
from ferry_core.text import shortlist

SHOWN = 10
_READING = {Kind.VIEW: ("SHOW VIEW",), Kind.TRIGGER: ("TRIGGER",), Kind.EVENT: ("EVENT",)}
_CREATING = _READING | {
    Kind.VIEW: ("CREATE VIEW", "SHOW VIEW"),
    Kind.PROCEDURE: ("CREATE ROUTINE", "ALTER ROUTINE", "EXECUTE"),
}
_ELSE = "change it on the source, or leave it out with tables.exclude"
_TRUST = (
    "SET GLOBAL log_bin_trust_function_creators = ON there, or grant SUPER to the target's account: a server with a "
    "binlog lets nobody else create this"
)
_ADVICE = {
    1146: "it names a table or view that is not on the target: move that too",
    1356: "it stands on a view that is not on the target",
    1298: "load the time zones there (mysql_tzinfo_to_sql)",
    1418: _TRUST,
    1419: _TRUST,
}


def _privileges(
    context: PreflightContext, server: ServerFacts, needed: Mapping[Kind, Sequence[str]]
) -> Iterator[Finding]:
    """Privileges on the schemas of one server, and for reading the text of routines."""
    kinds = created_kinds(context.spec.schema_.objects)
    wanted = [privilege for kind in needed if kind in kinds for privilege in needed[kind]]
    on_target = server is context.target_facts
    for schema in sorted({(table.target if on_target else table.source).schema for table in context.tables}):
        missing = [privilege for privilege in wanted if not server.grants.on_schema(privilege, schema)]
        if missing:
            yield lacks(server, ", ".join(missing), scope_of(server, schema), f"on {schema} (schema.objects)")
    if not kinds & set(ROUTINES):
        return
    privilege, scope = (context.target if on_target else context.source).version.routine_privilege
    if scope == "*.*":
        held = server.grants.everywhere(privilege) or server.grants.everywhere("SELECT")
    else:
        held = server.grants.on_table(privilege, *scope.split("."))
    if not held:
        yield lacks(server, privilege, scope, "to read the definitions of routines")


def _reading(context: PreflightContext) -> Iterator[Finding]:
    yield from _privileges(context, context.source_facts, _READING)


def _creating(context: PreflightContext) -> Iterator[Finding]:
    yield from _privileges(context, context.target_facts, _CREATING)


def _renamed(context: PreflightContext) -> Iterator[Finding]:
    """Objects in renamed schemas: their text is not rewritten, so it would still name the source's names."""
    found = {
        one: named
        for one, it in context.objects.items()
        if one.kind is not Kind.SEQUENCE
        and (named := renamed_in(it, one.name.schema, context.spec.tables, context.tables))
    }
    if found:
        said = shortlist([f"{one} ({', '.join(named)})" for one, named in found.items()], SHOWN)
        yield failed(
            Reason.OBJECT_NAMES_RENAMED,
            f"{context.source_facts.where}: these name a schema or table that has another name on the target: {said}; "
            "write them there without the schema's name, leave them out with tables.exclude and create them by hand, "
            "or do not rename",
            others=_to_exclude(context, found),
        )


def _there(context: PreflightContext) -> Iterator[Finding]:
    """Existing objects on the target with the same name and another definition."""
    if not context.objects:
        return
    spec = context.spec
    schemas = {schema_on_target(one, spec.tables) for one in context.objects}
    there = {
        (one.kind, one.name): read(context.target, one)
        for one in list_objects(context.target, schemas, {one.kind for one in context.objects})
    }
    foreign = []
    for one, it in context.objects.items():
        name = TableName(schema_on_target(one, spec.tables), one.name.name)
        found = there.get((one.kind, name))
        if not found or fingerprint(found) in context.own_objects(f"{one.kind} {name}"):
            continue
        if differs(it, found, spec.schema_.objects.definer, statuses=False):
            foreign.append(one)
    if foreign:
        yield failed(
            Reason.TARGET_OBJECT_DIFFERS,
            f"{context.target_facts.where}: {foreign_objects([str(one) for one in foreign])}",
            others=_to_exclude(context, foreign),
        )


def _to_exclude(context: PreflightContext, objects: Iterable[Listed]) -> list[TableName]:
    """Their names for ``tables.exclude``, unless a selected table has the same name, which would be left out too."""
    selected = {table.source for table in context.tables}
    return [one.name for one in objects if one.name not in selected]


def _zones(context: PreflightContext) -> Iterator[Finding]:
    """Events that would run at other times on the target."""
    if said := other_zone(context.source, context.target, context.objects):
        yield failed(Reason.EVENT_TIME_ZONE, said)


def _tried(context: PreflightContext) -> Iterator[Finding]:
    if context.crosses:
        return  # refused by the check of the families
    by_schema: dict[str, list[Listed]] = defaultdict(list)
    untried = []
    moved = {name for table in context.tables for name in (table.source.schema, table.target.schema)}
    for one, it in context.objects.items():
        if any(names_schema(it, schema) for schema in moved):
            untried.append(str(one))
        else:
            by_schema[one.name.schema].append(one)
    try:
        for schema, wanted in by_schema.items():
            yield from _try(context, schema, {one: context.objects[one] for one in wanted})
    except ConfigError as error:
        untried.append(f"the rest ({error.message})")
    if untried:
        yield warning(
            Reason.DEFINITIONS_NOT_TRIED,
            f"{context.target_facts.where}: not tried there, so the server may refuse it during the run: "
            f"{shortlist(untried, SHOWN)}",
        )
    elif context.objects:
        yield passed(f"{len(context.objects)} tried")


def _try(context: PreflightContext, schema: str, wanted: Mapping[Listed, Definition]) -> Iterator[Finding]:
    target, definer = context.target, context.spec.schema_.objects.definer
    settings = computing_settings(context.source, context.target)
    with trial_schema(target, context.ferry_uid) as trial, as_written(target, settings) as build:
        target.execute(f"ALTER DATABASE {identifier(trial)} {_default(context, schema)}")
        maker = ObjectMaker(target, trial, definer)
        early = maker.create([it for one, it in wanted.items() if one.kind in EARLY])
        _stand_in(context, schema, trial, wanted, build)
        made = maker.create([it for one, it in wanted.items() if one.kind not in EARLY])
        refused = {**early.refused, **made.refused}
        named = {(one.kind, one.name.name): one for one in wanted}
        for one, error in refused.items():
            yield _refused(context, named[one.kind, one.name], error)
        found = {(one.kind, one.name.name): read(target, one) for one in list_objects(target, [trial], list(Kind))}
        unlike = {
            one: said
            for one, it in wanted.items()
            if it not in refused and (said := _unlike(it, found.get((one.kind, one.name.name)), definer))
        }
        if unlike:
            yield failed(
                Reason.DEFINITION_DIFFERS,
                f"{context.target_facts.where} makes these differently from the source: "
                f"{shortlist([f'{one}: {said}' for one, said in unlike.items()], SHOWN, '; ')}; {_ELSE}",
                others=_to_exclude(context, unlike),
            )
        if made.without_definer:
            names = {f"{one.kind.lower()} {one.name} ({one.definer[9:].decode()})" for one in made.without_definer}
            yield warning(
                Reason.DEFINER_MISSING,
                f"{context.target_facts.where} has no account of the definer's name, and nobody can use these there "
                f"until it has: {shortlist(sorted(names), SHOWN)}; create the accounts before the cutover, or set "
                "schema.objects.definer: CurrentUser",
            )


def _unlike(source: Definition, target: Definition | None, definer: Definer) -> str:
    return "it is not there" if target is None else differs(source, target, definer, statuses=False)


def _default(context: PreflightContext, schema: str) -> str:
    """The character set and collation that the schema has on the target, or will get there."""
    there = context.spec.tables.rename_schemas.get(schema, schema)
    for session, wanted in ((context.target, there), (context.source, schema)):
        rows = session.query(
            "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA"
            f" WHERE SCHEMA_NAME = {string(wanted)}"
        )
        if rows:
            charset, collation = map(decoded, rows[0])
            return f"CHARACTER SET {charset} COLLATE {collation}"
    raise AssertionError(f"no schema {schema}")


def _stand_in(
    context: PreflightContext, schema: str, trial: str, wanted: Mapping[Listed, Definition], build: Build
) -> None:
    """An empty table for each table that a trigger belongs to or that a view seems to name."""
    of_triggers = {one.table for one in wanted if one.kind is Kind.TRIGGER}
    views = " ".join(it.statement.decode("utf-8", "replace") for it in wanted.values() if it.kind is Kind.VIEW)
    moved = {table.source.name: table for table in context.tables if table.source.schema == schema}
    sequences = sequence_names(context.source, context.spec.tables, context.tables)
    sequences |= {one.name: TableName(trial, one.name.name) for one in wanted if one.kind is Kind.SEQUENCE}
    for name, table in moved.items():
        if name in of_triggers or identifier(name) in views:
            made = TableName(trial, name)
            build(definition(context.source, table.source).with_sequences(sequences).create(made, frozenset()))
    on_target = context.spec.tables.rename_schemas.get(schema, schema)
    for name in _tables(context.target, on_target):
        if name not in moved and identifier(name) in views:
            build(f"CREATE TABLE {TableName(trial, name).sql} LIKE {TableName(on_target, name).sql}")


def _tables(session: Session, schema: str) -> list[str]:
    rows = session.query(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE'"
        f" AND TABLE_SCHEMA = {string(schema)}"
    )
    return [decoded(name) for (name,) in rows]


def _refused(context: PreflightContext, one: Listed, error: FerryError) -> Finding:
    target, name = context.target_facts, str(one)
    if error.reason == Reason.MISSING_PRIVILEGE:
        privileges = "SET USER" if target.mariadb else "SET_ANY_DEFINER, ALLOW_NONEXISTENT_DEFINER"
        return failed(
            Reason.MISSING_PRIVILEGE,
            f"{name} cannot be created: {error.problem}; GRANT {privileges} ON *.* TO {target.account} lets it have "
            "the source's definer (MySQL: SYSTEM_USER too if that account has it), or set schema.objects.definer: "
            "CurrentUser",
        )
    hint = _ADVICE.get(error.code, "") if isinstance(error, DataError) else ""
    return failed(
        Reason.DEFINITION_REFUSED,
        f"{name} cannot be created: {error.problem}; {f'{hint}, or ' if hint else ''}{_ELSE}",
        others=_to_exclude(context, [one]),
    )


PRIVILEGES = (
    Check("privileges: read objects", "source", _reading),
    Check("privileges: create objects", "target", _creating),
)
CHECKS = (
    Check("objects renamed", "source", _renamed),
    Check("objects there", "target", _there),
    Check("objects: time zone", "target", _zones),
    Check("objects tried", "target", _tried, writes=True),
)
