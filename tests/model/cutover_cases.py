"""What is explored of the cutover model: with every rule, and without one each."""

from dataclasses import dataclass

from tests.model.cutover_state import CutoverConfig

ONE = CutoverConfig()
TWO = CutoverConfig(ferries=2)

SAFE = {
    "one kill, target away": ONE.but(kills=1, target_away=1),
    "two kills": ONE.but(kills=2),
    "a second run, target away": ONE.but(second_runs=1, target_away=1),
    "a second run, the mutex is lost": ONE.but(second_runs=1, mutex_lost=1),
    "the source restarts": ONE.but(source_restarts=1, kills=1),
    "the target loses a commit": ONE.but(target_loses=1, kills=1),
    "a person sets read_only": ONE.but(persons=1, kills=1),
    "a second run, the mutex is silent": ONE.but(second_runs=1, mutex_silent=True),
    "the mutex is silent, then lost; target away": ONE.but(mutex_lost=1, target_away=1, mutex_silent=True),
    "two Ferries": TWO,
    "two Ferries, one kill": TWO.but(kills=1, runs=2),
}
"""Explored completely by ``make test``."""

BIG = {
    "two kills, target away, 2 attempts": ONE.but(kills=2, target_away=1, attempts=2),
    "a kill, a second run, target away": ONE.but(kills=1, second_runs=1, target_away=1),
    "a second run, restarts of both servers": ONE.but(second_runs=1, source_restarts=1, target_loses=1, writes=2),
    "two Ferries, two kills": TWO.but(kills=2),
    "two Ferries, a second run": TWO.but(second_runs=1, runs=2),
    "two Ferries, the mutex is lost": TWO.but(mutex_lost=1, runs=2),
    "two Ferries, one kill, 2 attempts": TWO.but(kills=1, attempts=2),
    "two Ferries, the mutex is silent, then lost": TWO.but(mutex_lost=1, runs=2, mutex_silent=True),
}
"""Explored by ``make model``."""

NOT_DETECTED = {
    "two Ferries with one account, whose attempts overlap": TWO.but(kills=1, evidence_exact=False),
}
"""What docs/correctness.md names as not detected: the explorer must find it."""


@dataclass(frozen=True)
class CutoverMutant:
    config: CutoverConfig
    kept_by: str
    forced_by: str


_CUTOVER = "ferry_core/cutover"
MUTANTS = {
    "no mutex": CutoverMutant(TWO.but(mutex=False), "cutover/mutex.py", f"{_CUTOVER}/test_source_lock.py"),
    "to unlock, the target is asked": CutoverMutant(
        ONE.but(target_away=1, unlock_without_target=False), "cutover/unlocking.py", f"{_CUTOVER}/test_write_block.py"
    ),
    "unlocked over another session than the mutex's": CutoverMutant(
        ONE.but(second_runs=1, unlock_by_mutex=False), "cutover/source_lock.py", f"{_CUTOVER}/test_source_lock.py"
    ),
    "a second session that unlocks is not found by others": CutoverMutant(
        ONE.but(second_runs=1, mutex_silent=True, enrol_before_look=False),
        "cutover/stand_in.py",
        f"{_CUTOVER}/test_write_block.py",
    ),
    "a superseded run unlocks by the lease": CutoverMutant(
        ONE.but(second_runs=1, fenced_undo=False), "cutover/unlocking.py", f"{_CUTOVER}/test_write_block.py"
    ),
    "given up after the COMMIT was sent": CutoverMutant(
        ONE.but(give_up_excludes_record=False), "cutover/recording.py", f"{_CUTOVER}/test_write_block.py"
    ),
    "locked before the lease says CuttingOver": CutoverMutant(
        ONE.but(kills=1, intent_first=False), "cutover/attempt.py", f"{_CUTOVER}/test_attempt.py"
    ),
    "statements of a dead run are not ended": CutoverMutant(
        ONE.but(kills=1, kill_leftovers=False), "cutover/source_lock.py", f"{_CUTOVER}/test_source_lock.py"
    ),
    "epoch and mutex are checked before the session can be found": CutoverMutant(
        ONE.but(second_runs=1, enrol_before_confirm=False),
        "cutover/source_lock.py",
        f"{_CUTOVER}/test_source_lock.py",
    ),
    "an attempt begins on a read-only source": CutoverMutant(
        TWO.but(kills=1, refuse_read_only=False), "cutover/source_lock.py", f"{_CUTOVER}/test_source_lock.py"
    ),
    "whatever is read-only is restored": CutoverMutant(
        ONE.but(kills=1, persons=1, evidence=False), "cutover/evidence.py", f"{_CUTOVER}/test_source_lock.py"
    ),
    "an attempt begins beside a lock statement of another Ferry": CutoverMutant(
        TWO.but(kills=1, runs=2, one_statement=False), "cutover/mutex.py", f"{_CUTOVER}/test_lock_statement.py"
    ),
    "the lock is not looked at before the record": CutoverMutant(
        ONE.but(source_restarts=1, last_look=False, late_look=False),
        "cutover/attempt.py",
        f"{_CUTOVER}/test_attempt.py",
    ),
    "recorded without the fence": CutoverMutant(
        ONE.but(second_runs=1, fenced_record=False, last_look=False),
        "consistency/fence.py",
        f"{_CUTOVER}/test_attempt.py",
    ),
    "the record is not flushed": CutoverMutant(
        ONE.but(target_loses=1, flush=False), "cutover/durable.py", f"{_CUTOVER}/test_durable.py"
    ),
    "a record that is found is not flushed": CutoverMutant(
        ONE.but(kills=1, target_loses=1, flush_found=False), "run/startup.py", "e2e/test_target_loses.py"
    ),
}
