"""Checks what a move between MySQL and MariaDB cannot take along: column by column, before anything is created."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from ferry_core.errors import ConfigError, DataError
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.foreign_keys import with_dependants
from ferry_core.preflight.result import Check, Finding, failed, passed
from ferry_core.reasons import Reason
from ferry_core.schema.create import known_definition, of_family
from ferry_core.schema.definition import elements_of
from ferry_core.schema.objects import created_kinds
from ferry_core.tables.describe import columns_of
from ferry_core.tables.families import NoCounterpartError, key_problems, of_the_same_values
from ferry_core.tables.table import Column, Table, TableName
from ferry_core.text import shortlist

SHOWN = 5


def _translatable(context: PreflightContext) -> Iterator[Finding]:
    if not context.crosses:
        return
    where = f"{context.source_facts.where} is {context.source_facts.version_text}"
    existing = [table.target for table in context.tables if table.target in context.existing_targets]
    there = columns_of(context.target, existing)
    related = _related(context)
    for table in context.tables:
        problems = [*_problems(context, table, related[context.source_facts.folded(table.source)], there)]
        if problems:
            yield failed(
                Reason.FAMILIES_DIFFER,
                f"{where}: {table.id} cannot be moved to {context.target_facts.version_text}: "
                f"{shortlist(problems, SHOWN, '; ', 'more')}",
                with_dependants(context, [table]),
            )
    if kinds := created_kinds(context.spec.schema_.objects):
        names = ", ".join(sorted(kind.lower() for kind in kinds))
        yield failed(
            Reason.FAMILIES_DIFFER,
            f"{where}: {names} are not translated: set them to Report in schema.objects, and create them on the target "
            "by hand",
        )
    yield passed(f"{context.source_facts.version_text} to {context.target_facts.version_text}")


def _related(context: PreflightContext) -> Mapping[TableName, set[str]]:
    """Columns of foreign keys, on both ends, in lower case: a change of one row names others by them."""
    folded = context.source_facts.folded
    found: dict[TableName, set[str]] = defaultdict(set)
    for table, keys in context.foreign_keys.items():
        for key in keys:
            found[folded(table.source)].update(ours for ours, _ in key.columns)
            found[folded(key.references)].update(referenced for _, referenced in key.columns)
    return found


def _problems(
    context: PreflightContext, table: Table, related: Collection[str], there: Mapping[TableName, Sequence[Column]]
) -> Iterator[str]:
    collations = {column.name.lower(): column.collation for column in there.get(table.target, ())}
    yield from key_problems(table, _indexed(table), related, collations)
    if table.target in context.existing_targets:
        for column in table.columns:
            try:
                of_the_same_values(column, context.target.version)
            except NoCounterpartError as problem:
                yield str(problem)
        return
    try:
        it = known_definition(context.source, table).on_engine(table.target_engine)
        of_family(it, table, context.source.version, context.target.version)
    except NoCounterpartError as problem:
        yield str(problem)
    except (ConfigError, DataError):
        return  # reported by the privileges check or by the trial


def _indexed(table: Table) -> set[str]:
    """Columns of all UNIQUE indexes, in lower case; of an expression, all in it."""
    elements, _ = elements_of(table.definition, table.source) if table.definition else ([], 0)
    unique = (element for element in elements if element[0].word in ("PRIMARY", "UNIQUE"))
    inside = (element[[token.raw for token in element].index("(") :] for element in unique)
    return {token.text.lower() for tokens in inside for token in tokens if token.kind == "name"}


CHECKS = (Check("families", "both", _translatable),)
