"""Finds the tables that a Ferry moves, their target names and definitions: reads information_schema once, at the start.

Views, system schemas and our own ``mysql_ferry`` are left out. The selection is made once: a resumed run moves what its
checkpoint says, whatever the patterns match by then. Called by the coordinator and by preflight.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import NamedTuple

from ferry_core.api.choices import TableEngine
from ferry_core.api.selection import TableRule, Tables, Tenant
from ferry_core.errors import ConfigError
from ferry_core.mysql.listings import listed, rows_of
from ferry_core.mysql.literals import identifier, string
from ferry_core.mysql.session import Session
from ferry_core.mysql.version import ServerVersion
from ferry_core.reasons import Reason
from ferry_core.tables.compared import compared_column
from ferry_core.tables.describe import Storage, columns_of, definitions_of, indexes_of, storage_of
from ferry_core.tables.families import crossing
from ferry_core.tables.filtered_rows import with_rows_passing
from ferry_core.tables.keys import (
    Index,
    choose_key,
    index_for_filter,
    nullable_keys,
    promised_key,
    secondary_unique,
)
from ferry_core.tables.members import spelled_type
from ferry_core.tables.nullable import may_become_null, with_usable_keys
from ferry_core.tables.patterns import ambiguous, matches, named_and_matched
from ferry_core.tables.table import NO_KEY, Column, Table, TableName

TRIALS = "mysql_ferry_trial_"
"""Prefix of the temporary schemas in which preflight tries definitions."""
_MOVES = "table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')"
LEFT_OUT = frozenset({"information_schema", "performance_schema", "mysql", "sys", "mysql_ferry"})


@dataclass(frozen=True)
class Discovered:
    """The selected tables, and everything that is wrong with the selection, so that one round can fix it all."""

    tables: list[Table]
    problems: list[ConfigError]

    def on_engine(self, engine: TableEngine) -> "Discovered":
        """With the engine that ``schema.engine`` asks for on the target."""
        if engine is TableEngine.KEEP:
            return self
        return replace(self, tables=[replace(table, target_engine=engine.value) for table in self.tables])

    def across(self, source: ServerVersion, target: ServerVersion) -> "Discovered":
        """As they are moved to the target, which may be of the other family."""
        if source.flavor is target.flavor:
            return self
        return replace(self, tables=list(map(crossing, self.tables)))

    def refuse(self) -> None:
        """Raise ConfigError with the first problem's reason and every problem's message."""
        if self.problems:
            others = [str(problem) for problem in self.problems[1:]]
            raise ConfigError(self.problems[0].reason, "\n-- and ".join([self.problems[0].message, *others]))


@dataclass(frozen=True)
class Rediscovered:
    """What became of the tables that a run began with."""

    found: Discovered
    gone: list[str]
    """Ids of tables that are missing on the source: dropped, renamed, or hidden from the account."""
    new_tables: list[TableName]
    """Tables that match the patterns but were not part of the selection when the run began."""


class Indexes(NamedTuple):
    """Of one table. The others are read only where a rule names the key."""

    unique: Sequence[Index]
    others: Sequence[Index] = ()


class Existing(NamedTuple):
    """Tables on the source, without the server's and our own."""

    tables: list[TableName]
    others: list[TableName]
    """Views and sequences: never moved, but an exclude pattern may name them."""


def explore(session: Session, selection: Tables) -> Discovered:
    """The selected tables in order of their names, and everything wrong with the selection.

    A UNIQUE index that contains NULL now is no key.
    """
    existing = _existing(session)
    if _idle_excludes(existing, selection):
        existing.others.extend(_no_tables(session))
    chosen = [name for name in sorted(existing.tables) if is_selected(name, selection)]
    found = _described(session, selection, chosen, misread(existing, selection))
    return replace(found, tables=with_rows_passing(session, with_usable_keys(session, found.tables)))


def discover(session: Session, selection: Tables) -> list[Table]:
    """Like ``explore``, but raises ConfigError if anything is wrong."""
    found = explore(session, selection)
    found.refuse()
    return found.tables


