"""Faults of the network between the copier and the servers."""

from ferry_core.reasons import Reason
from tests.faults.moments import COPYING, RUNNING
from tests.faults.table import NOBODY, Cell, Made, Outcome, Section, nothing_to_do, tested

_NOT_HELD = "no statement to this server is held back then"

NETWORK = Section(
    "The network",
    (
        nothing_to_do(
            "A connection breaks, and its last statement may still be executed",
            "copying, streaming",
            "ConnectionLost in the log, retried; what may have been committed is proven ended first",
            tested(
                "ferry_core/consistency/test_lost_connection.py::test_a_chunk_whose_commit_may_still_succeed",
                "ferry_core/consistency/test_lost_connection.py::test_a_batch_whose_commit_may_still_succeed",
                "e2e/test_restarts.py::test_a_connection_that_is_lost_before_the_first_chunk",
            ),
        ),
        nothing_to_do(
            "All connections to the target break",
            "any phase before the cutover",
            "they are opened again; what they may have committed is proven ended first",
            Made("target cut", RUNNING, NOBODY),
        ),
        nothing_to_do(
            "The source gets a statement, and its answer is lost",
            "start, copying, verifying, under the lock",
            "the statement is repeated; writes that it has stopped are allowed again",
            Made(
                "source answer lost",
                ("validating", "tracking", "copying", "verifying", "resuming", "locking", "locked"),
                _NOT_HELD,
            ),
        ),
        nothing_to_do(
            "All connections to the source break",
            "any phase before the cutover",
            "they are opened again; the stream continues where it was",
            Made("source cut", RUNNING, NOBODY),
        ),
        nothing_to_do(
            "Connections to the source break after some thousand bytes, again and again",
            "any phase before the cutover",
            "ConnectionLost in the log, retried",
            Made("source cut often", RUNNING, NOBODY),
        ),
        nothing_to_do(
            "Connections to the target break after some thousand bytes, again and again",
            "any phase before the cutover",
            "ConnectionLost in the log, retried",
            Made("target cut often", RUNNING, NOBODY),
        ),
        nothing_to_do(
            "The target gets a statement, and its answer is lost",
            "start, copying, streaming, CuttingOver: before its start is recorded",
            "what may have been committed is proven ended first, then the statement is repeated",
            Made(
                "target answer lost", ("creating", *COPYING, "streaming", "intent", "draining", "recording"), _NOT_HELD
            ),
        ),
        nothing_to_do(
            "The source is silent for seconds, and no connection breaks",
            "any phase",
            "nothing moves meanwhile",
            Made("source silent", RUNNING, NOBODY),
        ),
        nothing_to_do(
            "The target is silent for seconds, and no connection breaks",
            "any phase",
            "nothing moves meanwhile",
            Made("target silent", RUNNING, NOBODY),
        ),
        nothing_to_do(
            "The network is slow",
            "copying, under the lock",
            "everything takes longer",
            Made("source slow", RUNNING, NOBODY),
        ),
        nothing_to_do(
            "The network to the target is slow",
            "copying, under the lock",
            "everything takes longer",
            Made("target slow", RUNNING, NOBODY),
        ),
        Cell(
            "The answer to the record of the cutover is lost",
            "CuttingOver: recording",
            Outcome.EXACT,
            "the outcome is unknown until the record is found or proven absent; meanwhile nobody unlocks the source",
            "nothing",
            tested(
                "e2e/test_cutover.py::test_a_record_whose_answer_is_lost_counts_once_it_is_found",
                "e2e/test_cutover.py::test_a_record_that_commits_after_the_copiers_death_counts",
                "e2e/test_cutover.py::test_nobody_unlocks_while_the_outcome_of_the_cutover_is_unknown",
            ),
        ),
        Cell(
            "It stays away for longer than --retry-for",
            "any phase",
            Outcome.RESUMES,
            "exit code 75 with the cause",
            "start again once it is back",
            tested("e2e/test_faults.py::test_a_step_is_retried_for_the_configured_time"),
            Reason.SERVER_UNREACHABLE,
        ),
        nothing_to_do(
            "It is away for 20 s",
            "copying, streaming",
            "the run goes on when it is back",
            tested("e2e/test_faults.py::test_a_network_outage_of_20_seconds"),
        ),
        nothing_to_do(
            "Silence without an end of the connection",
            "streaming",
            "the silent connection is replaced",
            tested("ferry_core/binlog/test_streamer.py::test_a_silent_connection_is_replaced_and_the_stream_continues"),
        ),
        Cell(
            "A certificate expires or is another one",
            "connecting",
            Outcome.STOPS,
            "TlsCertificateRejected; no password was sent",
            "renew it",
            tested(
                "ferry_core/mysql/test_tls.py::test_nothing_is_sent_to_a_server_whose_certificate_does_not_verify",
                "e2e/bad_input/test_connections.py::test_certificate_does_not_verify",
            ),
            Reason.TLS_CERTIFICATE_REJECTED,
        ),
        Cell(
            "A server speaks another protocol, lies about lengths, or floods",
            "connecting, streaming",
            Outcome.STOPS,
            "AnswerMalformed, AnswerTooLarge or BinlogCorrupt",
            "look at who answers at the address",
            tested(
                "ferry_core/mysql/test_rogue_server.py::test_an_answer_that_is_not_the_protocol_has_a_reason",
                "ferry_core/mysql/test_rogue_server.py::test_an_answer_without_end_is_refused",
                "ferry_core/binlog/test_frames.py::test_any_bytes_are_an_event_or_a_named_end",
            ),
            Reason.ANSWER_MALFORMED,
        ),
    ),
)
