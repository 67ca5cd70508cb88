"""Races between an application's transactions and the copying of the same rows, as rows of the table."""

from ferry_core.reasons import Reason
from hack.servers import Family
from tests.faults.interleavings import POINTS
from tests.faults.interleavings import RACES as FORCED
from tests.faults.table import Cell, Forced, Outcome, Section, nothing_to_do, tested

_NOTHING = "nothing"

RACES = Section(
    "Races with the application's writes",
    (
        *(
            Cell(
                race.what,
                "while its rows are copied",
                Outcome.EXACT,
                _NOTHING,
                _NOTHING,
                Forced(tuple(POINTS)),
                families=race.families,
            )
            for race in FORCED.values()
        ),
        nothing_to_do(
            "Rows enter and leave the first of two rules that match their table",
            "copying",
            _NOTHING,
            tested("faults/test_races.py::test_rows_that_change_between_overlapping_rules"),
        ),
        nothing_to_do(
            "A UNIQUE value moves between two batches of one flush",
            "streaming",
            _NOTHING,
            tested(
                "ferry_core/changes/test_generations.py::test_a_unique_value_that_moves_between_two_batches_of_a_generation"
            ),
        ),
        nothing_to_do(
            "Collation-equal keys in two batches of one flush",
            "streaming",
            _NOTHING,
            tested("ferry_core/changes/test_generations.py::test_collation_equal_keys_in_two_batches_of_a_generation"),
        ),
        nothing_to_do(
            "A key moves between a copied and an uncopied range",
            "copying",
            _NOTHING,
            tested("ferry_core/changes/test_generations.py::test_keys_that_move_while_a_chunk_is_being_copied"),
        ),
        nothing_to_do(
            "A transaction is prepared before a table starts",
            "tracking begins; over a checkpoint; over a run",
            "the first chunk waits for its decision",
            tested(
                "ferry_core/consistency/test_table_start.py::test_the_first_chunk_waits_for_transactions_prepared_before_the_start",
                "ferry_core/consistency/test_table_start.py::test_a_transaction_prepared_in_one_run_and_decided_before_the_next",
                "ferry_core/consistency/test_table_start.py::test_keys_of_a_prepared_transaction_in_an_uncopied_range",
                "ferry_core/consistency/test_table_start.py::test_a_resumed_run_with_unread_chunks_waits_again",
            ),
        ),
        nothing_to_do(
            "A prepared transaction over an attempt",
            "CuttingOver",
            "the attempt fails and names its XID",
            tested(
                "e2e/test_cutover.py::test_a_prepared_transaction_fails_the_attempt_which_names_its_xid",
                "e2e/test_cutover.py::test_an_open_xa_transaction_fails_the_attempt_and_loses_no_row",
            ),
        ),
        nothing_to_do(
            "A prepared transaction is rolled back, or dropped by a crash",
            "streaming",
            "its keys are read again",
            tested(
                "ferry_core/changes/test_buffer.py::test_a_rolled_back_xa_transaction_releases_the_checkpoint",
                "ferry_core/changes/test_dropped_xa.py::test_a_dropped_transaction_that_is_committed_after_all",
            ),
        ),
        nothing_to_do(
            "A commit stalls between binlog and engine",
            "tracking begins, copying, streaming",
            "reads wait for it",
            tested(
                "ferry_core/consistency/test_visibility.py::test_a_flush_waits_for_a_stalled_commit",
                "ferry_core/consistency/test_visibility.py::test_a_flush_waits_for_a_stalled_xa_commit",
                "ferry_core/consistency/test_visibility.py::test_chunks_wait_for_commits_that_were_stalled_at_the_start",
                "ferry_core/consistency/test_table_locks.py::test_a_flush_waits_until_an_inserted_row_can_be_read",
            ),
        ),
        nothing_to_do(
            "A semi-synchronous commit gets no answer",
            "CuttingOver",
            "it is named, and survives the attempt",
            tested(
                "ferry_core/cutover/test_blockers.py::test_a_commit_stalled_inside_the_server_is_named_and_survives_the_attempt"
            ),
        ),
        nothing_to_do(
            "One transaction of two million rows",
            "streaming",
            "bounded memory",
            tested(
                "ferry_core/binlog/test_huge_transaction.py::test_two_million_rows_in_one_transaction",
                "e2e/test_breadth.py::test_one_transaction_of_two_million_rows_while_streaming",
            ),
        ),
        Cell(
            "DDL between two row events",
            "streaming",
            Outcome.STOPS,
            "SchemaChanged with the statement",
            "start over with a fresh copy",
            tested(
                "ferry_core/binlog/test_refusals.py::test_ddl_on_a_selected_table_stops_the_stream",
                "ferry_core/binlog/test_transactions.py::test_a_table_map_with_other_columns_is_a_schema_change",
            ),
            Reason.SCHEMA_CHANGED,
        ),
        nothing_to_do(
            "Rows enter and leave the row filter",
            "copying, streaming",
            _NOTHING,
            tested(
                "e2e/test_filters.py::test_rows_move_in_and_out_of_filters",
                "e2e/test_without_keys.py::test_rows_move_in_and_out_of_a_filter",
            ),
        ),
        nothing_to_do(
            "Cascades that no event shows",
            "copying, streaming, over kills",
            _NOTHING,
            tested(
                "e2e/test_cascades.py::test_random_changes_of_related_tables",
                "ferry_core/changes/test_derived_keys.py::test_every_action",
                "ferry_core/changes/test_cascades_copied_whole.py::test_a_row_that_is_replaced_before_its_cascade_is_streamed",
            ),
        ),
        nothing_to_do(
            "Rows of a table without a key, or with NULL in its only one",
            "every phase, over kills",
            "the table is copied whole",
            tested(
                "ferry_core/changes/test_whole_tables.py::test_a_change_while_it_is_copied_again",
                "e2e/test_without_keys.py::test_kills_while_one_is_copied_lose_nothing",
                "e2e/test_nullable_keys.py::test_null_that_comes_while_the_cutover_runs",
            ),
        ),
        nothing_to_do(
            "GTIDs out of order (gtid_strict_mode=OFF)",
            "streaming, before the lock",
            _NOTHING,
            tested(
                "e2e/test_gtids_out_of_order.py::test_an_out_of_order_write_just_before_the_lock_is_not_lost",
                "ferry_core/binlog/test_order.py::test_a_reconnect_reads_transactions_numbered_out_of_order",
            ),
            families=(Family.MARIADB,),
        ),
        nothing_to_do(
            "A copier that was thought dead wakes",
            "during its successor's cutover",
            "NewerRun for the first one",
            tested(
                "e2e/test_two_runs.py::test_a_run_that_was_suspended_cannot_write_after_its_successor",
                "e2e/test_two_runs.py::test_a_newer_run_takes_over_in_the_middle_of_a_cutover",
            ),
        ),
        nothing_to_do(
            "A table starts over before its start was recorded",
            "tracking begins",
            _NOTHING,
            tested(
                "e2e/test_rows_of_others.py::test_a_run_killed_as_it_records_the_start",
                "ferry_core/workers/test_starting.py::test_a_run_that_is_killed_while_a_move_starts_over_resumes_it_at_its_own_position",
            ),
        ),
        nothing_to_do(
            "The source still accepts a write after the hand-over",
            "watching",
            "SourceWrittenAfterCutover with the number of changes",
            tested(
                "e2e/test_cutover.py::test_writes_after_the_cutover_are_reported",
                "e2e/test_late_writes.py::test_a_late_write_that_is_streamed_after_the_watch_is_reported",
            ),
        ),
    ),
)
