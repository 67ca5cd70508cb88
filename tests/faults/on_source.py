"""Faults of the source."""

from ferry_core.reasons import Reason
from hack.servers import Family
from tests.faults.moments import ATTEMPT, BEFORE_CUTOVER, DOWN, RUNNING
from tests.faults.people_on_source import PEOPLE
from tests.faults.replica_as_source import REPLICA
from tests.faults.table import NOBODY, START_OVER, Cell, Made, Outcome, Section, nothing_to_do, tested

_RESTARTED = (
    "ServerRestarted in the log; the run resumes from its checkpoint in the same process, all rows are verified again"
)

_NOT_READ = "the run must have read what is lost; the tests named above lose it while it streams, and while it is down"

_READ_ONLY_ENDS = "after the cutover its read_only ends with it: see the row of that"

SOURCE = Section(
    "The source",
    (
        nothing_to_do(
            "It is restarted",
            "any phase before the cutover",
            _RESTARTED,
            Made("source restarted", (*BEFORE_CUTOVER, *ATTEMPT, *DOWN), _READ_ONLY_ENDS),
        ),
        nothing_to_do(
            "It crashes and loses nothing",
            "any phase before the cutover",
            _RESTARTED,
            Made("source killed", (*BEFORE_CUTOVER, *ATTEMPT), _READ_ONLY_ENDS),
        ),
        nothing_to_do(
            "It is restarted or crashes",
            "while the copier is down",
            "the start resumes, and verifies all rows",
            Made("source killed", DOWN),
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
            START_OVER,
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
            Made("source loses rows", ("ready",), _NOT_READ),
            Reason.ROWS_DIFFER,
        ),
        Cell(
            "It loses power, and the end of its binlog that was read",
            "ready",
            Outcome.STOPS,
            "SourceHistoryLost",
            START_OVER,
            Made("source loses tail", ("ready",), _NOT_READ),
            Reason.SOURCE_HISTORY_LOST,
        ),
        Cell(
            "RESET of its binlog",
            "streaming; while the copier is down",
            Outcome.STOPS,
            "SourceHistoryLost; a cutover attempt fails with it before anything is handed over",
            START_OVER,
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
            families=(Family.MYSQL,),
        ),
        nothing_to_do(
            "A commit stalls, without GTIDs",
            "start; streaming",
            "reads wait for its rows",
            tested(
                "ferry_core/consistency/test_visibility_by_file.py::test_a_flush_waits_for_a_stalled_commit",
                "ferry_core/consistency/test_visibility_by_file.py::test_chunks_wait_for_commits_that_were_stalled_at_the_start",
            ),
            families=(Family.MYSQL,),
        ),
        Cell(
            "It loses what was read, or is reset, without GTIDs",
            "streaming; while the copier is down",
            Outcome.STOPS,
            "SourceHistoryLost; a cutover attempt fails with it before anything is handed over",
            START_OVER,
            tested(
                "e2e/test_without_gtids.py::test_a_crash_that_loses_what_was_read",
                "e2e/test_without_gtids.py::test_a_reset_while_streaming",
                "e2e/test_without_gtids.py::test_a_reset_between_stop_and_resume",
            ),
            Reason.SOURCE_HISTORY_LOST,
            families=(Family.MYSQL,),
        ),
        nothing_to_do(
            "gtid_mode is switched on while nothing is written",
            "streaming, then the copier is killed",
            "the next start resumes; the newest file proves the history",
            tested("e2e/test_without_gtids.py::test_gtids_switched_on_while_nothing_was_written"),
            families=(Family.MYSQL,),
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
            families=(Family.MYSQL,),
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
            families=(Family.MARIADB,),
        ),
        nothing_to_do(
            "It hangs for seconds",
            "any phase before the cutover",
            "nothing moves meanwhile",
            Made("source hangs", RUNNING, NOBODY),
        ),
        Cell(
            "It hangs for longer than an attempt may take",
            "CuttingOver",
            Outcome.EXACT,
            "the attempt fails with DeadlineExceeded; writes are allowed again as soon as the source answers",
            "nothing; the next attempt begins by itself",
            tested("e2e/test_cutover_losses.py::test_a_source_lost_past_the_deadline_is_writable_when_it_is_back"),
        ),
        *PEOPLE,
        *REPLICA,
    ),
)