def rediscover(session: Session, selection: Tables, known: Collection[str]) -> Rediscovered:
    """The tables with these ids, as they are now."""
    existing = _existing(session).tables
    unlisted = set(known).difference(map(str, existing))
    existing += _still_there(session, [TableName.parse(table_id) for table_id in unlisted])
    there = [name for name in sorted(existing) if str(name) in known]
    found = _described(session, selection, there)
    return Rediscovered(
        found=replace(found, tables=with_rows_passing(session, found.tables)),
        gone=sorted(set(known).difference(map(str, there))),
        new_tables=_others(existing, selection, known),
    )


def new_tables(session: Session, selection: Tables, known: Collection[str]) -> list[TableName]:
    """Tables on the source that match the patterns and are not in ``known``, a set of ids."""
    return _others(_existing(session).tables, selection, known)


def _others(existing: Iterable[TableName], selection: Tables, known: Collection[str]) -> list[TableName]:
    return [name for name in sorted(existing) if is_selected(name, selection) and str(name) not in known]


def reread(session: Session, selection: Tables, names: Collection[TableName]) -> dict[TableName, Table]:
    """The current definitions of these tables, without tables that are gone."""
    found = _described(session, selection, sorted(_still_there(session, names)))
    return {table.source: table for table in found.tables}


def _described(
    session: Session, selection: Tables, chosen: Sequence[TableName], problems: Iterable[ConfigError] = ()
) -> Discovered:
    folds = session.number("SELECT @@lower_case_table_names") != 0
    on_target = {name: target_name(name, selection) for name in chosen}
    columns, indexes, storage = columns_of(session, chosen), indexes_of(session, chosen), storage_of(session, chosen)
    # Asked last: SHOW CREATE TABLE waits for DDL that is not visible yet, so that its answer differs from old columns.
    definitions = definitions_of(session, chosen)
    rules = {name: rule_of(name, selection) for name in chosen}
    others = indexes_of(session, [name for name in chosen if _needs_others(rules[name], selection)], unique=False)
    tables = [
        _table(
            name,
            on_target[name],
            rules[name],
            selection.tenant,
            [_spelled(session, name, column) for column in columns[name]],
            Indexes(indexes.get(name, []), others.get(name, [])),
            storage.get(name, Storage()),
            definitions[name],
        )
        for name in chosen
        if name in columns and name in definitions  # otherwise dropped since its name was read
    ]
    return Discovered(tables, [*problems, *wrong_targets(on_target, folds=folds)])


def _spelled(session: Session, table: TableName, column: Column) -> Column:
    """With the real members of an ENUM or SET, so that a changed member beyond U+FFFF is detected."""
    try:
        spelled = spelled_type(session, table, column.name, column.column_type)
    except ConfigError as error:
        if error.reason != Reason.MISSING_PRIVILEGE:
            raise
        return column  # reported by the privileges check
    return column if spelled == column.column_type else replace(column, column_type=spelled)


def misread(existing: Existing, selection: Tables) -> Iterator[ConfigError]:
    """Patterns and rules that match no table, or are ambiguous: by mistake another table than intended could be
    moved.
    """
    known = sorted(existing.tables)
    yield from _ambiguous(known, selection)
    chosen = [name for name in known if is_selected(name, selection)]
    patterns = [f"include {p!r}" for p in selection.include if not any(matches(name, p) for name in known)]
    patterns += [f"exclude {pattern!r}" for pattern in _idle_excludes(existing, selection)]
    patterns += [f"rule {r.match!r}" for r in selection.rules if not any(matches(name, r.match) for name in chosen)]
    patterns += _idle_renames(selection, {name.schema for name in chosen})
    if patterns:
        yield ConfigError(
            Reason.PATTERN_MATCHES_NOTHING,
            f"no table on the source matches {', '.join(patterns)}; correct the pattern or take it out (views and "
            "system schemas do not count, a rule must match a selected table, renameSchemas name the schema of one)",
        )
    if not chosen and any(matches(name, p) for name in known for p in selection.include):
        yield ConfigError(Reason.NOTHING_SELECTED, "the exclude patterns leave no table; take one out")


