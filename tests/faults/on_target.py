"""Faults of the target, and what people do on it."""

from ferry_core.reasons import Reason
from tests.faults.moments import COPYING, DOWN, FOLLOWING, RUNNING
from tests.faults.table import NOBODY, Cell, Made, Outcome, Section, nothing_to_do, tested

_RESTARTED = (
    "ServerRestarted in the log; the run resumes from its checkpoint in the same process, all rows are verified again"
)

_LEASE = (
    "a start takes it anew; the transaction that records the cutover holds it; after the cutover nothing is written"
)

TARGET = Section(
    "The target",
    (
        nothing_to_do(
            "It is restarted, or crashes and loses nothing",
            "copying, streaming, ready",
            _RESTARTED,
            tested(
                "e2e/test_faults.py::test_a_run_continues_when_the_target_is_back",
                "e2e/test_restarts.py::test_rows_are_verified_again_after_a_restart",
            ),
        ),
        nothing_to_do(
            "It crashes and loses nothing",
            "any phase before the cutover",
            f"{_RESTARTED}; an attempt fails and the next one begins by itself",
            Made("target killed", (*RUNNING, *DOWN)),
        ),
        nothing_to_do(
            "It is restarted",
            "any phase before the cutover",
            _RESTARTED,
            Made("target restarted", (*RUNNING, *DOWN)),
        ),
        nothing_to_do(
            "It hangs for seconds",
            "any phase",
            "nothing moves meanwhile",
            Made("target hangs", RUNNING, NOBODY),
        ),
        nothing_to_do(
            "All its connections are taken",
            "any phase before the cutover",
            "the errors in the log, retried",
            Made("target connections taken", RUNNING, NOBODY),
        ),
        nothing_to_do(
            "Somebody kills every session",
            "any phase before the cutover",
            "the sessions are replaced",
            Made("target sessions killed", RUNNING, NOBODY),
        ),
        nothing_to_do(
            "It crashes and loses its last commits",
            "ready",
            "an older state whose rows are there is used, and all rows are verified again",
            Made(
                "target loses commits",
                ("streaming", "ready", "stopped streaming"),
                "before, it has nothing to lose that was read; under the lock it is a crash for the attempt, as above",
            ),
        ),
        nothing_to_do(
            "It crashes for longer than an attempt may take",
            "CuttingOver: writes are stopped",
            "the attempt ends at its deadline, and the source accepts writes again without the target",
            tested(
                "e2e/test_target_fails.py::test_a_target_that_is_killed_under_the_lock_leaves_the_source_writable",
                "e2e/test_cutover_losses.py::test_a_target_lost_past_the_deadline_leaves_the_source_writable",
                "ferry_core/cutover/test_write_block.py::test_a_target_that_fails_blocks_writes_no_longer_than_the_deadline",
            ),
        ),
        nothing_to_do(
            "It crashes, and rows or the newest runs are gone",
            "any phase",
            "an older checkpoint whose rows are there is used, or everything is verified and copied again",
            tested(
                "e2e/test_old_states.py::test_a_target_restored_to_before_the_newest_runs",
                "ferry_core/checkpoint/test_stores.py::test_the_newest_state_whose_rows_the_target_has_is_chosen",
                "e2e/test_target_loses.py::test_power_cut_while_the_run_is_down",
            ),
        ),
        Cell(
            "It is restored from a snapshot or a backup",
            "while the copier is down",
            Outcome.STOPS,
            "StateOfOtherTarget: what the state records is not there",
            "restore the newest backup, or start over with --restart",
            tested("e2e/test_target_changed.py::test_a_target_restored_from_a_backup"),
            Reason.STATE_OF_OTHER_TARGET,
        ),
        nothing_to_do(
            "It is restored from a snapshot whose state the state file still has",
            "while the copier is down",
            "a line in the log, and the move goes on from that state",
            tested("e2e/test_target_loses.py::test_a_target_restored_from_a_snapshot"),
        ),
        Cell(
            "It crashes and loses the record of the cutover",
            "recorded",
            Outcome.AMBIGUOUS,
            "HandOverForgotten or SourceReadOnly: the source may be superseded; the statement to decide it by",
            "decide which server is live, and follow the message",
            tested(
                "e2e/test_target_loses.py::test_a_target_that_lost_the_record_of_the_cutover_is_not_copied_over",
                "ferry_core/cutover/test_durable.py::test_a_record_that_is_lost_already_is_ambiguous",
                "ferry_core/cutover/test_durable.py::test_the_record_survives_a_power_cut",
                "e2e/test_target_loses.py::test_abort_and_cleanup_drop_nothing_where_the_target_may_be_live",
            ),
            Reason.HAND_OVER_FORGOTTEN,
        ),
        Cell(
            "Another server answers at its address for good",
            "any phase",
            Outcome.STOPS,
            "TargetReplaced, or StateOfOtherTarget at a start",
            "lead the address back and start again",
            tested(
                "e2e/test_moved_address.py::test_an_address_that_leads_elsewhere_for_good",
                "e2e/test_target_changed.py::test_another_server",
            ),
            Reason.TARGET_REPLACED,
        ),
        nothing_to_do(
            "It hangs for longer than an attempt may take",
            "CuttingOver: writes are stopped",
            "the attempt ends at its deadline, and the source accepts writes again",
            tested(
                "e2e/test_target_fails.py::test_a_target_that_hangs_under_the_lock_delays_neither_the_deadline_nor_a_stop"
            ),
        ),
        nothing_to_do(
            "It refuses every write",
            "start, abort, recording",
            "ServerReadOnly; the source is unlocked all the same",
            tested(
                "e2e/test_target_fails.py::test_a_start_unlocks_a_source_though_the_target_refuses_every_write",
                "e2e/test_target_fails.py::test_an_abort_unlocks_a_source_though_the_target_refuses_every_write",
                "ferry_core/cutover/test_write_block.py::test_a_record_that_the_target_refuses_leaves_the_source_writable",
            ),
        ),
        nothing_to_do(
            "Its disk is full",
            "copying, under the lock",
            "ServerResourceExhausted, retried; an attempt ends at its deadline with the source writable",
            tested(
                "e2e/test_full_disk.py::test_disk_full_on_the_target",
                "e2e/test_full_disk.py::test_a_full_disk_while_the_source_is_locked",
            ),
        ),
        Cell(
            "Somebody changes rows after the full pass",
            "ready",
            Outcome.EXACT,
            "an attempt that finds them fails with RowsDiffer; with verify.onMismatch: Repair they are copied again",
            "let nobody write to the target before the cutover",
            tested(
                "e2e/test_foreign_writes.py::test_rows_that_others_change_are_copied_again",
                "e2e/test_proof.py::test_rows_that_others_changed_on_the_target_are_found_and_named",
                "e2e/test_proof.py::test_a_row_changed_on_the_target_and_then_on_the_source_is_corrected",
            ),
        ),
        Cell(
            "Tables hold rows of others",
            "start",
            Outcome.STOPS,
            "TargetNotEmpty; nothing of them is deleted",
            "move or empty the table",
            tested(
                "e2e/test_rows_of_others.py::test_while_a_run_starts",
                "e2e/test_rows_of_others.py::test_after_a_run_was_killed_before_its_first_row",
                "e2e/test_rows_of_others.py::test_in_a_transaction_that_is_open_when_a_run_starts",
            ),
            Reason.TARGET_NOT_EMPTY,
        ),
        Cell(
            "Somebody alters a table",
            "while a run starts",
            Outcome.STOPS,
            "TargetTableDiffers with the column",
            "undo it, and start again",
            tested(
                "e2e/test_definition_changes.py::test_a_table_of_the_target_altered_between_validation_and_the_copy"
            ),
            Reason.TARGET_TABLE_DIFFERS,
        ),
        Cell(
            "Somebody drops a table",
            "while the copier is down, or starts",
            Outcome.STOPS,
            "TargetTableLost with the table",
            "start over",
            tested(
                "e2e/test_target_changed.py::test_a_table_that_was_dropped",
                "e2e/test_target_changed.py::test_a_table_that_is_dropped_while_a_run_starts",
            ),
            Reason.TARGET_TABLE_LOST,
        ),
        Cell(
            "Somebody removes the Ferry's lease",
            "copying, streaming, under the lock",
            Outcome.STOPS,
            "LeaseRemoved; nothing more is written",
            "ferry abort, or restore the row",
            Made("lease removed", (*COPYING, *FOLLOWING, "intent", "locking", "locked", "draining"), _LEASE),
            Reason.LEASE_REMOVED,
        ),
        Cell(
            "Somebody drops the schema mysql_ferry",
            "copying, streaming, ready, under the lock",
            Outcome.STOPS,
            "LeaseRemoved; nothing more is written",
            "start over with --restart",
            Made("helper tables dropped", (*COPYING, *FOLLOWING, "intent", "locking", "locked", "draining"), _LEASE),
            Reason.LEASE_REMOVED,
        ),
        Cell(
            "Somebody takes the Ferry's lease, as another run does",
            "copying, ready, under the lock",
            Outcome.STOPS,
            "NewerRun; nothing more is written, and an attempt is undone",
            "nothing, if it was another run; otherwise start again",
            Made("lease taken", (*COPYING, *FOLLOWING, "intent", "locking", "locked", "draining"), _LEASE),
            Reason.NEWER_RUN,
        ),
        nothing_to_do(
            "Somebody kills a session",
            "copying",
            "it is replaced; what it may have committed is proven ended first",
            tested(
                "ferry_core/consistency/test_lost_connection.py::test_a_lost_source_connection_while_a_chunk_is_split"
            ),
        ),
    ),
)
