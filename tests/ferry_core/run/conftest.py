"""A coordinator without servers: operations, checkpoints and startup are simulated, and so is time."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import pytest

from ferry_core.api.directive import Directive
from ferry_core.api.report import Stage
from ferry_core.api.spec import Ferry
from ferry_core.checkpoint.state import ObjectsState, RunState, SeriesState, TableState
from ferry_core.cutover.outcome import AttemptOutcome
from ferry_core.errors import DataError, ExitCode, FerryError, KeyUnusable
from ferry_core.intent.desired_state import DesiredState
from ferry_core.intent.intent import Intent
from ferry_core.moves.move import TableMove
from ferry_core.reasons import Condition, Reason
from ferry_core.report.status_reporter import StatusReporter
from ferry_core.run import decisions
from ferry_core.run.attempts import AttemptSeries, CaughtUp
from ferry_core.run.coordinator import Coordinator
from ferry_core.run.late_writes import WatchedEnd
from ferry_core.run.operations import WaitUntil
from ferry_core.run.restart_policy import RestartPolicy
from ferry_core.run.started import Started
from ferry_core.throttle import Throttle
from tests.support.manifests import ferry_data
from tests.support.tables import move_of

DONE = AttemptOutcome(Reason.DONE, "writes may move to the target", 12, changes=5)
LATE = AttemptOutcome(Reason.DEADLINE_EXCEEDED, "too slow", 10_000)
MOST_SECONDS = 5000.0


class FakeIntent(Intent):
    """Waiting takes no time: it advances the clock and triggers what the test has planned for this phase."""

    def __init__(self, directive: Directive, run: "FakeRun") -> None:
        super().__init__(directive)
        self._run = run

    def wait_changed(self, timeout: float) -> None:
        self._run.pass_time(timeout)


class FakeEnd(WatchedEnd):
    """Passed once the run no longer lags."""

    def __init__(self, run: "FakeRun") -> None:
        self._run = run

    def passed(self) -> bool:
        self._run.behind -= 1
        return self._run.behind < 0

    @property
    def given_up(self) -> bool:
        return self._run.silent

    @property
    def unseen(self) -> str:
        return "not read to the end"


class FakeOperations:
    """Records calls. ``chunks`` of the run is the number of ticks that the copy takes."""

    blocked_milliseconds = 42

    def __init__(self, run: "FakeRun") -> None:
        self._run = run
        self.calls: list[str] = []
        self.proven = True
        self.slow_seconds = 0.0
        """What tables without a key would take under the lock."""
        self.changes = 5
        self.closed = False
        self.lock_lost = False

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if error := self._run.failing.pop(name, None):
            raise error

    @property
    def all_copied(self) -> bool:
        return self._run.chunks <= 0

    def check(self) -> None:
        self._run.raise_planned()

    def pace(self, wanted: DesiredState) -> None:
        self._call(f"pace {wanted.workers}")

    def adapt(self) -> None:
        """Nothing is throttled."""

    def interrupt(self) -> None:
        self._call("interrupt")

    def empty_fresh_tables(self, started: frozenset[str], wait_while_paused: Callable[[], None]) -> Sequence[TableMove]:
        self._call("empty")
        wait_while_paused()
        return [move for move in [move_of()] if move.id not in started]

    def start_streaming(self) -> None:
        self._call("stream")

    def make_readable(self, wait_until: WaitUntil, tick: Callable[[], None]) -> None:
        self._call("make readable")
        wait_until(lambda: True)
        tick()

    def start_copying(self) -> None:
        self._call("copy")

    def start_alone(self, error: DataError, checkpoints: object, tick: Callable[[], None]) -> bool:
        del checkpoints
        self._call(f"start alone {', '.join(sorted(error.changed | error.appeared))}")
        tick()
        return self._run.alone

    def add_indexes(self) -> bool:
        self._run.builds -= self.all_copied
        return self._run.builds < 0

    def add_foreign_keys(self) -> bool:
        self._call("foreign keys")
        return True

    def start_verifying(self) -> None:
        self._call("verify")

    def too_slow(self, deadline: float) -> str:
        return f"takes {self.slow_seconds:g} s" if deadline < self.slow_seconds else ""

    def look_for_new_tables(self, *, if_due: bool = False, cut_over: bool = False) -> None:
        del cut_over
        if not if_due:
            self._call("new tables")

    def new_tables_known(self, *, after_ddl: bool = False) -> bool:
        if not after_ddl:
            self._call("new tables known")
        return True

    def definitions_read(self) -> bool:
        self._call("definitions")
        return self._run.definitions_read

    def attempt(self, number: int, wanted: DesiredState, check_cancelled: Callable[[], None]) -> AttemptOutcome:
        self._call(f"attempt {number} within {wanted.directive.cutover.deadline}")
        self._run.attempts_at.append(time.monotonic())
        for _ in range(3):
            self._run.pass_time(0.1)
            check_cancelled()
        return self._run.attempts.pop(0) if self._run.attempts else DONE

    def bring_objects(self, kept: ObjectsState, save: Callable[[], None]) -> None:
        del kept, save
        self._call("objects")

    def finish_objects(self, stopping: Callable[[], bool]) -> int:
        del stopping
        self._call("finish objects")
        return 0

    def stop_writing(self) -> None:
        self._call("stop writing")

    def keep_lock(self, seconds: float) -> None:
        self._call(f"keep lock {seconds:g}")

    def late_changes(self, since: int) -> int:
        return self.changes - since

    def late_rows(self) -> list[str]:
        return ["shop.t: 1 row (id=7)"]

    def stop_keeping_lock(self) -> list[str]:
        self.lock_lost = False
        self._call("stop keeping lock")
        return self._run.waiting_writers

    def watched_end(self) -> WatchedEnd:
        self._call("watched end")
        return FakeEnd(self._run)

    def depending_on(self, tables: Collection[str]) -> Collection[str]:
        return [*tables, "shop.child"]

    def record_aborted(self) -> None:
        self._call("record aborted")

    def stop(self) -> None:
        self._call("stop")

    def close(self) -> None:
        self.closed = True


class FakeCheckpoints:
    """``saved`` has the stage and the number of attempts of each checkpoint."""

    def __init__(self, run: "FakeRun") -> None:
        self._run = run
        self.state = run.state
        self.saved: list[tuple[str, int]] = []

    def save(self, started: Iterable[TableMove] = ()) -> None:
        for table in started:
            self.state.tables[table.id] = TableState(started=True)
        if error := self._run.failing.pop("save", None):
            raise error
        self.saved.append((self.state.stage, self.state.series.attempts))

    def save_if_due(self) -> None:
        """Never due."""

    def learns(self, error: BaseException) -> bool:
        if isinstance(error, KeyUnusable):
            self._run.without_key.append(error.table)
        return isinstance(error, KeyUnusable)

    def copy_again(self, tables: Collection[str]) -> None:
        self._run.copied_again += tables

    def save_now_if_possible(self) -> bool:
        if not self._run.stores:
            return False
        self.save()
        return True


class FakeStartup:
    """Counts the starts."""

    def __init__(self, run: "FakeRun") -> None:
        self._run = run
        self.has_run = False
        self.let_in = True
        self.starts = 0
        self.start_undone = False
        self.may_undo = False
        self.copies_again = False
        self.joining: frozenset[str] = frozenset()

    def undo_start(self, error: FerryError) -> None:
        assert error
        if self.may_undo:
            self.start_undone, self.has_run = True, False

    def start(self, series: AttemptSeries) -> Started | None:
        self.starts += 1
        self.start_undone = False
        self._run.happen()
        self._run.raise_planned()
        if self._run.cut_over_before:
            return None
        run = self._run
        run.operations, run.checkpoints = FakeOperations(run), FakeCheckpoints(run)
        series.adopt(run.state, again=self.has_run)
        self.has_run = True
        max_lag = run.intent.now.directive.cutover.max_lag
        return Started(run.operations, run.checkpoints, run.reached, True, CaughtUp(max_lag))


class FakeRun:
    """One simulated run and all that a test does to it. ``during[stage]`` happens at the first wait in that stage."""

    def __init__(self, clock: list[float], directive: Directive) -> None:
        self.clock = clock
        self.during: dict[Stage, Callable[[], object]] = {}
        self.planned: list[FerryError] = []
        """Raised one at a time by the checks of the threads."""
        self.failing: dict[str, FerryError] = {}
        """Raised once by the operation of that name."""
        self.without_key: list[str] = []
        """Tables whose key is given up."""
        self.copied_again: list[str] = []
        self.chunks = 3
        self.builds = 0
        """How often the coordinator finds deferred indexes that are still to be added."""
        self.reached = Stage.COPYING
        self.cut_over_before = False
        self.definitions_read = True
        self.alone = False
        """Whether tables can start while the run goes on."""
        self.stores = True
        self.lag: float | None = 0.1
        self.behind = 0
        """For how many ticks after the window of the watch its end is not read."""
        self.waiting_writers: list[str] = []
        """Statements that wait for the lock when the watch ends."""
        self.silent = False
        """Whether nothing arrives from the source any more."""
        self.attempts: list[AttemptOutcome] = []
        """Outcomes of attempts, in order. When it is empty, attempts succeed."""
        self.attempts_at: list[float] = []
        self.stages: list[Stage] = []
        self.seconds_in: dict[Stage, float] = defaultdict(float)
        self.paused_in: set[Stage] = set()
        self.state = RunState(ferry_uid="u", ferry_name="n", source_id="s", selection="", position="")
        self.intent = FakeIntent(directive, self)
        self.throttle = Throttle(paused_by=lambda: decisions.paused_by(self.reporter.stage, self.intent.now))
        self.reporter = StatusReporter(Ferry.model_validate(ferry_data()), self.throttle, self.intent)
        self.startup = FakeStartup(self)
        self.operations = FakeOperations(self)
        self.checkpoints = FakeCheckpoints(self)
        enter = self.reporter.enter

        def entered(stage: Stage) -> None:
            self.stages.append(stage)
            enter(stage)

        self.reporter.enter = entered  # type: ignore[method-assign]

    def run(self) -> ExitCode:
        return Coordinator(
            self.startup, self.intent, self.reporter, RestartPolicy(120), AttemptSeries(SeriesState())
        ).run()

    def pass_time(self, seconds: float) -> None:
        self.clock[0] += seconds
        assert self.clock[0] < MOST_SECONDS, f"it does not end: {self.stages[-5:]}"
        stage = self.reporter.stage
        self.seconds_in[stage] += seconds
        self.chunks -= not self.throttle.pause.paused
        if self.throttle.pause.paused:
            self.paused_in.add(stage)
        self.happen()

    def happen(self) -> None:
        """Trigger what is planned for this stage, once."""
        if action := self.during.pop(self.reporter.stage, None):
            action()

    def raise_planned(self) -> None:
        if self.planned:
            raise self.planned.pop(0)

    # -- what tests do --------------------------------------------------------------------------------------------

    def wish(self, change: Callable[[DesiredState], DesiredState]) -> Callable[[], object]:
        """An action for ``during``."""
        return lambda: self.intent.change(change)

    def pause(self) -> Callable[[], object]:
        """Pause for three seconds."""

        def paused() -> None:
            self.intent.change(lambda wanted: wanted.paused_or_resumed(True))
            end = self.clock[0] + 3
            happen = self.happen

            def resume() -> None:
                happen()
                if self.clock[0] >= end:
                    self.happen = happen  # type: ignore[method-assign]
                    self.intent.change(lambda wanted: wanted.paused_or_resumed(False))

            self.happen = resume  # type: ignore[method-assign]

        return paused

    def condition(self, kind: Condition) -> tuple[str, str]:
        entry = self.reporter.report().condition(kind)
        assert entry is not None
        return entry.status, entry.reason


MakeRun = Callable[..., FakeRun]


@pytest.fixture
def make_run(monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """Makes a run with these fields of spec.cutover; its clock begins at 1000 s."""
    clock = [1000.0]

    def make(**cutover: Any) -> FakeRun:
        return FakeRun(clock, Directive.model_validate({"generation": 1, "cutover": {"mode": "Automatic"} | cutover}))

    run: list[FakeRun] = []

    def made(**cutover: Any) -> FakeRun:
        run.append(make(**cutover))
        monkeypatch.setattr("ferry_core.run.coordinator.time.monotonic", lambda: clock[0])
        monkeypatch.setattr(StatusReporter, "lag", lambda _: run[-1].lag)
        return run[-1]

    return made


WAY = [
    Stage.VALIDATING,
    Stage.COPYING,
    Stage.STREAMING,
    Stage.READY_FOR_CUTOVER,
    Stage.CUTTING_OVER,
    Stage.COMPLETED,
]
MOVING = WAY[1:5]
"""Phases in which a stop, an abort or an error ends the run with an error."""
BEFORE_THE_ATTEMPT = WAY[1:4]
NULL = KeyUnusable(Reason.KEY_HAS_NULL, "a row has NULL", "shop.t")


def run_until(make_run: MakeRun, stage: Stage) -> FakeRun:
    """A run that waits in ``stage``, where nothing is approved before a test does so."""
    return make_run(mode="Manual" if stage is Stage.READY_FOR_CUTOVER else "Automatic")
