"""One Ferry on a whole cluster, under fire: a namespace with its Secrets, a source that is written to all the time, and
what a user does and sees by kubectl. Judged by the independent comparer.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.compare import assert_equal_schemas
from tests.support.live import Crew, bulk
from tests.support.namespace import Namespace, Object
from tests.support.schemas import create_odd_tables, odd_tables
from tests.support.servers import Pair, Server
from tests.support.whole_cluster import WholeCluster
from tests.support.writers import seed_of_run

FERRY = "orders"
COPIER = f"{FERRY}-copier"
SCHEMA = "shop"


class Voyage(Namespace):
    """Tables of schema ``shop``: odd ones, ``rows`` of a bulk table, and ``aim`` for single chosen changes."""

    def __init__(self, cluster: WholeCluster, pair: Pair, prefix: str, *, rows: int = 0, odd: int = 3) -> None:
        super().__init__(cluster, cluster.make_namespace(prefix))
        self.cluster = cluster
        self.pair = pair
        self.seed = seed_of_run()
        self.tables = [*odd_tables(pair.family)[:odd], bulk(rows or 100)]
        pair.source.execute(
            f"CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4",
            f"CREATE TABLE {SCHEMA}.aim (id INT PRIMARY KEY, v INT NOT NULL)",
            f"INSERT INTO {SCHEMA}.aim VALUES (1, 0), (2, 0)",
        )
        create_odd_tables(pair.source, SCHEMA, self.tables[:-1], seed=self.seed)
        create_odd_tables(pair.source, SCHEMA, self.tables[-1:], seed=self.seed, share=1)
        for role, server in self._ends:
            self.make_secret(role, server.user, server.password)

    def make_secret(self, name: str, username: str, password: str) -> None:
        """Credentials, as a user stores them."""
        content = {"username": username, "password": password}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content}
        self.kubectl("apply", "-f", "-", given=secret)

    def kubectl(self, *arguments: str, given: object = None) -> str:
        """In this namespace."""
        return self.cluster.kubectl(f"--namespace={self.namespace}", *arguments, given=given).stdout

    def set_out(self, name: str = FERRY, **spec: Any) -> None:
        """``kubectl apply`` of a Ferry; ``spec`` over what moves the whole schema."""
        sides = {
            role: {"host": server.host, "port": server.port, "credentialsSecretRef": {"name": role}}
            for role, server in self._ends
        }
        usual = {"tables": {"include": [f"{SCHEMA}.*"]}, "verify": {"mode": "Final"}}
        cutover = {"watchFor": "1s", "maxLag": "20s", "maxAttempts": 100, "deadline": "60s"} | spec.pop("cutover", {})
        ferry = {
            "apiVersion": "mysqlferry.io/v1alpha1",
            "kind": "Ferry",
            "metadata": {"name": name},
            "spec": sides | usual | spec | {"cutover": cutover},
        }
        self.kubectl("apply", "-f", "-", given=ferry)

    def leave(self) -> None:
        """Its namespace goes, with what still runs in it: a Ferry whose servers are gone would be tried for ever."""
        self.cluster.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--wait=false")
        # Its copier would find the next test's server under its own one's address.
        self.until(lambda: not self.kubectl("get", "pods", "-o", "name"), "its Pods are gone")

    def change(self, name: str = FERRY, **spec: Any) -> None:
        """``kubectl patch``."""
        self.kubectl("patch", "ferry", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def cross(self) -> None:
        """Approve the cutover once every other gate is passed; it must end well."""
        self.until_stage("ReadyForCutover")
        self.change(cutover={"approved": True})
        self.until_stage("Completed")

    def crew(self, threads: int = 2) -> Crew:
        """Writers on the source until the end of the block."""
        return Crew(self.pair.source, SCHEMA, self.tables, self.seed, threads)

    # -- what is so -------------------------------------------------------------------------------------------------

    @property
    def now(self) -> Object:
        """The Ferry's status."""
        return self.status(FERRY)

    def is_true(self, kind: str) -> bool:
        return bool(self.condition(FERRY, kind).get("status") == "True")

    @property
    def rows_copied(self) -> int:
        return int(self.now.get("progress", {}).get("rowsCopied", 0))

    def source_is_read_only(self) -> bool:
        return bool(self.pair.source.value("SELECT @@global.read_only"))

    @property
    def target_rows(self) -> int:
        """Of the bulk table."""
        return int(self.pair.target.value(f"SELECT COUNT(*) FROM {SCHEMA}.bulk"))

    @property
    def exists(self) -> bool:
        """Whether the namespace does."""
        found = self.cluster.kubectl("get", "namespace", self.namespace, "--ignore-not-found", "-o", "name")
        return bool(found.stdout)

    def own_objects(self) -> list[str]:
        return self.kubectl("get", "ferries,pods,secrets", "-o", "name").split()

    @property
    def restarts(self) -> int:
        """Of the copier's container in its Pod."""
        pod = self.pod(COPIER)
        containers = (pod or {}).get("status", {}).get("containerStatuses") or [{}]
        return int(containers[0].get("restartCount", 0))

    def until(self, reached: Callable[[], object], what: str, seconds: float = 60) -> None:
        """Wait; says all there is to know when it does not come to be."""
        end = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s: {what}\n{self.tell()}")
            time.sleep(0.05)

    def until_said(self, name: str, *words: str, seconds: float = 90) -> None:
        """Until the Ferry's message has all these words."""
        self.until(
            lambda: all(word in self.status(name).get("message", "") for word in words),
            f"{name} says {words}; last: {self.status(name)}",
            seconds,
        )

    def until_stage(self, *stages: str, seconds: float = 90) -> None:
        self.until(lambda: self.now.get("stage") in stages, f"stage {' or '.join(stages)}", seconds)

    def tell(self) -> str:
        """For a failed test."""
        pods = self.kubectl("get", "pods,events", "-o", "wide")
        log = self.cluster.kubectl("logs", COPIER, "-n", self.namespace, "--tail=30", check=False).stdout
        sessions = {role: server.query("SHOW FULL PROCESSLIST") for role, server in self._ends}
        said = [f"seed {self.seed}", f"status {self.now}", pods, f"sessions {sessions}", "copier:", log]
        return "\n".join([*said, "operator:", self.cluster.operator_log()])

    @property
    def _ends(self) -> tuple[tuple[str, Server], ...]:
        return ("source", self.pair.source), ("target", self.pair.target)

    def assert_equal(self) -> None:
        found = assert_equal_schemas(self.pair.source, self.pair.target, SCHEMA)
        print(f"equal: {found.tables} tables, {found.rows} rows; seed {self.seed}")

    # -- faults -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def another_copier(self) -> Iterator[None]:
        """The block ends the copier; it is left once status speaks of another one, which took the lease over."""
        before = self.epoch
        yield
        self.until(lambda: self.epoch > before, "another process of the copier", 150)

    @property
    def epoch(self) -> int:
        """How often a process has taken the lease, as status has it."""
        return int(self.now.get("copier", {}).get("epoch") or 0)

    def kill_copier(self) -> None:
        """By kill -9: the kubelet starts it again in the same Pod."""
        with self.another_copier():
            self.cluster.kill_process(self.namespace, COPIER)

    def delete_copier(self, *how: str) -> None:
        """By ``kubectl delete pod``: the operator makes another Pod."""
        with self.another_copier():
            self.kubectl("delete", "pod", COPIER, *how)

    @contextlib.contextmanager
    def drain_held(self) -> Iterator[None]:
        """Approves the cutover. Inside, the source is locked and a last change of ``aim`` cannot get to the target."""
        with contextlib.ExitStack() as stack:
            blocker, holder = (
                stack.enter_context(contextlib.closing(server.connect(autocommit=False)))
                for server in (self.pair.source, self.pair.target)
            )
            with blocker.cursor() as cursor, holder.cursor() as row:
                # A copier that was just started again proves that table first, and would wait.
                self.until(lambda: self.is_true("CaughtUp") and self.is_true("Verified"), "it is as far as before")
                cursor.execute(f"LOCK TABLES {SCHEMA}.aim WRITE")  # the statement that stops writes waits for it
                self.change(cutover={"approved": True})
                self.until(self._is_being_locked, "the lock statement reached the source")
                row.execute(f"SELECT v FROM {SCHEMA}.aim WHERE id = 1 FOR UPDATE")
                cursor.execute(f"UPDATE {SCHEMA}.aim SET v = v + 1 WHERE id = 1")
                cursor.execute("COMMIT")
                cursor.execute("UNLOCK TABLES")
                self.until(self.source_is_read_only, "the source takes no more writes")
                self.until_stage("CuttingOver")
                yield

    def _is_being_locked(self) -> bool:
        return bool(self.pair.source.query("SELECT 1 FROM information_schema.processlist WHERE info LIKE 'SET /*%'"))
