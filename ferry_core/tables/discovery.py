"""Which tables a Ferry moves, under which names, and what they are: reads information_schema once, at the start.

Views, system schemas and our own ``mysql_ferry`` are left out. A selection is made once: what a resumed run moves is
what its checkpoint says, whatever the patterns match by then. Called by the coordinator and by preflight.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ferry_core.api.reasons import Reason
from ferry_core.api.selection import TableRule, Tables
from ferry_core.errors import ConfigError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session
from ferry_core.tables.describe import columns_of, definitions_of, indexes_of, sizes_of
from ferry_core.tables.keys import Index, byte_equal, choose_key, secondary_unique
from ferry_core.tables.patterns import ambiguous, matches
from ferry_core.tables.table import Column, Table, TableName

LEFT_OUT = frozenset({"information_schema", "performance_schema", "mysql", "sys", "mysql_ferry"})


@dataclass(frozen=True)
class Rediscovered:
    """What has become of the tables that a run began with."""

    tables: list[Table]
    gone: list[str]
    """Ids of tables that the source lacks now: dropped, renamed, or hidden from the account."""
    appeared: list[TableName]
    """Tables that the patterns match too, but that the run did not begin with."""


def discover(session: Session, selection: Tables) -> list[Table]:
    """The selected tables in the order of their names; ConfigError names everything that is wrong at once."""
    return _described(session, selection, select(_existing(session), selection))


def rediscover(session: Session, selection: Tables, known: Collection[str]) -> Rediscovered:
    """The tables with these ids, as they are now; ConfigError names those that cannot be moved any more."""
    existing = _existing(session)
    there = [name for name in sorted(existing) if str(name) in known]
    return Rediscovered(
        tables=_described(session, selection, there),
        gone=sorted(set(known).difference(map(str, there))),
        appeared=_others(existing, selection, known),
    )


def appeared(session: Session, selection: Tables, known: Collection[str]) -> list[TableName]:
    """Tables on the source that the patterns match, and that are none of ``known`` ids."""
    return _others(_existing(session), selection, known)


def _others(existing: Iterable[TableName], selection: Tables, known: Collection[str]) -> list[TableName]:
    return [name for name in sorted(existing) if is_selected(name, selection) and str(name) not in known]


def reread(session: Session, selection: Tables, names: Collection[TableName]) -> dict[TableName, Table]:
    """These tables as they are now, without those that are gone or have no usable key."""
    there = set(_existing(session))
    tables, _ = _read(session, selection, [name for name in sorted(names) if name in there])
    return {table.source: table for table in tables}


def _described(session: Session, selection: Tables, chosen: Sequence[TableName]) -> list[Table]:
    tables, keyless = _read(session, selection, chosen)
    _refuse_keyless(keyless)
    return tables


def _read(session: Session, selection: Tables, chosen: Sequence[TableName]) -> tuple[list[Table], list[TableName]]:
    """The tables, and the names of those without a usable key."""
    if session.flavor is Flavor.MYSQL:
        # Else a generated invisible primary key, the table's only key, is hidden.
        session.execute("SET SESSION show_gipk_in_create_table_and_information_schema = ON")
    on_target = targets(chosen, selection)
    schemas = sorted({name.schema for name in chosen})
    columns, indexes, sizes = columns_of(session, schemas), indexes_of(session, schemas), sizes_of(session, schemas)
    definitions = definitions_of(session, chosen)
    tables, keyless = [], []
    for name in chosen:
        if name not in columns or name not in definitions:
            continue  # dropped since its name was read
        table = _table(
            name,
            on_target[name],
            _rule(name, selection),
            columns[name],
            indexes.get(name, []),
            sizes.get(name, (0, 0)),
            definitions[name],
        )
        if table is None:
            keyless.append(name)
        else:
            tables.append(table)
    return tables, keyless


def select(existing: Iterable[TableName], selection: Tables) -> list[TableName]:
    """The names that include patterns match and exclude patterns do not; no include and no rule may be idle."""
    known = sorted(existing)
    _refuse_ambiguous(known, selection)
    chosen = [name for name in known if is_selected(name, selection)]
    idle = [f"include {p!r}" for p in selection.include if not any(matches(name, p) for name in known)]
    idle += [f"rule {r.match!r}" for r in selection.rules if not any(matches(name, r.match) for name in chosen)]
    idle += _idle_renames(selection, {name.schema for name in chosen})
    if idle:
        raise ConfigError(
            Reason.PATTERN_MATCHES_NOTHING,
            f"no table on the source matches {', '.join(idle)}; correct the pattern or take it out (views and system "
            "schemas do not count, a rule must match a selected table, renameSchemas name the schema of one)",
        )
    if not chosen:
        raise ConfigError(Reason.NOTHING_SELECTED, "the exclude patterns leave no table; take one out")
    return chosen


def _refuse_ambiguous(existing: Sequence[TableName], selection: Tables) -> None:
    patterns = [*selection.include, *selection.exclude, *(rule.match for rule in selection.rules)]
    unclear = [f"{p!r} ({' or '.join(named)}?)" for p in patterns if (named := ambiguous(p, existing))]
    if unclear:
        raise ConfigError(
            Reason.PATTERN_AMBIGUOUS,
            f"tables of more than one schema are named by {', '.join(unclear)}: a schema or table has a dot in its "
            "name; put that name in backticks, as in the readings shown",
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
    """What the table is called on the target: its rule's name, else the schema's, else its own."""
    rule = _rule(name, selection)
    if rule is not None and rule.target is not None:
        return TableName.parse(rule.target)
    return TableName(selection.rename_schemas.get(name.schema, name.schema), name.name)


def targets(chosen: Iterable[TableName], selection: Tables) -> dict[TableName, TableName]:
    """What these tables are called on the target; ConfigError for names that two would share or no table can have."""
    found = {name: target_name(name, selection) for name in chosen}
    _refuse_impossible_targets(found)
    _refuse_shared_targets(found)
    return found


def _rule(name: TableName, selection: Tables) -> TableRule | None:
    return next((rule for rule in selection.rules if matches(name, rule.match)), None)


def _existing(session: Session) -> list[TableName]:
    left_out = ", ".join(string(schema) for schema in sorted(LEFT_OUT))
    rows = session.query(
        "SELECT table_schema, table_name FROM information_schema.tables"
        f" WHERE table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND table_schema NOT IN ({left_out})"
    )
    return [TableName((schema or b"").decode(), (name or b"").decode()) for schema, name in rows]


def _table(
    name: TableName,
    target: TableName,
    rule: TableRule | None,
    columns: Sequence[Column],
    indexes: Sequence[Index],
    sizes: tuple[int, int],
    definition: str,
) -> Table | None:
    key = choose_key(columns, indexes)
    if key is None:
        return None
    return Table(
        source=name,
        target=target,
        columns=tuple(columns),
        key=key,
        row_filter=rule.where if rule else None,
        secondary_unique=secondary_unique(key, indexes),
        byte_equal_key=byte_equal(key),
        rows_estimated=sizes[0],
        average_row_bytes=sizes[1],
        definition=definition,
    )


def _refuse_impossible_targets(targets: Mapping[TableName, TableName]) -> None:
    impossible = [
        f"{source} to {to.schema!r}.{to.name!r}"
        for source, to in targets.items()
        if to.schema.lower() in LEFT_OUT or any("\0" in name or name.endswith(" ") for name in to)
    ]
    if impossible:
        raise ConfigError(
            Reason.TARGET_NAME_INVALID,
            f"tables cannot go from {', '.join(impossible)}: {', '.join(sorted(LEFT_OUT))} are the server's and this "
            "program's own, and no name ends with a space or holds a NUL; correct tables.renameSchemas or the rule's "
            "target",
        )


def _refuse_shared_targets(targets: Mapping[TableName, TableName]) -> None:
    sources: dict[TableName, list[TableName]] = defaultdict(list)
    for source, target in targets.items():
        # A target with lower_case_table_names takes Orders and orders for one.
        sources[TableName(target.schema.lower(), target.name.lower())].append(source)
    shared = [f"{' and '.join(map(str, names))} to {to}" for to, names in sources.items() if len(names) > 1]
    if shared:
        raise ConfigError(
            Reason.TARGET_NAME_TAKEN,
            f"two tables would become one: {'; '.join(shared)}; give one of them another target name",
        )


def _refuse_keyless(keyless: Sequence[TableName]) -> None:
    if keyless:
        raise ConfigError(
            Reason.NO_USABLE_KEY,
            f"without a PRIMARY KEY or a UNIQUE index over whole NOT NULL columns: {', '.join(map(str, keyless))}; "
            "add a key to each, or exclude them",
        )
