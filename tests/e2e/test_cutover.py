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
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ODD = 3
STREAMING = ("Streaming", "ReadyForCutover")


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    return tmp_path


def hold_commit(live: FerryUnderLoad) -> None:
    """Like ``hold_record``, but holds the COMMIT: once it is sent only the target knows the outcome."""
    live.hold_record()
    live.proxy.release(then=b"COMMIT")
    live.proxy.wait_held()


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
def test_the_next_start_unlocks_what_a_killed_run_has_locked(
    pair: Pair, schema: str, folder: Path, held: Any, said: str
) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as live, live.crew() as crew:
        writable = live.read_only()
        live.ferry.start()
        with held(live):
            status = live.ferry.wait_status(lambda status: said in status["message"])
            cut_over = condition(status, "CutOver")
            assert (cut_over["status"], cut_over["reason"]) == ("False", "InProgress")
            assert cut_over["message"] == "attempt 1 is running"
            live.ferry.kill()
            phase, _, stored = live.lease()
            print(f"killed in {phase}, source {live.read_only()}, stored {stored}, {crew.total} writes")
            assert phase == "CuttingOver"
        live.ferry.start().wait_stage("Copying", *STREAMING)
        assert live.read_only() == writable == (0,) * len(writable)
        crew.plain.wait_for(20)
        live.finish(crew=crew)
        assert live.locked


