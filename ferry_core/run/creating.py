"""Creates on the target what rows need: sequences, then tables. Called by ``startup`` once the fence is taken."""

from dataclasses import replace

from ferry_core.consistency.fence import Fence
from ferry_core.mysql.session import Session
from ferry_core.run.copy_again import drop_changed
from ferry_core.run.definitions import reason_given
from ferry_core.run.objects import TargetObjects
from ferry_core.run.own_objects import KeptObjects
from ferry_core.run.setup import RunContext
from ferry_core.run.start_over import drop_outdated
from ferry_core.schema.create import Creation, create_missing, create_schemas
from ferry_core.schema.objects import EARLY, created_kinds
from ferry_core.schema.sequences import sequence_names

DEFERRED_FROM_ROWS = 10_000
"""Tables with fewer rows, as the source's statistics estimate, get all indexes at once: each ALTER has a fixed cost."""


def create_on_target(
    context: RunContext, fence: Fence, source: Session, target: Session, creation: Creation, kept: KeptObjects
) -> None:
    """``kept`` tells which sequences are this Ferry's."""
    spec, tables = context.ferry.spec, context.tables
    with reason_given(source, spec.tables, tables):
        drop_outdated(context, fence, source, target)
        drop_changed(context, fence, target)
        if created_kinds(spec.schema_.objects).intersection(EARLY):
            with fence.hold(target):
                create_schemas(source, target, tables)
            TargetObjects(spec, tables, context.connections, fence).bring_early(source, target, kept)
        names = sequence_names(source, spec.tables, tables)
        defers = spec.schema_.defer_indexes
        complete = replace(
            creation,
            connect=context.connections.target,
            sequences=names,
            defers=lambda table: defers and table.rows_estimated >= DEFERRED_FROM_ROWS,
        )
        create_missing(source, target, tables, fence, complete)
