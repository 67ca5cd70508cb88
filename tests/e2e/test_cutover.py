"""The cutover with all its failures: every outcome restores the source exactly, and never both servers accept
writes.
"""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from hack.servers import Family
from tests.support.ferry_under_load import ASIDE, FerryUnderLoad, condition, failed_attempt
from tests.support.servers import Pair
from tests.support.waits import wait_until

# These tests take longer than all other end-to-end tests together: `make test-slow` runs them alone.
pytestmark = [pytest.mark.slow, pytest.mark.always]

ODD = 3
STREAMING = ("Streaming", "ReadyForCutover")


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    return tmp_path


def exhausted(status: dict[str, Any]) -> bool:
    return bool(condition(status, "CutOver")["reason"] == "AttemptsExhausted")


# -- kills ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (FerryUnderLoad.held_in_acquire, "stopping writes on the source"),
        (FerryUnderLoad.held_in_drain, "writes on the source are stopped"),
    ],
    ids=["stopping writes", "draining"],
)
def test_the_next_start_unlocks_the_source_after_a_killed_run(
    pair: Pair, schema: str, folder: Path, held: Any, said: str
) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as under_load, under_load.writers() as writers:
        writable = under_load.read_only()
        under_load.ferry.start()
        with held(under_load):
            status = under_load.ferry.wait_status(lambda status: said in status["message"])
            cut_over = condition(status, "CutOver")
            assert (cut_over["status"], cut_over["reason"]) == ("False", "InProgress")
            assert cut_over["message"] == f"attempt {status['cutover']['attempts']} is running"
            under_load.ferry.kill()
            phase, _, stored = under_load.lease()
            print(f"killed in {phase}, source {under_load.read_only()}, stored {stored}, {writers.total} writes")
            assert phase == "CuttingOver"
        under_load.ferry.start().wait_stage("Copying", *STREAMING)
        assert under_load.read_only() == writable == (0,) * len(writable)
        writers.plain.wait_for(20)
        under_load.finish(writers=writers)
        assert under_load.locked