def test_the_next_start_restores_a_read_only_that_was_on_before(mysql_pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(mysql_pair, schema, folder, odd=ODD, cutover={"watchFor": "0s"}) as live:
        live.ferry.start().wait_stage("ReadyForCutover")
        mysql_pair.source.execute("SET GLOBAL read_only = ON")
        assert live.read_only() == (1, 0)
        with live.held_in_drain():
            assert live.read_only() == (1, 1)
            live.ferry.kill()
        # Restored exactly; and no start accepts a source that somebody else has made read-only.
        assert live.ferry.start().wait_end() == 64
        assert "SourceReadOnly" in live.ferry.tail()
        assert live.read_only() == (1, 0)
        mysql_pair.source.execute("SET GLOBAL read_only = OFF")
        live.ferry.start()
        live.finish()


def test_abort_without_a_copier_unlocks(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as live:
        live.ferry.start()
        with live.held_in_drain():
            live.ferry.kill()
        assert live.locked
        done = live.ferry.command("abort")
        assert (done.code, "allowed again" in done.stdout) == (0, True)
        assert not any(live.read_only())
        assert live.phase() == "Aborted"
        assert live.ferry.start().wait_end() == 64
        assert "Aborted: target" in live.ferry.tail()


def test_a_start_that_cannot_go_on_still_unlocks(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as live:
        live.ferry.start()
        with live.held_in_drain():
            live.ferry.kill()
        pair.target.execute(f"CREATE TRIGGER `{schema}`.t BEFORE INSERT ON `{schema}`.aim FOR EACH ROW SET NEW.v = 1")
        assert live.ferry.start().wait_end() == 64
        assert "TargetTriggers" in live.ferry.tail()
        assert not any(live.read_only())


def test_a_start_that_is_paused_still_unlocks(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as live:
        live.ferry.start()
        with live.held_in_drain():
            live.ferry.kill()
        paused = live.another("paused", paused=True)
        paused.arguments = live.ferry.arguments
        with paused:
            status = paused.start().wait_stage("CuttingOver", *STREAMING)
            assert (status["stage"], status["phase"]) == ("Streaming", "Paused")
            wait_until(lambda: not any(live.read_only()), "the source is writable")
            paused.post("resume")
            live.finish(paused)


# -- attempts that fail ------------------------------------------------------------------------------------------------


def test_a_blocked_lock_names_the_blocker_and_attempts_run_out(pair: Pair, schema: str, folder: Path) -> None:
    cutover = {"deadline": "1s", "maxAttempts": 2, "watchFor": "0s"}
    with FerryUnderLoad(pair, schema, folder, odd=ODD, cutover=cutover) as live, live.crew() as crew:
        live.ferry.start()
        with live.held_in_acquire() as blocker:
            status = failed_attempt(live.ferry, "SourceLockTimeout")
            print(status["message"])
            assert status["stage"] in STREAMING
            # MariaDB shows who holds LOCK TABLES only with its METADATA_LOCK_INFO plugin.
            named = f"connection {live.id_of(blocker)} " if pair.family is Family.MYSQL else "LOCK TABLES ... WRITE"
            message = condition(status, "CutOver")["message"]
            assert named in message or (pair.family is Family.MARIADB and "prepared XA transaction" in message)
            assert not any(live.read_only())
            status = live.ferry.wait_status(lambda now: condition(now, "CutOver")["reason"] == "AttemptsExhausted")
            assert status["cutover"]["attempts"] == 2
            crew.plain.wait_for(20)
        live.finish(crew=crew)


@pytest.mark.parametrize("how", ["automatic", "approved"])
def test_a_series_that_ran_out_stays_so_over_a_restart(pair: Pair, schema: str, folder: Path, how: str) -> None:
    wanted: dict[str, Any] = {"mode": "Automatic"} if how == "automatic" else {"approved": True}
    cutover = {"deadline": "1s", "maxAttempts": 1, "watchFor": "0s"} | wanted
    with FerryUnderLoad(pair, schema, folder, odd=ODD, cutover=cutover) as live:
        blocker = live.connect(pair.source)
        blocker.cursor().execute(f"LOCK TABLES `{schema}`.`{ASIDE}` WRITE")
        before = live.ferry.start().wait_status(exhausted)["cutover"]
        assert (before["attempts"], before["lastResult"]) == (1, "SourceLockTimeout")
        live.ferry.kill()
        blocker.close()
        after = live.ferry.start().wait_status(exhausted)
        assert after["cutover"] == before
        live.ferry.wait_status(lambda status: condition(status, "Stalled")["reason"] == "AttemptsExhausted")
        assert live.state()["series"]["attempts"] == 1
        assert not any(live.read_only())
        live.ferry.post("cutover")
        live.finish(approve=False)


def test_an_attempt_that_cannot_be_written_down_stops_no_writes(pair: Pair, schema: str, folder: Path) -> None:
    """A successor would not know of it, and would make more attempts than allowed."""
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as live, live.crew() as crew:
        live.ferry.start().wait_stage("ReadyForCutover")
        with contextlib.closing(sqlite3.connect(live.ferry.state, isolation_level=None)) as somebody:
            somebody.execute("BEGIN EXCLUSIVE")
            live.ferry.post("cutover")
            status = failed_attempt(live.ferry, "CheckpointNotWritten")
            assert "allowed again" not in status["message"]
            assert status["cutover"]["writesBlockedMilliseconds"] == 0
            assert not any(live.read_only())
            somebody.execute("ROLLBACK")
        live.finish(crew=crew, approve=False)


def test_a_drain_past_its_deadline_unlocks_and_names_open_transactions(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD, cutover={"deadline": "15s"}) as live:
        live.ferry.start().wait_stage("ReadyForCutover")
        idle = live.connect(pair.source, autocommit=False)
        idle.cursor().execute(f"DELETE FROM `{schema}`.`{live.tables[0].name}` LIMIT 1")
        with live.held_in_drain():
            status = failed_attempt(live.ferry, "DeadlineExceeded")
            assert not any(live.read_only())
            # Meanwhile a row write of ours that waits for its row holds the lease row.
            assert status["cutover"]["writesBlockedMilliseconds"] < 40_000
            assert f"connection {live.id_of(idle)} " in condition(status, "CutOver")["message"]
            print(condition(status, "CutOver")["message"])
        idle.close()
        live.finish(approve=False)


def test_a_prepared_transaction_refuses_the_attempt_by_its_xid(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as live:
        live.ferry.start().wait_stage("ReadyForCutover")
        xa = live.connect(pair.source).cursor()
        xa.execute("XA START 'stray', 'b', 7")
        xa.execute(f"UPDATE `{schema}`.aim SET v = 99 WHERE id = 2")
        xa.execute("XA END 'stray', 'b', 7")
        xa.execute("XA PREPARE 'stray', 'b', 7")
        live.ferry.post("cutover")
        status = failed_attempt(live.ferry, "XaPrepared")
        assert f"7,{b'stray'.hex()},{b'b'.hex()}" in condition(status, "CutOver")["message"]
        assert not any(live.read_only())
        xa.execute("XA COMMIT 'stray', 'b', 7")
        live.finish(approve=False)


def test_a_pause_during_an_attempt_takes_effect_only_if_it_fails(pair: Pair, schema: str, folder: Path) -> None:
    """If it took effect at once, the source would stay read-only until the deadline while nothing moves."""
    with FerryUnderLoad(pair, schema, folder, odd=ODD, cutover={"maxAttempts": 1}) as live:
        live.ferry.start().wait_stage("ReadyForCutover")
        with live.held_in_drain():
            live.ferry.post("pause")
            pair.source.execute("SET GLOBAL read_only = OFF")
        failed_attempt(live.ferry, "SourceUnlocked")
        live.ferry.wait_status(lambda status: status["phase"] == "Paused")
        assert not any(live.read_only())
        live.ferry.post("resume")
        with live.held_in_drain():
            live.ferry.post("pause")
        live.ferry.succeed()
        assert live.phase() == "Completed"
        live.equal()


def test_an_open_xa_transaction_refuses_the_attempt_and_loses_no_row(
    mysql_pair: Pair, schema: str, folder: Path
) -> None:
    """MySQL's super_read_only would let it be prepared and committed after the cutover."""
    with FerryUnderLoad(mysql_pair, schema, folder, odd=ODD) as live:
        live.ferry.start().wait_stage("ReadyForCutover")
        link = live.connect(mysql_pair.source)
        xa = link.cursor()
        xa.execute("XA START 'open'")
        xa.execute(f"UPDATE `{schema}`.aim SET v = 99 WHERE id = 2")
        live.ferry.post("cutover")
        status = failed_attempt(live.ferry, "XaOpen")
        assert f"connection {live.id_of(link)} " in condition(status, "CutOver")["message"]
        assert not any(live.read_only())
        xa.execute("XA END 'open'")
        xa.execute("XA PREPARE 'open'")
        xa.execute("XA COMMIT 'open'")
        live.finish(approve=False)


def test_a_change_that_slips_in_after_the_lock_fails_the_attempt(mariadb_pair: Pair, schema: str, folder: Path) -> None:
    """Written by an account with READ ONLY ADMIN. MySQL's super_read_only lets only XA transactions through: see
    above.
    """
    with FerryUnderLoad(mariadb_pair, schema, folder, odd=ODD, cutover={"deadline": "60s"}) as live:
        live.ferry.start().wait_stage("ReadyForCutover")
        late = live.connect(mariadb_pair.source).cursor()
        first, second = (f"DELETE FROM `{schema}`.`{table.name}` LIMIT 1" for table in live.tables[:2])
        with live.held_in_drain():
            late.execute(first)
            # Noticed during the drain: the final position is known, and the next change is after it.
            live.ferry.wait_status(lambda status: status["replication"]["pendingKeys"] >= 2)
            late.execute(second)
        status = failed_attempt(live.ferry, "SourceStillWritten")
        print(condition(status, "CutOver")["message"])
        live.finish(approve=False)


def test_a_lock_that_somebody_takes_away_fails_the_attempt(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD, cutover={"deadline": "60s"}) as live:
        live.ferry.start()
        with live.held_in_drain():
            pair.source.execute("SET GLOBAL read_only = OFF")
        failed_attempt(live.ferry, "SourceUnlocked")
        live.finish(approve=False)
        assert live.locked


# -- the last step -----------------------------------------------------------------------------------------------------


def test_a_target_lost_before_the_record_lands_settles_as_not_done(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as live:
        live.hold_record()
        assert live.locked
        live.proxy.cut_clients()
        failed_attempt(live.ferry, "TargetLost")
        assert live.phase() == "Streaming"
        assert not any(live.read_only())
        live.finish(approve=False)


def test_a_record_whose_answer_is_lost_settles_as_done(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as live:
        hold_commit(live)
        live.proxy.refuse()  # otherwise the run could end the recording's connection before its COMMIT is read
        live.proxy.cut_clients()
        live.proxy.release()
        wait_until(lambda: live.phase() == "Completed", "the record lands")
        live.proxy.accept()
        live.ferry.succeed()
        live.equal()
        assert live.locked
        assert "recording the cutover" in live.ferry.tail()


def test_a_record_that_lands_after_the_copiers_death_counts(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as live:
        hold_commit(live)
        # if it were running it would end the recording's connection, to be certain that nothing commits
        with live.ferry.frozen():
            live.proxy.cut_clients()
            live.ferry.kill()
        live.proxy.release()
        wait_until(lambda: live.phase() == "Completed", "the record lands")
        assert live.locked
        assert live.ferry.start().wait_end() == 0
        assert "cut over already" in live.ferry.tail()
        assert live.locked
        live.equal()


def test_nobody_unlocks_while_it_is_unknown_whether_the_target_was_handed_over(
    pair: Pair, schema: str, folder: Path
) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD, cutover={"deadline": "60s"}) as live:
        hold_commit(live)
        live.proxy.refuse()
        live.proxy.cut_clients()
        status = live.ferry.wait_status(lambda now: condition(now, "CutOver")["reason"] == "OwnershipAmbiguous")
        assert "SET GLOBAL read_only = OFF" in status["message"]
        assert "phase Completed" in condition(status, "CutOver")["message"]
        assert live.ferry.wait_end(120) == 65
        assert "OwnershipAmbiguous" in live.ferry.tail()
        assert live.locked
        # And a start that cannot reach the target tells people what to do.
        assert live.ferry.start().wait_end() == 75
        assert "SET GLOBAL read_only = OFF" in live.ferry.tail()
        assert live.locked
        live.proxy.accept()
        live.ferry.start()
        live.finish()


# -- afterwards --------------------------------------------------------------------------------------------------------


def test_a_finished_run_leaves_a_tombstone(pair: Pair, schema: str, folder: Path) -> None:
    with FerryUnderLoad(pair, schema, folder, odd=ODD) as live, live.crew() as crew:
        live.ferry.start()
        live.finish(crew=crew)
        assert (live.phase(), live.locked) == ("Completed", True)
        pair.source.execute("SET GLOBAL read_only = OFF")  # with the owner's privileges, for the tests below
        pair.target.execute(f"INSERT INTO `{schema}`.aim VALUES (3, 3)")
        assert live.ferry.start().wait_end() == 0
        assert "cut over already" in live.ferry.tail()
        fresh = live.another("fresh")
        assert fresh.start().wait_end() == 64
        assert "AlreadyCutOver" in fresh.tail()
        assert live.ferry.command("abort").code == 64
        assert live.phase() == "Completed"
        assert live.target_rows("aim") == 3


def test_writes_after_the_cutover_are_reported(pair: Pair, schema: str, folder: Path) -> None:
    """Including a write between the last check and the record of the cutover."""
    cutover = {"sourceLock": "None", "watchFor": "3s"}
    with FerryUnderLoad(pair, schema, folder, odd=ODD, cutover=cutover) as live:
        live.hold_record()
        pair.source.execute(f"UPDATE `{schema}`.aim SET v = 1000 WHERE id = 1")
        live.proxy.release()
        assert live.ferry.wait_end() == 65
        assert "Stalled is True: SourceWrittenAfterCutover" in live.ferry.tail()
        assert live.phase() == "Completed"


def test_a_schema_change_after_the_cutover_is_reported(pair: Pair, schema: str, folder: Path) -> None:
    cutover = {"sourceLock": "None", "watchFor": "20s"}
    with FerryUnderLoad(pair, schema, folder, odd=ODD, cutover=cutover) as live:
        live.approve().wait_stage("Completed")
        pair.source.execute(f"TRUNCATE TABLE `{schema}`.aim")
        assert live.ferry.wait_end(60) == 65
        assert live.phase() == "Completed"
