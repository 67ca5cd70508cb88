"""One round: a plan carried out on real servers, and judged by ``judge.py``."""

import contextlib
import random
import signal
import time
import urllib.error
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pymysql

from ferry_core.reasons import Reason
from tests.faults.scene import Clock, Scene
from tests.support.ferry_cli import FerryProcess
from tests.support.ferry_under_load import ASIDE
from tests.support.proxy import Proxy
from tests.support.schemas import create_odd_tables
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until
from tests.support.writers import Pace, Writers
from tests.torture import judge
from tests.torture.faults import (
    ALL,
    COPIED_AGAIN,
    HOLDS,
    MAY_LOSE_ROWS,
    Fault,
    people,
    settings_restored,
)
from tests.torture.forked import Forked
from tests.torture.keeper import Keeper
from tests.torture.orphans import Orphans
from tests.torture.plan import STAGES, Action, Plan

MayGoOn = Callable[[], bool]
_STAGE_SECONDS = 60.0
_HELD_SECONDS = 4.0
"""How long a round waits for the statement that is to be held back."""
_LEASE_TABLE = "SELECT 1 FROM information_schema.TABLES WHERE table_schema = 'mysql_ferry' AND table_name = 'lease'"


def always() -> bool:
    """As long as the plan says."""
    return True


