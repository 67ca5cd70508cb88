"""Do foreign keys change rows of a selected table behind the binlog's back, and can its constraints be made?"""

from collections.abc import Iterator
from dataclasses import dataclass

from ferry_core.api.reasons import Reason
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import decoded, name_list
from ferry_core.preflight.result import Check, Finding, failed
from ferry_core.tables.table import TableName

HARMLESS_ACTIONS = ("RESTRICT", "NO ACTION")


@dataclass(frozen=True)
class _ForeignKey:
    name: str
    child: TableName
    parent: TableName
    on_update: str
    on_delete: str

    @property
    def cascades(self) -> bool:
        return not {self.on_update, self.on_delete} <= set(HARMLESS_ACTIONS)


def _of_selected(context: PreflightContext) -> list[_ForeignKey]:
    """Constraints whose child is selected: a child that is not is nobody's business here."""
    selected = {table.source for table in context.tables}
    rows = context.source.query(
        "SELECT CONSTRAINT_NAME, CONSTRAINT_SCHEMA, TABLE_NAME, UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME, "
        "UPDATE_RULE, DELETE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS "
        f"WHERE CONSTRAINT_SCHEMA IN ({name_list({name.schema for name in selected})}) ORDER BY 2, 3, 1"
    )
    texts = [[decoded(value) for value in row] for row in rows]
    keys = [_ForeignKey(t[0], TableName(t[1], t[2]), TableName(t[3], t[4]), t[5], t[6]) for t in texts]
    return [key for key in keys if key.child in selected]


def _cascades(context: PreflightContext) -> Iterator[Finding]:
    for key in _of_selected(context):
        if key.cascades:
            yield failed(
                Reason.FOREIGN_KEY_CASCADES,
                f"{context.source_facts.where}: {key.child} has the foreign key {key.name} to {key.parent} with ON "
                "DELETE "
                f"{key.on_delete} ON UPDATE {key.on_update}; rows changed by it are not in the binlog, and following "
                "them is "
                f"not built yet: leave {key.child} out with tables.exclude, or make the constraint RESTRICT",
            )


def _parents(context: PreflightContext) -> Iterator[Finding]:
    targets = {table.source: table.target for table in context.tables}
    for key in _of_selected(context):
        will_be_created = context.creates_tables and targets[key.child] not in context.existing_targets
        if key.parent not in targets and will_be_created:
            yield failed(
                Reason.FOREIGN_KEY_OUTSIDE_SELECTION,
                f"{key.child} has the foreign key {key.name} to {key.parent}, which is not selected, so the "
                "constraint cannot "
                f"be made on {context.target_facts.where}: include {key.parent}, or create {targets[key.child]} on "
                "the target "
                "yourself the way you want it",
            )


CHECKS = (
    Check("foreign keys: actions", "source", _cascades),
    Check("foreign keys: parents", "both", _parents),
)