def _idle_excludes(existing: Existing, selection: Tables) -> list[str]:
    every = [*existing.tables, *existing.others]
    return [pattern for pattern in selection.exclude if not any(matches(name, pattern) for name in every)]


def _ambiguous(existing: Sequence[TableName], selection: Tables) -> Iterator[ConfigError]:
    patterns = [*selection.include, *selection.exclude, *(rule.match for rule in selection.rules)]
    unclear = [f"{p!r} ({' or '.join(named)}?)" for p in patterns if (named := ambiguous(p, existing))]
    if unclear:
        yield ConfigError(
            Reason.PATTERN_AMBIGUOUS,
            f"tables of more than one schema are named by {', '.join(unclear)}: a schema or table has a dot in its "
            "name; put that name in backticks, as in the readings shown",
        )
    brackets = [f"{p!r} ({' or '.join(both)}?)" for p in patterns if (both := named_and_matched(p, existing))]
    if brackets:
        yield ConfigError(
            Reason.PATTERN_AMBIGUOUS,
            f"these patterns are the name of one table and match another: {', '.join(brackets)}; write the table that "
            "you mean as shown, where [[] stands for a bracket",
        )


def _idle_renames(selection: Tables, schemas: Collection[str]) -> Iterator[str]:
    by_fold = {schema.lower(): schema for schema in schemas}
    for schema in selection.rename_schemas:
        if schema not in schemas:
            near = get_close_matches(schema.lower(), by_fold, n=1)
            yield f"renameSchemas {schema!r}" + "".join(f" ({by_fold[name]}?)" for name in near)


def is_selected(name: TableName, selection: Tables) -> bool:
    """Whether an include pattern matches this name and no exclude pattern does."""
    included = any(matches(name, pattern) for pattern in selection.include)
    return included and not any(matches(name, pattern) for pattern in selection.exclude)


def target_name(name: TableName, selection: Tables) -> TableName:
    """The table's name on the target: its rule's name, otherwise the renamed schema, otherwise unchanged."""
    rule = rule_of(name, selection)
    if rule is not None and rule.target is not None:
        return TableName.parse(rule.target)
    return TableName(selection.rename_schemas.get(name.schema, name.schema), name.name)


def _needs_others(rule: TableRule | None, selection: Tables) -> bool:
    """Whether indexes of its table matter that are not UNIQUE."""
    return selection.tenant is not None or (rule is not None and bool(rule.key or rule.index or rule.where))


def rule_of(name: TableName, selection: Tables) -> TableRule | None:
    """The first rule that matches the table."""
    return next((rule for rule in selection.rules if matches(name, rule.match)), None)


def _existing(session: Session) -> Existing:
    left_out = ", ".join(string(schema) for schema in sorted(LEFT_OUT))
    rows = listed(
        session,
        f"SELECT {_MOVES}, table_schema, table_name"
        f" FROM information_schema.tables WHERE table_schema NOT IN ({left_out})"
        f" AND LEFT(table_schema, {len(TRIALS)}) <> {string(TRIALS)}",
    )
    found = Existing([], [])
    for moves, schema, name in rows:
        (found.tables if moves == b"1" else found.others).append(
            TableName((schema or b"").decode(), (name or b"").decode())
        )
    return found


def _no_tables(session: Session) -> list[TableName]:
    """Routines, triggers and events: asked for where they are in doubt, since MariaDB opens each table for it."""
    kinds = (("ROUTINES", "ROUTINE"), ("TRIGGERS", "TRIGGER"), ("EVENTS", "EVENT"))
    asked = (f"SELECT {kind}_SCHEMA, {kind}_NAME FROM information_schema.{view}" for view, kind in kinds)
    return [TableName((a or b"").decode(), (b or b"").decode()) for a, b in session.query(" UNION ALL ".join(asked))]


