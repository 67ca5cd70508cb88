"""One round: a plan carried out on real servers, and judged by ``judge.py``."""

import contextlib
import random
import signal
import time
import urllib.error
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pymysql

from ferry_core.reasons import Reason
from tests.faults.scene import Clock, Scene
from tests.support.ferry_under_load import ASIDE
from tests.support.proxy import Proxy
from tests.support.schemas import create_odd_tables
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until
from tests.support.writers import Pace, Writers
from tests.torture import judge
from tests.torture.faults import ALL, HOLDS, Fault, people, settings_restored
from tests.torture.keeper import Keeper
from tests.torture.plan import STAGES, Action, Plan

_STAGE_SECONDS = 60.0
_HELD_SECONDS = 2.0
"""How long a round waits for the statement that is to be held back."""
_LEASE_TABLE = "SELECT 1 FROM information_schema.TABLES WHERE table_schema = 'mysql_ferry' AND table_name = 'lease'"


class Round(Scene):
    """``run`` once. ``counters`` hold what really happened."""

    def __init__(self, plan: Plan, pair: Pair, schema: str, folder: Path, counters: Counter[str]) -> None:
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
        self._down = 0.0
        self._done: list[Fault] = []

    # -- what faults use ------------------------------------------------------------------------------------------

    def let_go(self) -> None:
        """What a proxy holds back goes on its way."""
        self.proxy.release()
        self.source_proxy.release()

    def kill_copier(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.keeper.kill(signal.SIGKILL, self._down, meanwhile)

    def end_copier(self) -> None:
        self.keeper.kill(signal.SIGTERM, self._down)

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
            try:
                self._act()
                judge.ends(self)
            finally:
                self.keeper.stop()
            judge.judge(self)

    @property
    def reasons(self) -> frozenset[Reason]:
        """How the run may end for good, after what has happened."""
        return frozenset(reason for fault in self._done for reason in fault.reasons)

    def _act(self) -> None:
        for number, action in enumerate(self.plan.actions):
            if number == self.plan.approve_at:
                self.keeper.approving.set()
            self._reaches(action.stage)
            if self.keeper.over.wait(action.after) and not self._starts_over():
                break
            self._happens(action)
        self._all_well()

    def _reaches(self, stage: str) -> None:
        """A busy machine may take longer for a start than for all faults of a round."""
        end = time.monotonic() + _STAGE_SECONDS
        later = STAGES[STAGES.index(stage) :] if stage else ()
        while later and time.monotonic() < end and not self.keeper.over.wait(0.1):
            if self.ferry.status().get("stage") in later:
                return

    def _starts_over(self) -> bool:
        """After a run that has ended for good: clean up, and begin with a fresh copy. False after any other end."""
        if self.keeper.code == 0:
            return False
        judge.refused(self)
        approving = self.keeper.approving.is_set()
        self.keeper.stop()
        self._done.clear()
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
        self.keeper.start()
        self.counters["runs started over"] += 1
        return True

    def _happens(self, action: Action) -> None:
        self._down = action.down
        with self._held(action):
            with ThreadPoolExecutor(len(action.faults), thread_name_prefix="fault") as pool:
                each = [pool.submit(ALL[name].happens, self) for name in action.faults]
            for name, happened in zip(action.faults, each, strict=True):
                if happened.result() is not False:
                    self._done.append(ALL[name])
                    self.counters[ALL[name].counter] += 1
                    self.counters[f"  {name}"] += 1
        self.ask("resume")

    @contextlib.contextmanager
    def _held(self, action: Action) -> Any:
        """Inside, a statement is held back in a proxy, if it came in time."""
        if not action.hold:
            yield
            return
        side, pattern = HOLDS[action.hold]
        proxy = self.source_proxy if side == "source" else self.proxy
        before = proxy.counts.held
        proxy.hold(pattern, action.skip)
        end = time.monotonic() + _HELD_SECONDS
        while proxy.counts.held == before and time.monotonic() < end and not self.keeper.over.is_set():
            time.sleep(0.01)
        self.counters["statements held back"] += proxy.counts.held > before
        yield
        self.let_go()

    def _all_well(self) -> None:
        """Nothing fails from now on."""
        self.let_go()
        for end in (self.pair.source, self.pair.target):
            end.start()
            settings_restored(end)
        self.keeper.approving.set()

    def __exit__(self, *error: object) -> None:
        self.let_go()
        with contextlib.suppress(pymysql.MySQLError):
            super().__exit__(*error)
        self.front.close()
