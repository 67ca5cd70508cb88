"""Faults of the source, and what people do on it."""

from ferry_core.reasons import Reason
from tests.faults.table import Cell, Made, NotMade, Outcome, Section, nothing_to_do, tested

_RESTARTED = (
    "ServerRestarted in the log; the run resumes from its checkpoint in the same process, all rows are verified again"
)
_DDL = "SchemaChanged with the table and the statement"
_START_OVER = "ferry abort, empty the target tables, start over with a fresh copy"

SOURCE = Section(
    "The source",
    (
        nothing_to_do(
            "It is restarted",
            "any phase before the cutover",
            _RESTARTED,
            Made("source restarted", ("copying", "locked")),
        ),
        nothing_to_do(
            "It crashes and loses nothing",
            "any phase before the cutover",
            _RESTARTED,
            Made("source killed", ("tracking", "committing", "streaming", "verifying", "locked", "recording")),
        ),
        nothing_to_do(
            "It is restarted or crashes",
            "while the copier is down",
            "the start resumes, and verifies all rows",
            Made("source killed", ("stopped copying", "stopped streaming", "stopped locked", "resuming")),
        ),
        nothing_to_do(
            "It is restarted",
            "after the cutover",
            "it accepts writes unless its configuration says read_only; those during the watch are reported",
            tested("e2e/test_clean_restarts.py::test_a_restart_after_the_cutover_is_harmless"),
        ),
        Cell(
            "It crashes, the end of its binlog is gone, and its numbers are given again",
            "streaming",
            Outcome.STOPS,
            "SourceHistoryLost",
            _START_OVER,
            tested(
                "e2e/test_history.py::test_gtids_reused_after_a_crash",
                "ferry_core/binlog/test_lost_tail.py::test_a_crash_that_loses_events_while_connected",
                "ferry_core/binlog/test_lost_tail.py::test_a_crash_that_loses_events_while_not_connected",
                "ferry_core/binlog/test_lost_tail.py::test_lost_events_after_the_checkpoints_position",
            ),
            Reason.SOURCE_HISTORY_LOST,
        ),
        Cell(
            "It crashes, and rows are gone that its binlog contains",
            "streaming",
            Outcome.STOPS,
            "RowsDiffer from the verification after the restart: rows that are on the target only, or have other "
            "values there, are named and stay",
            "write the rows back on the source, or start again without them; then set sync_binlog = 1 and "
            "innodb_flush_log_at_trx_commit = 1",
            tested(
                "e2e/test_restarts.py::test_rows_that_the_source_lost_in_a_crash_stay_on_the_target",
                "e2e/test_restarts.py::test_rows_that_the_source_lost_while_the_copier_was_down_stay_on_the_target",
            ),
            Reason.ROWS_DIFFER,
        ),
        Cell(
            "It loses power, and its newest rows, but not their events",
            "ready",
            Outcome.STOPS,
            "RowsDiffer with the tables, once the rows were read again; they stay on the target",
            "write the rows back on the source, or start again without them; then set sync_binlog = 1 and "
            "innodb_flush_log_at_trx_commit = 1",
            Made("source loses rows", ("ready",)),
            Reason.ROWS_DIFFER,
        ),
        Cell(
            "It loses power, and the end of its binlog that was read",
            "ready",
            Outcome.STOPS,
            "SourceHistoryLost",
            _START_OVER,
            Made("source loses tail", ("ready",)),
            Reason.SOURCE_HISTORY_LOST,
        ),
        Cell(
            "RESET of its binlog",
            "streaming; while the copier is down",
            Outcome.STOPS,
            "SourceHistoryLost; a cutover attempt fails with it before anything is handed over",
            _START_OVER,
            tested(
                "e2e/test_history.py::test_a_reset_while_streaming",
                "e2e/test_history.py::test_a_reset_between_stop_and_resume",
                "e2e/test_history.py::test_a_reset_between_stop_and_resume_whose_gtids_were_reused",
                "ferry_core/binlog/test_reset.py::test_a_reset_while_the_connection_was_lost",
            ),
            Reason.SOURCE_HISTORY_LOST,
        ),
        Cell(
            "A transaction keeps rows locked, without GTIDs",
            "copying; streaming",
            Outcome.EXACT,
            "reads wait for it without a limit, a second at a time; the message of the status names it",
            "end the transaction if it is forgotten",
            tested("e2e/test_without_gtids.py::test_locked_rows"),
        ),
        nothing_to_do(
            "A commit stalls, without GTIDs",
            "start; streaming",
            "reads wait for its rows",
            tested(
                "ferry_core/consistency/test_visibility_by_file.py::test_a_flush_waits_for_a_stalled_commit",
                "ferry_core/consistency/test_visibility_by_file.py::test_chunks_wait_for_commits_that_were_stalled_at_the_start",
            ),
        ),
        Cell(
            "It loses what was read, or is reset, without GTIDs",
            "streaming; while the copier is down",
            Outcome.STOPS,
            "SourceHistoryLost; a cutover attempt fails with it before anything is handed over",
            _START_OVER,
            tested(
                "e2e/test_without_gtids.py::test_a_crash_that_loses_what_was_read",
                "e2e/test_without_gtids.py::test_a_reset_while_streaming",
                "e2e/test_without_gtids.py::test_a_reset_between_stop_and_resume",
            ),
            Reason.SOURCE_HISTORY_LOST,
        ),
        nothing_to_do(
            "gtid_mode is switched on while nothing is written",
            "streaming, then the copier is killed",
            "the next start resumes; the newest file proves the history",
            tested("e2e/test_without_gtids.py::test_gtids_switched_on_while_nothing_was_written"),
        ),
        nothing_to_do(
            "The account's password changes",
            "streaming; under the lock",
            "what was read is proven with the new password",
            tested("ferry_core/binlog/test_history_login.py::test_a_password_that_changed_while_streaming"),
        ),
        Cell(
            "gtid_mode is switched on before everything was read",
            "while the copier is down",
            Outcome.STOPS,
            "GtidModeChanged with the statement that helps",
            "set gtid_mode = ON_PERMISSIVE, and start again",
            tested("e2e/test_without_gtids.py::test_gtids_switched_on_before_everything_was_read"),
            Reason.GTID_MODE_CHANGED,
        ),
        nothing_to_do(
            "Another server answers at its address for some seconds",
            "any phase",
            "SourceReplaced in the log, retried; the other server is asked nothing but who it is",
            tested(
                "e2e/test_moved_address.py::test_an_address_that_leads_elsewhere_for_seconds",
                "ferry_core/mysql/test_identity.py::test_another_server_is_refused_before_anything_is_asked_there",
            ),
        ),
        Cell(
            "Another server answers at its address for good",
            "any phase",
            Outcome.STOPS,
            "SourceReplaced, once retries are over, or OtherSource at a start: who answers, and who should",
            "lead the address back and start again; after a failover start over",
            tested(
                "e2e/test_moved_address.py::test_an_address_that_leads_elsewhere_for_good",
                "e2e/test_renamed_servers.py::test_a_renamed_server_with_another_binlog_is_another_server",
            ),
            Reason.SOURCE_REPLACED,
        ),
        nothing_to_do(
            "It is renamed and proves that it is the same",
            "streaming; under the lock; while the copier is down",
            "the run goes on with the new name",
            tested(
                "e2e/test_renamed_servers.py::test_a_run_continues_with_the_renamed_server",
                "e2e/test_renamed_servers.py::test_a_source_renamed_under_the_lock",
                "e2e/test_renamed_servers.py::test_a_new_start_resumes_with_the_renamed_server",
            ),
        ),
        nothing_to_do(
            "It hangs for seconds",
            "any phase before the cutover",
            "nothing moves meanwhile",
            Made("source hangs", ("tracking", "copying", "locking", "locked")),
        ),
        Cell(
            "It hangs for longer than an attempt may take",
            "CuttingOver",
            Outcome.EXACT,
            "the attempt fails with DeadlineExceeded; writes are allowed again as soon as the source answers",
            "nothing; the next attempt begins by itself",
            tested("e2e/test_cutover_losses.py::test_a_source_lost_past_the_deadline_is_writable_when_it_is_back"),
        ),
        nothing_to_do(
            "Somebody sets read_only for a moment",
            "copying, streaming, ready",
            "an attempt that finds it set fails, and the next one begins by itself",
            Made("source read-only", ("copying", "ready")),
        ),
        Cell(
            "Somebody else holds read_only when an attempt begins",
            "CuttingOver",
            Outcome.EXACT,
            "it is kept and not taken for ours",
            "nothing",
            tested(
                "ferry_core/cutover/test_source_lock.py::test_a_source_that_somebody_else_made_read_only_is_not_taken_for_ours",
                "e2e/test_target_fails.py::test_a_read_only_that_may_be_somebody_elses_is_kept_and_reported",
            ),
        ),
        Cell(
            "Somebody removes the lock",
            "CuttingOver: writes are stopped",
            Outcome.EXACT,
            "the attempt fails; a write of that time is streamed",
            "nothing; the next attempt begins by itself",
            tested(
                "e2e/test_cutover.py::test_a_lock_that_somebody_removes_fails_the_attempt",
                "ferry_core/cutover/test_source_lock.py::test_a_lock_removed_at_once_by_somebody_only_fails_the_attempt",
            ),
        ),
        Cell(
            "The call that stops writes (Webhook) fails, or its answer is lost",
            "CuttingOver: stopping writes",
            Outcome.EXACT,
            "it is repeated with the same key; then the attempt fails (WebhookFailed) and writes go on",
            "nothing; the next attempt begins by itself",
            tested(
                "e2e/test_webhook_cutover.py::test_a_lock_that_fails_lets_writes_go_on",
                "e2e/test_webhook_cutover.py::test_a_cutover_under_writers",
            ),
        ),
        nothing_to_do(
            "Its binlog is rotated",
            "any phase",
            "nothing",
            Made("binlog rotated", ("copying", "locked", "stopped streaming")),
        ),
        Cell(
            "Its binlog is purged beyond the position",
            "while the copier is down",
            Outcome.STOPS,
            "SourceBinlogPurged with the position and the oldest one left",
            _START_OVER + "; keep binlogs for longer",
            tested(
                "e2e/test_faults.py::test_binlog_purged_between_stop_and_resume",
                "ferry_core/binlog/test_lost_tail.py::test_lost_events_whose_file_was_purged",
            ),
            Reason.SOURCE_BINLOG_PURGED,
        ),
        Cell(
            "Its disk is full",
            "any phase",
            Outcome.EXACT,
            "the application's own writes hang or fail; reads and the stream go on",
            "free space on the source",
            NotMade("both families block every commit then, as a hanging source does, which is made above"),
        ),
        *(
            Cell(
                f"A selected table is {what}",
                "copying, streaming, verifying, under the lock",
                Outcome.STOPS,
                _DDL,
                "start over with a fresh copy: undoing it does not help",
                Made(f"table {what}", moments),
                Reason.SCHEMA_CHANGED,
            )
            for what, moments in (
                ("altered", ("copying", "verifying", "ready", "stopped streaming")),
                ("truncated", ("copying", "stopped streaming")),
                ("renamed", ("copying", "ready")),
                ("dropped", ("streaming", "stopped streaming")),
            )
        ),
        nothing_to_do(
            "A table is created that the selection matches, with schema.onNewTable: Copy",
            "copying; streaming; while the copier is down; CuttingOver",
            "the run resumes from its checkpoint with the new table; an attempt is undone, and made again",
            tested(
                "e2e/test_new_tables.py::test_a_new_table_is_copied_and_the_others_keep_their_rows",
                "e2e/test_new_tables.py::test_a_run_that_is_killed_while_it_makes_the_table",
                "e2e/test_new_tables.py::test_a_table_created_during_a_cutover_attempt",
            ),
        ),
        Cell(
            "A table is created that the selection matches, with schema.onNewTable: Fail",
            "streaming; while the copier is down",
            Outcome.STOPS,
            "NewTable with the table",
            "set schema.onNewTable to Copy or Ignore, or drop the table, and start again",
            tested("e2e/test_new_tables.py::test_a_new_table_ends_the_run_if_it_must_not_appear"),
            Reason.NEW_TABLE,
        ),
        nothing_to_do(
            "A table is altered between two looks of a start",
            "Validating to the first event",
            "the start is undone and validated again",
            tested(
                "e2e/test_definition_changes.py::test_a_table_altered_between_validation_and_the_stream",
                "e2e/test_definition_changes.py::test_a_table_altered_between_the_streams_start_and_its_first_event",
                "e2e/test_definition_changes.py::test_a_table_altered_after_a_start_that_was_killed_once_it_had_created_its_tables",
            ),
        ),
        Cell(
            "A table is altered outside of the binlog",
            "streaming",
            Outcome.STOPS,
            _DDL,
            "undo it on the source, or start over",
            tested("e2e/test_definition_changes.py::test_a_table_altered_outside_of_the_binlog_while_streaming"),
            Reason.SCHEMA_CHANGED,
        ),
        Cell(
            "A definition changes",
            "CuttingOver",
            Outcome.EXACT,
            "the attempt fails with DefinitionsUnread",
            "nothing; the next attempt begins by itself",
            tested("e2e/test_objects.py::test_an_attempt_during_which_a_definition_changes"),
        ),
        Cell(
            "Replication into it starts, or runs",
            "CuttingOver",
            Outcome.EXACT,
            "the attempt fails and names the channel",
            "stop the replication, or move from the primary",
            tested(
                "ferry_core/cutover/test_other_writers.py::test_replication_that_starts_under_the_lock_fails_the_attempt",
                "ferry_core/cutover/test_other_writers.py::test_unlogged_replication_fails_the_attempt_even_when_stopped",
            ),
        ),
        Cell(
            "A session logs statements instead of rows",
            "streaming",
            Outcome.STOPS,
            "StatementFormat with the statement",
            "start over; keep binlog_format = ROW in every session",
            tested("e2e/test_faults.py::test_a_session_that_logs_statements"),
            Reason.STATEMENT_FORMAT,
        ),
        nothing_to_do(
            "Checksums or compression change",
            "streaming; while connecting",
            "nothing",
            tested(
                "ferry_core/binlog/test_streamer.py::test_checksums_on_off_and_changed_while_streaming",
                "ferry_core/binlog/test_streamer.py::test_checksums_changed_while_connecting",
                "ferry_core/binlog/test_compressed.py::test_a_session_that_compresses_its_transactions",
            ),
        ),
        nothing_to_do(
            "Checksums change",
            "copying, streaming, under the lock",
            "nothing",
            Made("checksums change", ("copying", "locked")),
        ),
        nothing_to_do(
            "sql_mode, time_zone, autocommit and timeouts change, on both ends, and all sessions end",
            "copying",
            "nothing: every session sets what it needs",
            tested("ferry_core/mysql/test_session.py::test_the_servers_limits_do_not_apply_to_our_sessions"),
        ),
        nothing_to_do(
            "Its password is rotated",
            "copying, ready",
            "AccessDenied in the log until both places have the new one",
            tested("e2e/test_faults.py::test_password_rotated"),
        ),
        nothing_to_do(
            "Somebody kills every session",
            "any phase",
            "the sessions are replaced",
            Made("source sessions killed", ("tracking", "copying", "verifying", "locking", "locked")),
        ),
        nothing_to_do(
            "Its clock jumps",
            "any phase",
            "lag is wrong until it is right again; no decision about rows depends on a clock",
            tested("ferry_core/mysql/test_identity.py::test_the_identity_does_not_depend_on_the_clock"),
        ),
        nothing_to_do(
            "A prepared transaction is left open and decided later",
            "tracking begins",
            "the start waits for it",
            Made("xa left open", ("tracking",)),
        ),
        Cell(
            "A prepared transaction stays undecided",
            "tracking begins",
            Outcome.STOPS,
            "XaUndecided with its XID after ten minutes",
            "XA COMMIT or XA ROLLBACK it, and start again",
            tested("ferry_core/consistency/test_table_start.py::test_a_transaction_that_stays_undecided_is_named"),
            Reason.XA_UNDECIDED,
        ),
        nothing_to_do(
            "A crash takes a prepared transaction away",
            "streaming",
            "its keys are read again",
            tested("ferry_core/changes/test_dropped_xa.py::test_a_prepared_transaction_that_the_source_lost"),
        ),
    ),
)