class Round(Scene):
    """``run`` once. ``counters`` hold what really happened."""

    def __init__(
        self,
        plan: Plan,
        pair: Pair,
        schema: str,
        folder: Path,
        counters: Counter[str],
        may_go_on: MayGoOn = always,
    ) -> None:
        """No fault once it ``may_go_on`` no longer."""
        spec: dict[str, Any] = dict(plan.spec)
        rules = [{"match": f"{schema}.{shape.kind}", "where": shape.where} for shape in plan.tables if shape.where]
        tables = {"include": [f"{schema}.*"], "exclude": [f"{schema}.{ASIDE}*"], "rules": rules}
        super().__init__(pair, schema, folder, rows=plan.bulk, odd=0, tables=tables, **spec)
        self.plan = plan
        self.rng = random.Random(plan.seed)
        self.tail_lost = False
        self.counters = counters
        odd = [shape.table(plan.family) for shape in plan.tables]
        create_odd_tables(pair.source, schema, odd, seed=plan.seed)
        self.tables += odd
        self.front = Proxy(pair.source.host, pair.source.port)
        """Through which the application reaches the source."""
        server = pair.source
        served = Server(server.family, self.front.host, self.front.port, server.user, server.password)
        pace = Pace(plan.threads, plan.pause, stop_when_read_only=False, kinds=frozenset(plan.kinds))
        self.application = Writers(served, schema, self.tables, plan.seed, pace)
        self.clock = Clock(served, schema)
        self.ferry.options = list(plan.options)
        self.keeper = Keeper(self.ferry)
        self._may_go_on = may_go_on
        self._slow = "throttle" in plan.spec
        self._down = 0.0
        self._tried: list[Fault] = []

    # -- what faults use ------------------------------------------------------------------------------------------

    def let_go(self) -> None:
        """What a proxy holds back goes on its way."""
        self.proxy.release()
        self.source_proxy.release()

    def kill_copier(self, meanwhile: Callable[[], None] = lambda: None) -> bool:
        """False if it had ended already."""
        return self.keeper.kill(signal.SIGKILL, self._down, meanwhile)

    def end_copier(self) -> bool:
        return self.keeper.kill(signal.SIGTERM, self._down)

    def start_source(self) -> None:
        """After it was down. Writes are allowed again, whatever the run has locked: so people let the application in
        once no attempt of before is undecided, and not after the cutover.
        """
        approving = self.keeper.approving.is_set()
        if approving:
            self.front.refuse()
        self.pair.source.start()
        if approving:
            wait_until(self._decided, "the attempt of before is decided")
            if not self.completed():
                self.front.accept()

    def _decided(self) -> bool:
        if self.keeper.over.is_set():
            return True
        with contextlib.suppress(pymysql.MySQLError, OSError):  # the target may be down as well
            return self.lease_phase() != "CuttingOver"
        return False

    def ask(self, verb: str, body: dict[str, Any] | None = None) -> bool:
        """Whether the copier has taken it; it may be down."""
        try:
            self.ferry.post(verb, body)
        except (OSError, urllib.error.URLError):
            return False
        return True

    def completed(self) -> bool:
        """Whether the cutover is recorded on the target."""
        return self.lease_phase() == "Completed"

    def lease_phase(self) -> str:
        """As the target has it; empty without a lease."""
        target = self.pair.target
        if not target.query(_LEASE_TABLE):
            return ""
        found = target.query("SELECT phase FROM mysql_ferry.lease WHERE ferry_uid = %s", (self.uid,))
        return str(found[0][0]) if found else ""

    # -- the round ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Raises Failed."""
        with self:
            self.keeper.start()
            orphans = Orphans(self.pair.source, lambda: self.application.undecided)
            orphans.start()
            try:
                self._act()
                with self._timed("the end"):
                    judge.ends(self)
            finally:
                orphans.stop()
                self.counters["forgotten XA transactions rolled back"] += orphans.decided
                self.keeper.stop()
            with self._timed("judging"):
                judge.judge(self)

    @property
    def reasons(self) -> frozenset[Reason]:
        """How the run may end for good, after what has happened."""
        schema = self.plan.spec.get("schema", {})
        goes_on = schema.get("onChange") == "Recopy" and not any(fault in MAY_LOSE_ROWS for fault in self._tried)
        ending = [fault for fault in self._tried if not (goes_on and fault in COPIED_AGAIN)]
        return frozenset(reason for fault in ending for reason in fault.reasons)

    def _act(self) -> None:
        for number, action in enumerate(self.plan.actions):
            if not self._may_go_on():
                break
            if action.stage not in ("", "Copying"):
                self._hurry()
            with self._held(action, approve=number == self.plan.approve_at):
                if not self.keeper.over.is_set():
                    self._happens(action)
            if self.keeper.over.is_set() and not self._starts_over():
                break
        with self._timed("all well"):
            self._all_well()

    def _hurry(self) -> None:
        """Until now the copy was slow, so that faults meet it."""
        if not self._slow:
            return
        self._slow = False
        self.ferry.edit(lambda documents: documents[0]["spec"].pop("throttle"))
        self.ask("throttle", {"maxRowsPerSecond": None})

    def _reaches(self, stage: str) -> None:
        """A busy machine may take longer for a start than for all faults of a round."""
        end = time.monotonic() + _STAGE_SECONDS
        later = STAGES[STAGES.index(stage) :] if stage else ()
        while later and time.monotonic() < end and not self.keeper.over.wait(0.05):
            status = self.ferry.status()
            if status.get("stage") in later:
                return
            self.not_paused(status)
            self.application.check()

    def not_paused(self, status: Mapping[str, Any]) -> None:
        """A copier that was down when it was asked to resume is still paused after its start."""
        if status.get("phase") == "Paused":
            self.ask("resume")

    def phase(self) -> str:
        """What the run is doing now, as it says itself."""
        if self.ended:
            return "down"
        status = self.ferry.status()
        stage = status.get("stage")
        if stage not in STAGES:
            return "Starting"
        comparing = status["verification"]["passRows"] is not None
        return "Verifying" if comparing and stage in ("Streaming", "ReadyForCutover") else str(stage)

    @contextlib.contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.counters[f"ms of {what}"] += round(1000 * (time.monotonic() - began))

    def _starts_over(self) -> bool:
        """After a run that has ended for good: clean up, and begin with a fresh copy. False after any other end."""
        if self.keeper.code == 0:
            return False
        judge.refused(self)
        with self._timed("starting over"):
            self._begun_again()
        return True

    def another(self, name: str, *, source_port: int | None = None, **spec: Any) -> FerryProcess:
        ferry = super().another(name, source_port=source_port, **spec)
        ferry.launch = Forked
        return ferry

    def _begun_again(self) -> None:
        approving = self.keeper.approving.is_set()
        self.keeper.stop()
        self._tried.clear()
        cleaned = self.ferry.command("cleanup")
        if cleaned.code != 0:
            raise judge.Failed("cleanup", f"exit {cleaned.code}\n{cleaned.stdout}{cleaned.stderr}")
        people(self.pair.target, f"DROP DATABASE IF EXISTS `{self.schema}`")
        self.uid = str(uuid.uuid4())
        self.ferry = self.another(f"copy {self.ferry.folder.name}")
        self.ferry.options = list(self.plan.options)
        self.keeper = Keeper(self.ferry)
        if approving:
            self.keeper.approving.set()
        if not self._slow:
            self.ferry.edit(lambda documents: documents[0]["spec"].pop("throttle", None))
        self.keeper.start()
        self.counters["runs started over"] += 1

    def _happens(self, action: Action) -> None:
        self._down = action.down
        phase = self.phase()
        self._tried += [ALL[name] for name in action.faults]  # a statement whose answer is lost may have an effect
        with ThreadPoolExecutor(len(action.faults), thread_name_prefix="fault") as pool:
            each = [pool.submit(self._fault, name, phase, action.after) for name in action.faults]
        effective = {name: at for name, one in zip(action.faults, each, strict=True) if (at := one.result())}
        said = ", ".join(f"{at}: {name}" for name, at in effective.items())
        print(f"  {time.strftime('%H:%M:%S')} {said}", flush=True)
        for name, at in effective.items():
            counter = ALL[name].counter
            self.counters.update((counter, f"{counter}: {name}", f"{counter} while {at}"))
        self.ask("resume")

    def _fault(self, name: str, phase: str, after: float) -> str:
        """What the run was doing when it took effect; empty: it did not."""
        if after and ALL[name].actor == "copier":
            if self.keeper.over.wait(after):
                return ""
            phase = self.phase()
        with self._timed(f"fault {name}"):
            return "" if ALL[name].happens(self) is False else phase

    @contextlib.contextmanager
    def _held(self, action: Action, *, approve: bool) -> Iterator[None]:
        """Inside, the run is at the stage, and a statement is held back in a proxy, if it came in time."""
        at_cutover = action.stage == "CuttingOver"
        with self._timed("waits for a stage"):
            if not at_cutover:
                self._reaches(action.stage)
        side, pattern = HOLDS.get(action.hold, ("", b""))
        proxy = self.source_proxy if side == "source" else self.proxy
        before = proxy.counts.held
        if action.hold:
            proxy.hold(pattern, action.skip)
        if approve:
            self.keeper.approving.set()
        with self._timed(f"waits for {action.hold or 'nothing'}"):
            if action.hold:
                self._catches(proxy, before, _STAGE_SECONDS if at_cutover else _HELD_SECONDS)
            elif at_cutover:
                self._reaches(action.stage)
        caught = proxy.counts.held > before
        if caught and action.hold == "record's commit":
            proxy.release(then=b"COMMIT")
            self._catches(proxy, before + 1, _HELD_SECONDS)
        if caught:
            self.counters.update(("statements held back", f"statements held back: {action.hold}"))
        yield
        self.let_go()

    def _catches(self, proxy: Proxy, before: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        while proxy.counts.held == before and time.monotonic() < end and not self.keeper.over.is_set():
            time.sleep(0.01)

    def _all_well(self) -> None:
        """Nothing fails from now on."""
        self.let_go()
        self._hurry()
        for end in (self.pair.source, self.pair.target):
            end.start()
            settings_restored(end)
        self.keeper.approving.set()

    def __exit__(self, *error: object) -> None:
        self.let_go()
        with contextlib.suppress(pymysql.MySQLError):
            super().__exit__(*error)
        self.front.close()
