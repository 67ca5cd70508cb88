"""One rule switched off each. The explorer must find what is lost without it: a model that cannot proves nothing.

``kept_by`` is the module of ``ferry_core`` that keeps the rule, ``forced_by`` the test in ``tests`` that forces its
interleaving on real servers.
"""

from dataclasses import dataclass

from tests.model.cases import (
    DEFINITIONS,
    EQUAL_KEYS,
    LOSING_SOURCE,
    LOSING_TARGET,
    PLAIN,
    UNIQUE,
    WHOLE,
)
from tests.model.config import Config

FULL = UNIQUE.but(initial=("ab",))
ONE_ROW = UNIQUE.but(initial=("a-",))
DYING = ONE_ROW.but(faults=1)
XA = ONE_ROW.but(xa=True, transactions=1)


@dataclass(frozen=True)
class Mutant:
    config: Config
    kept_by: str
    forced_by: str


MUTANTS = {
    # R1
    "R1: a flush reads before its events are visible": Mutant(
        ONE_ROW.but(r1_flush=False), "consistency/visibility.py", "ferry_core/consistency/test_visibility.py"
    ),
    "R1: the first chunk does not wait": Mutant(
        ONE_ROW.but(r1_start=False, r1_end=False),
        "consistency/table_start.py",
        "ferry_core/consistency/test_visibility.py",
    ),
    # R2
    "R2: tracking begins with the first read": Mutant(
        ONE_ROW.but(track_first=False), "consistency/table_start.py", "ferry_core/consistency/test_table_start.py"
    ),
    "R2: no XA RECOVER": Mutant(
        XA.but(xa_recover=False), "consistency/table_start.py", "ferry_core/consistency/test_table_start.py"
    ),
    "R2: XA RECOVER before R1": Mutant(
        XA.but(xa_after_r1=False), "consistency/table_start.py", "ferry_core/consistency/test_table_start.py"
    ),
    "R2: an XID may leave XA RECOVER before its rows are visible, and R1 is not repeated": Mutant(
        XA.but(xa_gone_is_visible=False, r1_end=False),
        "consistency/table_start.py",
        "ferry_core/consistency/test_table_start.py",
    ),
    "R2: the target is not emptied": Mutant(
        ONE_ROW.but(transactions=1, faults=1, crash=False, forget=True, emptied="never"),
        "consistency/table_start.py",
        "ferry_core/consistency/test_table_start.py",
    ),
    "R2: emptied after the record": Mutant(
        ONE_ROW.but(transactions=1, faults=2, forget=True, emptied="after record"),
        "consistency/table_start.py",
        "ferry_core/consistency/test_table_start.py",
    ),
    "R2: a resume does not wait": Mutant(
        DYING.but(transactions=1, resume_waits="none"),
        "consistency/table_start.py",
        "ferry_core/consistency/test_table_start.py",
    ),
    "R2: a resume does not ask XA RECOVER": Mutant(
        XA.but(faults=1, resume_waits="r1"),
        "consistency/table_start.py",
        "ferry_core/consistency/test_table_start.py",
    ),
    "R2: Recopy empties before it clears the record": Mutant(
        ONE_ROW.but(transactions=0, faults=2, recopy=True, recopy_order="rows first"),
        "workers/starting.py",
        "ferry_core/workers/test_starting.py",
    ),
    "R2: Recopy leaves windows open": Mutant(
        ONE_ROW.but(transactions=1, faults=1, crash=False, recopy=True, recopy_drains=False),
        "workers/starting.py",
        "ferry_core/workers/test_starting.py",
    ),
    # R3
    "R3: no gate, unique": Mutant(FULL.but(gate="none"), "consistency/gate.py", "ferry_core/consistency/test_gate.py"),
    "R3: no gate, plain": Mutant(
        PLAIN.but(gate="none", initial=("x-",)), "consistency/gate.py", "ferry_core/consistency/test_gate.py"
    ),
    "R3: a gate for rows, unique": Mutant(
        FULL.but(gate="rows"), "consistency/gate.py", "ferry_core/consistency/test_gate.py"
    ),
    "R3: generations overlap": Mutant(
        FULL.but(generations=False), "changes/flusher.py", "ferry_core/changes/test_generations.py"
    ),
    "R3: generations overlap, equal keys": Mutant(
        EQUAL_KEYS.but(generations=False, initial=("x--",)),
        "changes/flusher.py",
        "ferry_core/changes/test_generations.py",
    ),
    "R3: chunks that are not read are skipped": Mutant(
        PLAIN.but(skip_unread=True, initial=("x-",)), "changes/buffer.py", "ferry_core/changes/test_generations.py"
    ),
    "R3: deleted after the load, equal keys": Mutant(
        EQUAL_KEYS.but(delete_first=False, initial=("x--",)), "rows/copier.py", "ferry_core/rows/test_odd_keys.py"
    ),
    # R4
    "R4: a key in flight is not kept": Mutant(
        ONE_ROW.but(keep_in_flight=False), "consistency/pending.py", "ferry_core/consistency/test_pending.py"
    ),
    "R4: forgotten when it is read": Mutant(
        DYING.but(forget_at="take", transactions=1),
        "consistency/pending.py",
        "ferry_core/consistency/test_pending.py",
    ),
    "R4: a moved row adds its new key only": Mutant(
        PLAIN.but(moved_keys="new", transactions=1, initial=("x-",)),
        "binlog/walker.py",
        "ferry_core/binlog/test_row_images.py",
    ),
    "R4: a moved row adds its old key only": Mutant(
        ONE_ROW.but(moved_keys="old", transactions=1), "binlog/walker.py", "ferry_core/binlog/test_row_images.py"
    ),
    # R5
    "R5: the checkpoint passes pending keys": Mutant(
        DYING.but(lag=False, transactions=1), "consistency/positions.py", "ferry_core/changes/test_buffer.py"
    ),
    "R5: XA does not hold the checkpoint back": Mutant(
        XA.but(faults=1, xa_position="none"), "consistency/prepared.py", "ferry_core/changes/test_buffer.py"
    ),
    "R5: keys of XA have the position of the XA COMMIT": Mutant(
        XA.but(faults=1, xa_position="commit"), "consistency/prepared.py", "ferry_core/changes/test_buffer.py"
    ),
    "R5: XA counts as lost before its PREPARE is visible": Mutant(
        XA.but(faults=1, xa_dropped=True, xa_drop_visible=False),
        "changes/dropped_xa.py",
        "ferry_core/changes/test_dropped_xa.py",
    ),
    # The fence and lost connections
    "no fence": Mutant(
        DYING.but(fence=False, transactions=1), "consistency/fence.py", "ferry_core/consistency/test_fence.py"
    ),
    "checkpoints without the fence, Recopy": Mutant(
        ONE_ROW.but(transactions=0, faults=3, recopy=True, fence_store=False),
        "checkpoint/target.py",
        "ferry_core/checkpoint/test_stores.py",
    ),
    "a lost connection is not ended": Mutant(
        PLAIN.but(faults=1, crash=False, lost=True, end_lost=False, initial=("x-",)),
        "workers/step.py",
        "ferry_core/consistency/test_lost_connection.py",
    ),
    # Servers
    "source lost its tail: the history is not proven": Mutant(
        LOSING_SOURCE.but(history=False), "binlog/history.py", "ferry_core/binlog/test_lost_tail.py"
    ),
    "source lost its tail: proofs outlive the restart": Mutant(
        LOSING_SOURCE.but(verify=True, proofs_end=False), "run/startup.py", "e2e/test_restarts.py"
    ),
    "target lost commits: a state file without marks": Mutant(
        LOSING_TARGET.but(transactions=1, store="file", marks=False),
        "checkpoint/marks.py",
        "e2e/test_target_loses.py",
    ),
    "another server is read, or written": Mutant(
        ONE_ROW.but(transactions=1, faults=1, crash=False, other_server=True, identity=False),
        "mysql/identity.py",
        "ferry_core/mysql/test_identity.py",
    ),
    # Definitions
    "definitions: not compared after the start": Mutant(
        DEFINITIONS.but(compare_after_start=False), "run/definitions.py", "e2e/test_definition_changes.py"
    ),
    "definitions: not compared with the checkpoint": Mutant(
        DEFINITIONS.but(compare_digest=False, faults=1), "run/definitions.py", "e2e/test_definition_changes.py"
    ),
    "definitions: two statements compared as one": Mutant(
        DEFINITIONS.but(alone=False), "run/definitions.py", "ferry_core/run/test_altered_tables.py"
    ),
    "definitions: the checkpoint passes the first of two": Mutant(
        DEFINITIONS.but(hold=False, faults=1, transactions=3),
        "run/definitions.py",
        "ferry_core/run/test_altered_tables.py",
    ),
    # Tables without a key
    "whole table: the checkpoint calls a changed one copied": Mutant(
        WHOLE.but(faults=1, whole_dirty=False), "run/checkpoints.py", "e2e/test_without_keys.py"
    ),
    "whole table: the checkpoint looks for changes before it takes the position": Mutant(
        WHOLE.but(faults=1, whole_position_first=False), "run/checkpoints.py", "e2e/test_without_keys.py"
    ),
    "whole table: a later copy beside the first": Mutant(
        WHOLE.but(gate="none", whole_after_first=False),
        "changes/whole_tables.py",
        "ferry_core/changes/test_whole_tables.py",
    ),
    "whole table: copied again before its events are visible": Mutant(
        WHOLE.but(r1_flush=False), "consistency/visibility.py", "ferry_core/changes/test_whole_tables.py"
    ),
}
