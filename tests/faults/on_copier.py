"""Faults of the copier."""

from ferry_core.reasons import Reason
from tests.faults.moments import DOWN, RUNNING
from tests.faults.table import Cell, Made, NotMade, Outcome, Section, nothing_to_do, tested

COPIER = Section(
    "The copier",
    (
        nothing_to_do(
            "kill -9, a lost machine, out of memory",
            "between two steps",
            "the next start resumes from the checkpoint, and first unlocks a source that an attempt has locked",
            tested(
                "e2e/test_cutover.py::test_the_next_start_unlocks_the_source_after_a_killed_run",
                "e2e/test_left_behind.py::test_a_kill_while_the_record_is_flushed_to_disk",
                "e2e/test_two_runs.py::test_a_new_run_starts_at_once_after_a_killed_one",
            ),
        ),
        nothing_to_do(
            "kill -9",
            "at each step",
            "the next start resumes from the checkpoint, and first unlocks a source that an attempt has locked",
            Made("copier killed", RUNNING, "it is down"),
        ),
        nothing_to_do(
            "kill -9 again and again",
            "all phases of one move",
            "the same",
            tested(
                "e2e/test_kills.py::test_twenty_kills_in_one_migration_lose_nothing",
                "e2e/test_kills.py::test_kills_lose_nothing_with_the_checkpoint_on_the_target",
                "e2e/test_without_keys.py::test_kills_while_one_is_copied_lose_nothing",
                "e2e/test_nullable_keys.py::test_null_in_every_phase_loses_nothing_over_kills",
            ),
        ),
        nothing_to_do(
            "SIGTERM",
            "every phase",
            "exit code 143 within seconds, the checkpoint saved, the source writable",
            tested("e2e/test_stops.py::test_sigterm_ends_every_stage_in_time_and_no_table_starts_over"),
        ),
        nothing_to_do(
            "SIGTERM",
            "at each step",
            "exit code 143; the next start resumes",
            Made("copier terminated", RUNNING, "it is down"),
        ),
        nothing_to_do(
            "It is frozen for seconds",
            "any phase",
            "nothing moves meanwhile; an attempt may fail and writes are allowed again",
            Made("copier frozen", RUNNING, "it is down"),
        ),
        nothing_to_do(
            "SIGTERM while a server hangs",
            "copying to CuttingOver",
            "the same",
            tested(
                "e2e/test_stops.py::test_sigterm_ends_in_time_while_the_target_hangs",
                "e2e/test_stops.py::test_sigterm_ends_in_time_while_the_source_hangs",
                "e2e/test_target_fails.py::test_sigterm_unlocks_in_time_while_the_target_hangs",
            ),
        ),
        nothing_to_do(
            "It is frozen, a successor takes over, and it wakes",
            "copying, ready, CuttingOver",
            "the first one ends with NewerRun (exit 65) and has written nothing; the second completes",
            tested(
                "e2e/test_two_runs.py::test_a_run_that_was_suspended_cannot_write_after_its_successor",
                "e2e/test_two_runs.py::test_an_idle_older_run_notices_its_successor",
                "e2e/test_two_runs.py::test_a_newer_run_takes_over_in_the_middle_of_a_cutover",
            ),
        ),
        nothing_to_do(
            "It is killed while it holds a lock of the user's (Webhook)",
            "CuttingOver: during the call; draining; recording",
            "the next start calls unlock for the recorded lock",
            tested(
                "e2e/test_webhook_cutover.py::test_a_copier_killed_under_writers",
                "e2e/test_webhook_cutover.py::test_the_next_start_calls_unlock_for_a_killed_attempt",
            ),
        ),
        nothing_to_do(
            "It is killed between finding rows that others changed on the target and copying them again",
            "ready",
            "the next start verifies all rows, finds them again and copies them again",
            tested(
                "e2e/test_foreign_writes.py::test_a_copier_killed_between_finding_rows_and_repairing_them",
            ),
        ),
        nothing_to_do(
            "It is killed while it moves tenants by an index, or waits for its window",
            "copying; waiting for cutover.notBefore; CuttingOver: recording",
            "the next start resumes; an attempt begins in the window",
            tested("e2e/test_tenant.py::test_tenants_under_writers_at_a_certain_time"),
        ),
        nothing_to_do(
            "It is killed in an attempt with LockTables",
            "CuttingOver: each step up to the COMMIT of the record",
            "the lock ends with it and writes go on; the next start resumes",
            tested(
                "e2e/test_lock_tables.py::test_a_copier_killed_before_the_cutover_is_recorded_leaves_no_lock",
                "ferry_core/cutover/test_table_lock.py::test_a_statement_that_still_waits_without_its_copier_is_ended",
            ),
        ),
        Cell(
            "It is killed with LockTables while the record is on its way, or watching",
            "CuttingOver: recording; watching",
            Outcome.EXACT,
            "the lock ends with it; the next start says that the tables were unlocked and nobody has looked for writes",
            "keep applications from both servers until ferry verify has compared them",
            tested("e2e/test_lock_tables.py::test_a_copier_killed_once_the_cutover_is_recorded"),
        ),
        nothing_to_do(
            "Its lock statement arrives after its death",
            "CuttingOver",
            "the next start ends that statement and allows writes",
            tested(
                "e2e/test_two_runs.py::test_a_lock_statement_that_arrives_late_does_not_outlive_its_run",
                "ferry_core/cutover/test_source_lock.py::test_a_dead_copiers_attempt_does_not_lock_after_the_release",
            ),
        ),
        nothing_to_do(
            "It is killed while it moves tables between MySQL and MariaDB",
            "copying, streaming",
            "the next start resumes; every row is verified",
            tested("e2e/test_across_families.py::test_a_move_to_the_other_family"),
        ),
        Cell(
            "A second one is started",
            "while the first runs",
            Outcome.RESUMES,
            "AlreadyRunning (exit 75) with the first one's process; the first continues",
            "nothing, or --take-over",
            tested("e2e/test_two_runs.py::test_a_second_run_is_refused_and_the_first_continues"),
            Reason.ALREADY_RUNNING,
        ),
        Cell(
            "Two Ferries claim one table",
            "start",
            Outcome.STOPS,
            "TargetOwnedByAnotherFerry for the later one",
            "select the table in one Ferry only",
            tested("e2e/test_same_target.py::test_the_table_is_claimed_once"),
            Reason.TARGET_OWNED_BY_ANOTHER_FERRY,
        ),
        nothing_to_do(
            "Two Ferries have one source",
            "CuttingOver",
            "attempts take turns; none unlocks what another has handed over",
            tested(
                "e2e/test_two_ferries.py::test_a_failed_attempt_does_not_unlock_a_source_that_another_ferry_has_cut_over"
            ),
        ),
        Cell(
            "Its disk is full",
            "any phase",
            Outcome.RESUMES,
            "StateNotWritten with the path",
            "free space, and start again",
            tested("ferry_core/checkpoint/test_stores.py::test_sqlite_names_the_file_that_it_cannot_write"),
            Reason.STATE_NOT_WRITTEN,
        ),
        Cell(
            "Its state is lost",
            "start",
            Outcome.STOPS,
            "StateMissing",
            "give the state file, or --restart: then tables that hold rows of this Ferry are emptied and copied again",
            tested(
                "e2e/test_two_runs.py::test_only_the_rows_of_a_run_whose_state_is_lost_are_emptied",
                "e2e/test_old_states.py::test_a_state_without_rows_where_a_later_run_has_copied",
            ),
            Reason.STATE_MISSING,
        ),
        Cell(
            "Its state is damaged, newer, or of another Ferry",
            "start",
            Outcome.STOPS,
            "StateCorrupt, StateTooNew or StateOfOtherFerry",
            "give the right state, or start over",
            tested(
                "e2e/test_state_formats.py::test_a_newer_or_damaged_state_is_refused_with_its_reason",
                "e2e/bad_input/test_machine.py::test_state_of_another_ferry",
            ),
            Reason.STATE_CORRUPT,
        ),
        nothing_to_do(
            "Its state is newer than the target's rows",
            "start",
            "an older state whose rows the target has is chosen; what it does not know is streamed again",
            tested("ferry_core/checkpoint/test_stores.py::test_the_newest_state_whose_rows_the_target_has_is_chosen"),
        ),
        Cell(
            "A selected table is dropped, or its privilege revoked, while it is down",
            "start",
            Outcome.STOPS,
            "SchemaChanged with the table, or MissingPrivilege with the GRANT",
            "start over, or grant it and start again",
            tested(
                "e2e/test_selection.py::test_a_table_that_vanished_while_down",
                "e2e/test_selection.py::test_a_table_that_was_hidden_while_down",
            ),
            Reason.SCHEMA_CHANGED,
        ),
        Cell(
            "The selection of tables changes",
            "while it is down",
            Outcome.STOPS,
            "SelectionChanged with the field",
            "take it back, or start over with --restart",
            Made("selection changes", DOWN, "a running copier does not read it again"),
            Reason.SELECTION_CHANGED,
        ),
        nothing_to_do(
            "Settings of copy, throttle, verify and cutover change",
            "while it runs, or is down",
            "they are followed",
            tested("e2e/test_directive.py::test_throttle_workers_and_cutover_change_during_a_run"),
        ),
        nothing_to_do(
            "It is aborted",
            "any phase, also under the lock, beside a run, and while the target refuses writes",
            "the source is writable, the target's rows are kept, and no later run continues",
            tested(
                "e2e/test_stops.py::test_abort_in_the_middle_of_a_cutover_unlocks",
                "e2e/test_two_runs.py::test_an_abort_beside_a_run_in_the_middle_of_a_cutover_ends_it_for_good",
                "ferry_core/admin/test_offline.py::test_an_abort_does_not_undo_a_cutover_that_completes_meanwhile",
                "ferry_core/admin/test_offline.py::test_a_run_that_was_validated_before_an_abort_does_not_begin_after_it",
            ),
        ),
        nothing_to_do(
            "A clean-up dies, or meets another Ferry or another clean-up",
            "cleaning up",
            "the next one completes it; tables that another Ferry claims are kept",
            tested(
                "ferry_core/admin/test_offline.py::test_a_cleanup_that_died_before_it_removed_the_state_file_is_completed",
                "ferry_core/admin/test_offline.py::test_two_cleanups_at_once_drop_the_helper_tables",
                "ferry_core/admin/test_offline_drops.py::test_a_cleanup_waits_for_another_ferry_that_claims_its_table",
            ),
        ),
        nothing_to_do(
            "Two versions run one Ferry",
            "upgrade",
            "as two runs: the newer start has the lease, the other ends with NewerRun",
            NotMade("one version is installed here; make test-upgrade replaces a running copier by a newer one"),
        ),
        nothing_to_do(
            "Its clock jumps",
            "any phase",
            "lag and times in the log are wrong until it is right again",
            NotMade(
                "processes here share one clock. Deadlines and retries use the monotonic one; no row depends on either"
            ),
        ),
    ),
)