def test_the_next_start_restores_read_only_to_its_old_value(mysql_pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(mysql_pair, schema, folder, odd=ODD, cutover={"watchFor": "0s"}) as under_load:
        under_load.ferry.start().wait_stage("ReadyForCutover")
        mysql_pair.source.execute("SET GLOBAL read_only = ON")
        assert under_load.read_only() == (1, 0)
        with under_load.held_in_drain():
            assert under_load.read_only() == (1, 1)
            under_load.ferry.kill()
        # Restored exactly; and no start accepts a source that somebody else has made read-only.
        assert under_load.ferry.start().wait_end() == 64
        assert "SourceReadOnly" in under_load.ferry.tail()
        assert under_load.read_only() == (1, 0)
        mysql_pair.source.execute("SET GLOBAL read_only = OFF")
        under_load.ferry.start()
        under_load.finish()


def test_abort_without_a_copier_unlocks(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as under_load:
        under_load.ferry.start()
        with under_load.held_in_drain():
            under_load.ferry.kill()
        assert under_load.locked
        done = under_load.ferry.command("abort")
        assert (done.code, "allowed again" in done.stdout) == (0, True)
        assert not any(under_load.read_only())
        assert under_load.phase() == "Aborted"
        assert under_load.ferry.start().wait_end() == 64
        assert "Aborted: target" in under_load.ferry.tail()


def test_a_start_that_fails_validation_still_unlocks(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as under_load:
        under_load.ferry.start()
        with under_load.held_in_drain():
            under_load.ferry.kill()
        pair.target.execute(f"CREATE TRIGGER `{schema}`.t BEFORE INSERT ON `{schema}`.aim FOR EACH ROW SET NEW.v = 1")
        assert under_load.ferry.start().wait_end() == 64
        assert "TargetTriggers" in under_load.ferry.tail()
        assert not any(under_load.read_only())


def test_a_start_that_is_paused_still_unlocks(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as under_load:
        under_load.ferry.start()
        with under_load.held_in_drain():
            under_load.ferry.kill()
        paused = under_load.another("paused", paused=True)
        paused.arguments = under_load.ferry.arguments
        with paused:
            status = paused.start().wait_stage("CuttingOver", *STREAMING)
            assert (status["stage"], status["phase"]) == ("Streaming", "Paused")
            wait_until(lambda: not any(under_load.read_only()), "the source is writable")
            paused.post("resume")
            under_load.finish(paused)


# -- attempts that fail ------------------------------------------------------------------------------------------------


def test_a_blocked_lock_names_the_blocker_and_attempts_run_out(pair: Pair, schema: str, folder: Path) -> None:
    cutover = {"deadline": "10s", "maxAttempts": 2, "watchFor": "0s"}
    # Without XA: a transaction that is prepared at the moment would fail an attempt for another reason.
    with (
        FerryUnderLoad(pair, schema, folder, odd=ODD, cutover=cutover) as under_load,
        under_load.writers().plain as writers,
    ):
        under_load.ferry.start()
        with under_load.held_in_acquire() as blocker:
            status = failed_attempt(under_load.ferry, "SourceLockTimeout")
            print(status["message"])
            assert status["stage"] in STREAMING
            # MariaDB shows who holds LOCK TABLES only with its METADATA_LOCK_INFO plugin.
            named = (
                f"connection {under_load.id_of(blocker)} " if pair.family is Family.MYSQL else "LOCK TABLES ... WRITE"
            )
            assert named in condition(status, "CutOver")["message"]
            assert not any(under_load.read_only())
            status = under_load.ferry.wait_status(
                lambda now: condition(now, "CutOver")["reason"] == "AttemptsExhausted"
            )
            assert status["cutover"]["attempts"] == 2
            writers.wait_for(20)
        under_load.finish()


@pytest.mark.parametrize("how", ["automatic", "approved"])
def test_an_exhausted_series_of_attempts_stays_exhausted_after_a_restart(
    pair: Pair, schema: str, folder: Path, how: str
) -> None:
    wanted: dict[str, Any] = {"mode": "Automatic"} if how == "automatic" else {"approved": True}
    cutover = {"deadline": "15s", "maxAttempts": 1, "watchFor": "0s"} | wanted
    with FerryUnderLoad(pair, schema, folder, odd=ODD, cutover=cutover) as under_load:
        blocker = under_load.connect(pair.source)
        blocker.cursor().execute(f"LOCK TABLES `{schema}`.`{ASIDE}` WRITE")
        before = under_load.ferry.start().wait_status(exhausted)["cutover"]
        assert (before["attempts"], before["lastResult"]) == (1, "SourceLockTimeout")
        under_load.ferry.kill()
        blocker.close()
        after = under_load.ferry.start().wait_status(exhausted)
        assert after["cutover"] == before
        under_load.ferry.wait_status(lambda status: condition(status, "Stalled")["reason"] == "AttemptsExhausted")
        assert under_load.state()["series"]["attempts"] == 1
        assert not any(under_load.read_only())
        under_load.ferry.post("cutover")
        under_load.finish(approve=False)


def test_an_attempt_that_cannot_be_recorded_stops_no_writes(pair: Pair, schema: str, folder: Path) -> None:
    """A successor would not know of it, and would make more attempts than allowed."""
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as under_load, under_load.writers() as writers:
        under_load.ferry.start().wait_stage("ReadyForCutover")
        with contextlib.closing(sqlite3.connect(under_load.ferry.state, isolation_level=None)) as somebody:
            somebody.execute("BEGIN EXCLUSIVE")
            under_load.ferry.post("cutover")
            status = failed_attempt(under_load.ferry, "CheckpointNotWritten")
            assert "allowed again" not in status["message"]
            assert status["cutover"]["writesBlockedMilliseconds"] == 0
            assert not any(under_load.read_only())
            somebody.execute("ROLLBACK")
        under_load.finish(writers=writers, approve=False)


def test_a_drain_past_its_deadline_unlocks_and_names_open_transactions(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD, cutover={"deadline": "15s"}) as under_load:
        under_load.ferry.start().wait_stage("ReadyForCutover")
        idle = under_load.connect(pair.source, autocommit=False)
        idle.cursor().execute(f"DELETE FROM `{schema}`.`{under_load.tables[0].name}` LIMIT 1")
        with under_load.held_in_drain():
            status = failed_attempt(under_load.ferry, "DeadlineExceeded")
            assert not any(under_load.read_only())
            # Meanwhile a row write of ours that waits for its row holds the lease row.
            assert status["cutover"]["writesBlockedMilliseconds"] < 40_000
            assert f"connection {under_load.id_of(idle)} " in condition(status, "CutOver")["message"]
            print(condition(status, "CutOver")["message"])
        idle.close()
        under_load.finish(approve=False)


def test_a_prepared_transaction_fails_the_attempt_which_names_its_xid(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as under_load:
        under_load.ferry.start().wait_stage("ReadyForCutover")
        xa = under_load.connect(pair.source).cursor()
        xa.execute("XA START 'stray', 'b', 7")
        xa.execute(f"UPDATE `{schema}`.aim SET v = 99 WHERE id = 2")
        xa.execute("XA END 'stray', 'b', 7")
        xa.execute("XA PREPARE 'stray', 'b', 7")
        under_load.ferry.post("cutover")
        status = failed_attempt(under_load.ferry, "XaPrepared")
        assert f"7,{b'stray'.hex()},{b'b'.hex()}" in condition(status, "CutOver")["message"]
        assert not any(under_load.read_only())
        xa.execute("XA COMMIT 'stray', 'b', 7")
        under_load.finish(approve=False)


def test_a_pause_during_an_attempt_takes_effect_only_if_it_fails(pair: Pair, schema: str, folder: Path) -> None:
    """If it took effect at once, the source would stay read-only until the deadline while nothing moves."""
    with FerryUnderLoad(pair, schema, folder, odd=ODD, cutover={"maxAttempts": 1}) as under_load:
        under_load.ferry.start().wait_stage("ReadyForCutover")
        with under_load.held_in_drain():
            under_load.ferry.post("pause")
            pair.source.execute("SET GLOBAL read_only = OFF")
        failed_attempt(under_load.ferry, "SourceUnlocked")
        under_load.ferry.wait_status(lambda status: status["phase"] == "Paused")
        assert not any(under_load.read_only())
        under_load.ferry.post("resume")
        with under_load.held_in_drain():
            under_load.ferry.post("pause")
        under_load.ferry.succeed()
        assert under_load.phase() == "Completed"
        under_load.equal()


def test_an_open_xa_transaction_fails_the_attempt_and_loses_no_row(mysql_pair: Pair, schema: str, folder: Path) -> None:
    """MySQL's super_read_only would let it be prepared and committed after the cutover."""
    with FerryUnderLoad(mysql_pair, schema, folder, odd=ODD) as under_load:
        under_load.ferry.start().wait_stage("ReadyForCutover")
        link = under_load.connect(mysql_pair.source)
        xa = link.cursor()
        xa.execute("XA START 'open'")
        xa.execute(f"UPDATE `{schema}`.aim SET v = 99 WHERE id = 2")
        under_load.ferry.post("cutover")
        status = failed_attempt(under_load.ferry, "XaOpen")
        assert f"connection {under_load.id_of(link)} " in condition(status, "CutOver")["message"]
        assert not any(under_load.read_only())
        xa.execute("XA END 'open'")
        xa.execute("XA PREPARE 'open'")
        xa.execute("XA COMMIT 'open'")
        under_load.finish(approve=False)


def test_a_change_after_the_lock_fails_the_attempt(mariadb_pair: Pair, schema: str, folder: Path) -> None:
    """Written by an account with READ ONLY ADMIN. MySQL's super_read_only lets only XA transactions through: see
    above.
    """
    with FerryUnderLoad(mariadb_pair, schema, folder, odd=ODD, cutover={"deadline": "60s"}) as under_load:
        under_load.ferry.start().wait_stage("ReadyForCutover")
        late = under_load.connect(mariadb_pair.source).cursor()
        first, second = (f"DELETE FROM `{schema}`.`{table.name}` LIMIT 1" for table in under_load.tables[:2])
        with under_load.held_in_drain():
            late.execute(first)
            # Noticed during the drain: the final position is known, and the next change is after it.
            under_load.ferry.wait_status(lambda status: status["replication"]["pendingKeys"] >= 2)
            late.execute(second)
        status = failed_attempt(under_load.ferry, "SourceStillWritten")
        print(condition(status, "CutOver")["message"])
        under_load.finish(approve=False)


def test_a_lock_that_somebody_removes_fails_the_attempt(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD, cutover={"deadline": "60s"}) as under_load:
        under_load.ferry.start()
        with under_load.held_in_drain():
            pair.source.execute("SET GLOBAL read_only = OFF")
        failed_attempt(under_load.ferry, "SourceUnlocked")
        under_load.finish(approve=False)
        assert under_load.locked


# -- the last step -----------------------------------------------------------------------------------------------------


def test_a_target_lost_before_the_record_commits_means_no_cutover(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as under_load:
        under_load.hold_record()
        assert under_load.locked
        under_load.proxy.cut_clients()
        failed_attempt(under_load.ferry, "TargetLost")
        assert under_load.phase() == "Streaming"
        assert not any(under_load.read_only())
        under_load.finish(approve=False)


def test_a_record_whose_answer_is_lost_counts_once_it_is_found(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as under_load:
        under_load.hold_commit()
        under_load.proxy.refuse()  # otherwise the run could end the recording's connection before its COMMIT is read
        under_load.proxy.cut_clients()
        under_load.proxy.release()
        wait_until(lambda: under_load.phase() == "Completed", "the record lands")
        under_load.proxy.accept()
        under_load.ferry.succeed()
        under_load.equal()
        assert under_load.locked
        assert "recording the cutover" in under_load.ferry.tail()


def test_a_record_that_commits_after_the_copiers_death_counts(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as under_load:
        under_load.hold_commit()
        # if it were running it would end the recording's connection, to be certain that nothing commits
        with under_load.ferry.frozen():
            under_load.proxy.cut_clients()
            under_load.ferry.kill()
        under_load.proxy.release()
        wait_until(lambda: under_load.phase() == "Completed", "the record lands")
        assert under_load.locked
        assert under_load.ferry.start().wait_end() == 0
        assert "cut over already" in under_load.ferry.tail()
        assert under_load.locked
        under_load.equal()


def test_nobody_unlocks_while_the_outcome_of_the_cutover_is_unknown(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD, cutover={"deadline": "60s"}) as under_load:
        under_load.hold_commit()
        under_load.proxy.refuse()
        under_load.proxy.cut_clients()
        status = under_load.ferry.wait_status(lambda now: condition(now, "CutOver")["reason"] == "OwnershipAmbiguous")
        assert "SET GLOBAL read_only = OFF" in status["message"]
        assert "phase Completed" in condition(status, "CutOver")["message"]
        assert under_load.ferry.wait_end() == 65
        assert "OwnershipAmbiguous" in under_load.ferry.tail()
        assert under_load.locked
        # And a start that cannot reach the target tells people what to do.
        assert under_load.ferry.start().wait_end() == 75
        assert "SET GLOBAL read_only = OFF" in under_load.ferry.tail()
        assert under_load.locked
        under_load.proxy.accept()
        under_load.ferry.start()
        under_load.finish()


# -- afterwards --------------------------------------------------------------------------------------------------------


def test_a_finished_run_leaves_a_tombstone(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as under_load, under_load.writers() as writers:
        under_load.ferry.start()
        under_load.finish(writers=writers)
        assert (under_load.phase(), under_load.locked) == ("Completed", True)
        pair.source.execute("SET GLOBAL read_only = OFF")  # with the owner's privileges, for the tests below
        pair.target.execute(f"INSERT INTO `{schema}`.aim VALUES (3, 3)")
        assert under_load.ferry.start().wait_end() == 0
        assert "cut over already" in under_load.ferry.tail()
        fresh = under_load.another("fresh")
        assert fresh.start().wait_end() == 64
        assert "AlreadyCutOver" in fresh.tail()
        assert under_load.ferry.command("abort").code == 64
        assert under_load.phase() == "Completed"
        assert under_load.target_rows("aim") == 3


def test_writes_after_the_cutover_are_reported(pair: Pair, schema: str, folder: Path) -> None:
    """Including a write between the last check and the record of the cutover."""
    cutover = {"sourceLock": "None", "watchFor": "20s"}
    with FerryUnderLoad(pair, schema, folder, odd=ODD, cutover=cutover) as under_load:
        under_load.hold_record()
        pair.source.execute(f"UPDATE `{schema}`.aim SET v = 1000 WHERE id = 1")
        under_load.proxy.release()
        assert under_load.ferry.wait_end() == 65
        assert "SourceWrittenAfterCutover: a person is needed: " in under_load.ferry.tail()
        assert under_load.phase() == "Completed"


def test_a_schema_change_after_the_cutover_is_reported(pair: Pair, schema: str, folder: Path) -> None:
    cutover = {"sourceLock": "None", "watchFor": "20s"}
    with FerryUnderLoad(pair, schema, folder, odd=ODD, cutover=cutover) as under_load:
        under_load.approve().wait_stage("Completed")
        pair.source.execute(f"TRUNCATE TABLE `{schema}`.aim")
        assert under_load.ferry.wait_end() == 65
        assert under_load.phase() == "Completed"
