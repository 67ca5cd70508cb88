"""Faults of a source that is a replica (``spec.source.primary``)."""

from ferry_core.reasons import Reason
from tests.faults.table import Cell, Outcome, nothing_to_do, tested

REPLICA: tuple[Cell, ...] = (
    Cell(
        "It is a replica, and stops applying",
        "CuttingOver",
        Outcome.EXACT,
        "the attempt fails at its deadline with what the replica lacks, and writes on the primary are allowed; "
        "until it applies again, LagUnknown names the stopped thread",
        "start the thread",
        tested(
            "e2e/test_replica_as_source.py::test_no_cutover_from_a_replica_that_stops_or_is_promoted",
        ),
    ),
    Cell(
        "It is a replica, and is promoted",
        "ready; while the copier is down",
        Outcome.STOPS,
        "no attempt begins: LagUnknown says that it replicates from no server; a start is refused with NotItsReplica",
        "remove spec.source.primary and start again: it is a source like any other now",
        tested(
            "e2e/test_replica_as_source.py::test_no_cutover_from_a_replica_that_stops_or_is_promoted",
        ),
        Reason.NOT_ITS_REPLICA,
    ),
    Cell(
        "It is a replica, and follows another primary, since the first one is lost",
        "while the copier is down",
        Outcome.STOPS,
        "a start is refused with NotItsReplica",
        "name the new primary in spec.source.primary and start again: the run goes on from its checkpoint",
        tested("e2e/test_replica_as_source.py::test_a_replica_that_follows_another_primary"),
        Reason.NOT_ITS_REPLICA,
    ),
    Cell(
        "It is a replica, and somebody writes there",
        "CuttingOver",
        Outcome.EXACT,
        "the attempt fails with ErrantTransactions and their GTIDs, before writes on the primary are stopped",
        "find out what they changed; rebuild the replica, or acknowledge them",
        tested("ferry_core/mysql/test_upstream.py::test_what_only_the_replica_has_executed_is_named"),
    ),
    Cell(
        "It is a replica, and a setting of the two lets them differ",
        "Validating; CuttingOver",
        Outcome.STOPS,
        "a start is refused, and an attempt fails before writes on the primary are stopped, with the setting and its "
        "value; between attempts LagUnknown names it",
        "set it as the message says",
        tested(
            "ferry_core/preflight/test_primary.py::test_settings_with_which_the_two_may_come_to_differ_are_refused",
        ),
        Reason.SOURCE_LOSES_COMMITS,
    ),
    Cell(
        "It is a replica, and its primary was restored from a backup, or lost its newest transactions",
        "ready; while the copier is down",
        Outcome.STOPS,
        "SourceHistoryLost names the binlog file and how long it was, also if the lost GTIDs are given again; in a run "
        "that goes on LagUnknown says so and no attempt begins. Once that file was purged, only GTIDs tell "
        "(ErrantTransactions)",
        "make the replica anew; ferry abort, empty the target tables, start over with a fresh copy",
        tested(
            "ferry_core/run/test_primary_history.py::test_a_primary_that_lacks_what_it_had_is_refused",
            "e2e/test_replica_as_source.py::test_a_cutover_under_writes_on_the_primary",
        ),
        Reason.SOURCE_HISTORY_LOST,
    ),
    nothing_to_do(
        "It is a replica, and the copier is killed while writes on the primary are stopped",
        "locked",
        "the next start allows writes on the server that the lease names; with another one in the manifest it is "
        "refused with SourceLocked",
        tested("e2e/test_replica_as_source.py::test_a_cutover_under_writes_on_the_primary"),
    ),
)
