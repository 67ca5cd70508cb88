"""What people and other programs do on the source. Part of ``on_source``'s section."""

from ferry_core.reasons import Reason
from tests.faults.moments import BEFORE_CUTOVER, COPYING, DOWN, FOLLOWING, RUNNING
from tests.faults.table import NOBODY, START_OVER, Cell, Made, NotMade, Outcome, nothing_to_do, tested

_DDL = "SchemaChanged with the table and the statement"

_DDL_NOT_AT = "a start is validated again, as below; under the lock the source refuses it"

PEOPLE = (
    nothing_to_do(
        "Somebody sets read_only for a moment",
        "copying, streaming, ready",
        "an attempt that finds it set fails, and the next one begins by itself",
        Made(
            "source read-only",
            (*BEFORE_CUTOVER, "intent"),
            "later it is the lock of the attempt, which the next rows are about; a copier that is down does not see it",
        ),
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
    Cell(
        "Statements wait for its tables until the lock ends (LockTables)",
        "watching after the cutover",
        Outcome.STOPS,
        "SourceWrittenAfterCutover with the connections: what they may have written is on the source only",
        "end them before cutover.watchFor is over; else repeat their writes on the target",
        tested("e2e/test_lock_tables.py::test_who_waits_at_the_end_of_the_watch_is_named"),
        Reason.SOURCE_WRITTEN_AFTER_CUTOVER,
    ),
    Cell(
        "A selected table is altered while the cutover is recorded: it has waited for the lock (LockTables), or passes "
        "it (Webhook; MariaDB: ReadOnly, with READ ONLY ADMIN)",
        "CuttingOver: recording",
        Outcome.STOPS,
        "SourceWrittenAfterCutover with the statement",
        "repeat it on the target if it is wanted there",
        tested(
            "e2e/test_ddl_under_lock.py::test_a_statement_while_the_cutover_is_recorded_is_named",
            "e2e/test_ddl_under_lock.py::test_a_statement_that_passes_read_only_is_named",
        ),
        Reason.SOURCE_WRITTEN_AFTER_CUTOVER,
    ),
    nothing_to_do(
        "A selected table is altered in an attempt whose lock lets it pass, with schema.onChange: Recopy",
        "CuttingOver: draining",
        "the attempt is undone, the table copied again, and the next attempt begins by itself",
        tested(
            "e2e/test_ddl_under_lock.py::test_a_statement_in_the_drain_behind_a_webhook",
            "e2e/test_ddl_under_lock.py::test_a_statement_in_the_drain_that_passes_read_only",
            "e2e/test_recopy.py::test_a_table_changed_during_a_cutover_attempt",
        ),
    ),
    Cell(
        "The session that locks its tables is killed (LockTables)",
        "CuttingOver: writes are stopped",
        Outcome.EXACT,
        "the attempt fails; a write of that time is streamed",
        "nothing; the next attempt begins by itself",
        tested(
            "e2e/test_lock_tables.py::test_a_lock_whose_session_is_killed_fails_the_attempt",
            "ferry_core/cutover/test_table_lock.py::test_a_session_that_is_killed_is_noticed",
        ),
    ),
    Cell(
        "The session that locks its tables is lost (LockTables)",
        "watching after the cutover",
        Outcome.EXACT,
        "the message of the Completed Ferry says that writes were possible; those that the stream has read are named",
        "keep applications from the source until ferry verify has compared both servers",
        tested(
            "ferry_core/cutover/test_table_lock.py::test_a_lock_that_was_lost_before_it_ends_is_told",
            "ferry_core/cutover/test_table_lock.py::test_a_session_that_the_network_has_lost_is_ended",
        ),
    ),
    nothing_to_do(
        "Its binlog is rotated",
        "any phase",
        "nothing",
        Made("binlog rotated", (*RUNNING, *DOWN)),
    ),
    Cell(
        "Its binlog is purged beyond the position",
        "while the copier is down",
        Outcome.STOPS,
        "SourceBinlogPurged with the position and the oldest one left",
        START_OVER + "; keep binlogs for longer",
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
            Made(f"table {what}", (*COPYING, *FOLLOWING, "resuming", "intent", "locking", *DOWN), _DDL_NOT_AT),
            Reason.SCHEMA_CHANGED,
        )
        for what in ("altered", "truncated", "renamed", "dropped")
    ),
    nothing_to_do(
        "A table is created that the selection matches, with schema.onNewTable: Copy",
        "copying; streaming; while the copier is down; CuttingOver",
        "the new table is copied beside the others; an attempt is undone, and made again",
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
        Made("checksums change", (*RUNNING, *DOWN)),
    ),
    nothing_to_do(
        "sql_mode, time_zone, autocommit and timeouts change, on both ends, and all sessions end",
        "any phase",
        "nothing: every session sets what it needs",
        Made("settings change", (*RUNNING, *DOWN)),
    ),
    nothing_to_do(
        "Row images become MINIMAL",
        "any phase",
        "nothing: rows are read, not taken from the binlog",
        Made("row images change", (*RUNNING, *DOWN)),
    ),
    nothing_to_do(
        "All its connections are taken",
        "any phase before the cutover",
        "the errors in the log, retried",
        Made("source connections taken", RUNNING, NOBODY),
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
        Made("source sessions killed", RUNNING, NOBODY),
    ),
    nothing_to_do(
        "Its clock jumps",
        "any phase",
        "lag is wrong until it is right again; no decision about rows depends on a clock",
        tested("ferry_core/mysql/test_identity.py::test_the_identity_does_not_depend_on_the_clock"),
    ),
    nothing_to_do(
        "A prepared transaction is left open and decided later",
        "any phase before writes are stopped",
        "a start and an attempt wait for it",
        Made(
            "xa left open",
            ("tracking", *COPYING, *FOLLOWING, "resuming", "intent", "stopped streaming"),
            "before, the start waits for it as when tracking begins; under the lock the source refuses XA PREPARE",
        ),
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
)