def _still_there(session: Session, names: Collection[TableName]) -> list[TableName]:
    """Those of ``names`` that are tables now."""
    rows = rows_of(session, names, "tables", "table_type", condition=_MOVES)
    existing = {TableName((row[0] or b"").decode(), (row[1] or b"").decode()) for row in rows}
    return [name for name in names if name in existing]


def _table(
    name: TableName,
    target: TableName,
    rule: TableRule | None,
    tenant: Tenant | None,
    columns: Sequence[Column],
    indexes: Indexes,
    storage: Storage,
    definition: str,
) -> Table:
    safe = not may_become_null(definition)
    key = choose_key(columns, indexes.unique)
    if key is None and safe and rule is not None and rule.key:
        key = promised_key(columns, rule.key, [*indexes.unique, *indexes.others])
    unsure = nullable_keys(columns, indexes.unique) if key is None and safe else []
    key = key or next(iter(unsure), NO_KEY)
    row_filter, index = _filter(rule, tenant, columns, [*indexes.unique, *indexes.others])
    return Table(
        source=name,
        target=target,
        columns=tuple(columns),
        key=key,
        row_filter=row_filter,
        secondary_unique=secondary_unique(key, indexes.unique),
        rows_estimated=storage.rows,
        average_row_bytes=storage.row_bytes,
        definition=definition,
        engine=storage.engine,
        target_engine=storage.engine,
        other_keys=tuple(unsure[1:]),
        filter_index=index,
    )


def _filter(
    rule: TableRule | None, tenant: Tenant | None, columns: Sequence[Column], indexes: Sequence[Index]
) -> tuple[str | None, str]:
    """The row filter, and the index that finds its rows."""
    named = rule.index if rule is not None and rule.index else ""
    if rule is not None and rule.where:
        compared = compared_column(columns, rule.where)
        found = index_for_filter(columns, indexes, name=named, column=compared) if named or compared else ""
        return rule.where, found
    column = tenant_column(columns, tenant)
    if tenant is None or column is None:
        return None, ""
    values = ", ".join(string(value) for value in tenant.values)
    equal = f"= {values}" if len(tenant.values) == 1 else f"IN ({values})"
    return f"{identifier(column.name)} {equal}", index_for_filter(columns, indexes, name=named, column=column.name)


def tenant_column(columns: Sequence[Column], tenant: Tenant | None) -> Column | None:
    """The column by which ``tables.tenant`` chooses rows of a table."""
    wanted = tenant.column.lower() if tenant is not None else ""
    return next((column for column in columns if column.name.lower() == wanted), None)


def wrong_targets(targets: Mapping[TableName, TableName], *, folds: bool) -> Iterator[ConfigError]:
    """Target names that are invalid or used for two tables. ``folds``: the servers ignore case."""
    impossible = [
        f"{source} to {to.schema!r}.{to.name!r}"
        for source, to in targets.items()
        if to.schema.lower() in LEFT_OUT or any("\0" in name or name.endswith(" ") for name in to)
    ]
    if impossible:
        yield ConfigError(
            Reason.TARGET_NAME_INVALID,
            f"tables cannot go from {', '.join(impossible)}: {', '.join(sorted(LEFT_OUT))} belong to the server or to "
            "mysql-ferry, and a name cannot end with a space or contain a NUL; correct tables.renameSchemas or the "
            "rule's target",
        )
    sources: dict[TableName, list[TableName]] = defaultdict(list)
    for source, target in targets.items():
        sources[TableName(target.schema.lower(), target.name.lower()) if folds else target].append(source)
    shared = [f"{' and '.join(map(str, names))} to {to}" for to, names in sources.items() if len(names) > 1]
    if shared:
        yield ConfigError(
            Reason.TARGET_NAME_TAKEN,
            f"two tables would become one: {'; '.join(shared)}; give one of them another target name",
        )
