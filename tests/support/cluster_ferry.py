"""One Ferry on a whole cluster: a namespace with its Secrets, a source under constant writes, and a user with kubectl.

The independent comparer checks the result.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pymysql

from tests.support.compare import assert_equal_schemas
from tests.support.ferry_under_load import WriterGroups, bulk
from tests.support.namespace import Namespace, Object
from tests.support.schemas import create_odd_tables, odd_tables
from tests.support.servers import Pair, Server
from tests.support.waits import PATIENCE_SECONDS
from tests.support.whole_cluster import WholeCluster
from tests.support.writers import seed_of_run

FERRY = "orders"
COPIER = f"{FERRY}-copier"
SCHEMA = "shop"


class ClusterFerry(Namespace):
    """Tables of schema ``shop``: unusual ones, a bulk table of ``rows`` rows, and ``aim`` for single changes by
    tests.
    """

    def __init__(
        self,
        cluster: WholeCluster,
        pair: Pair,
        prefix: str,
        replicas: Sequence[Server] = (),
        *,
        rows: int = 0,
        odd: int = 3,
    ) -> None:
        super().__init__(cluster, cluster.make_namespace(prefix))
        self.replicas = replicas
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
        for role, server in self._servers:
            self.make_secret(role, server.user, server.password)

    def make_secret(self, name: str, username: str, password: str) -> None:
        """Credentials, as a user stores them."""
        content = {"username": username, "password": password}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content}
        self.kubectl("apply", "-f", "-", given=secret)

    def kubectl(self, *arguments: str, given: object = None) -> str:
        """In this namespace."""
        return self.cluster.kubectl(f"--namespace={self.namespace}", *arguments, given=given).stdout

    def create(self, name: str = FERRY, **spec: Any) -> None:
        """``kubectl apply`` of a Ferry that moves the whole schema; ``spec`` overrides parts."""
        sides: dict[str, Object] = {
            role: {"host": server.host, "port": server.port, "credentialsSecretRef": {"name": role}}
            for role, server in self._servers
        }
        if self.replicas:
            sides["source"]["replicas"] = [{"host": each.host, "port": each.port} for each in self.replicas]
        usual = {"tables": {"include": [f"{SCHEMA}.*"]}, "verify": {"mode": "Final"}}
        cutover = {"watchFor": "1s", "maxLag": "20s", "maxAttempts": 100, "deadline": "60s"} | spec.pop("cutover", {})
        ferry = {
            "apiVersion": "mysqlferry.io/v1alpha1",
            "kind": "Ferry",
            "metadata": {"name": name},
            "spec": sides | usual | spec | {"cutover": cutover},
        }
        self.kubectl("apply", "-f", "-", given=ferry)

    def delete_namespace(self) -> None:
        """Delete the namespace with everything in it: a Ferry whose servers are gone would be retried for ever."""
        self.cluster.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--wait=false")
        # Its copier could connect to the next test's server, which may get the same address.
        self.wait_until(lambda: not self.kubectl("get", "pods", "-o", "name"), "its Pods are gone")

    def patch_spec(self, name: str = FERRY, **spec: Any) -> None:
        """``kubectl patch``."""
        self.kubectl("patch", "ferry", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def cut_over(self) -> None:
        """Approve the cutover once every other gate is passed; it must succeed."""
        self.wait_for_stage("ReadyForCutover")
        self.patch_spec(cutover={"approved": True})
        self.wait_for_stage("Completed")

    def writers(self, threads: int = 2) -> WriterGroups:
        """Writers on the source until the end of the block."""
        return WriterGroups(self.pair.source, SCHEMA, self.tables, self.seed, threads)

    # -- state --------------------------------------------------------------------------------------------------------

    @property
    def current_status(self) -> Object:
        """The Ferry's status."""
        return self.status(FERRY)

    def is_true(self, kind: str) -> bool:
        return bool(self.condition(FERRY, kind).get("status") == "True")

    @property
    def rows_copied(self) -> int:
        return int(self.current_status.get("progress", {}).get("rowsCopied", 0))

    def source_is_read_only(self) -> bool:
        return bool(self.pair.source.value("SELECT @@global.read_only"))

    @property
    def target_rows(self) -> int:
        """Rows of the bulk table on the target."""
        return int(self.pair.target.value(f"SELECT COUNT(*) FROM {SCHEMA}.bulk"))

    @property
    def exists(self) -> bool:
        """Whether the namespace exists."""
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

    def wait_until(
        self, reached: Callable[[], object], what: str | Callable[[], str], seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Fails with ``what``, as it is then, and the diagnostics if ``reached`` does not become true."""
        end = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > end:
                said = what if isinstance(what, str) else what()
                raise AssertionError(f"not within {seconds} s: {said}\n{self.diagnostics()}")
            time.sleep(0.05)

    def wait_for_message(self, name: str, *words: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Until the Ferry's message has all these words."""
        self.wait_until(
            lambda: all(word in self.status(name).get("message", "") for word in words),
            lambda: f"{name} says {words}; last: {self.status(name)}",
            seconds,
        )

    def wait_for_stage(self, *stages: str, seconds: float = PATIENCE_SECONDS) -> None:
        self.wait_until(lambda: self.current_status.get("stage") in stages, f"stage {' or '.join(stages)}", seconds)

    def diagnostics(self) -> str:
        """Status, Pods, Events, sessions and logs, for a failed test."""
        pods = self.kubectl("get", "pods,events", "-o", "wide")
        log = self.cluster.kubectl("logs", COPIER, "-n", self.namespace, "--tail=30", check=False).stdout
        sessions = {role: server.query("SHOW FULL PROCESSLIST") for role, server in self._servers}
        said = [f"seed {self.seed}", f"status {self.current_status}", pods, f"sessions {sessions}", "copier:", log]
        return "\n".join([*said, "operator:", self.cluster.operator_log()])

    @property
    def _servers(self) -> tuple[tuple[str, Server], ...]:
        return ("source", self.pair.source), ("target", self.pair.target)

    def assert_equal(self) -> None:
        found = assert_equal_schemas(self.pair.source, self.pair.target, SCHEMA)
        print(f"equal: {found.tables} tables, {found.rows} rows; seed {self.seed}")

    # -- faults -----------------------------------------------------------------------------------------------------

    def end_a_write(self) -> None:
        """End a session of a Pod that waits for a row of ``aim`` on the target, as an administrator does."""
        pods = f"{self.cluster.machine.network.pods.removesuffix('0/24')}%"
        waiting = "SELECT id FROM information_schema.processlist WHERE host LIKE %s AND info LIKE %s"
        with contextlib.closing(self.pair.target.connect(autocommit=False)) as holder, holder.cursor() as row:
            row.execute(f"SELECT v FROM {SCHEMA}.aim WHERE id = 1 FOR UPDATE")
            self.pair.source.execute(f"UPDATE {SCHEMA}.aim SET v = v + 1 WHERE id = 1")
            found = [pods, f"%{SCHEMA}%aim%"]
            self.wait_until(lambda: self.pair.target.query(waiting, found), "a session that waits for the row")
            for (session,) in self.pair.target.query(waiting, found):
                with contextlib.suppress(pymysql.err.OperationalError):  # it has just ended
                    self.pair.target.execute(f"KILL {session}")

    @contextlib.contextmanager
    def another_copier(self) -> Iterator[None]:
        """Inside, the copier is ended. Returns once the status is about another process, which holds the lease."""
        before = self.epoch
        yield
        self.wait_until(lambda: self.epoch > before, "another process of the copier", 300)

    @property
    def epoch(self) -> int:
        """The epoch of the lease in the status: it grows with each process of the copier."""
        return int(self.current_status.get("copier", {}).get("epoch") or 0)

    def kill_copier(self) -> None:
        """With kill -9: the kubelet restarts it in the same Pod."""
        with self.another_copier():
            self.cluster.kill_process(self.namespace, COPIER)

    def delete_copier(self, *how: str) -> None:
        """With ``kubectl delete pod``: the operator creates another Pod."""
        with self.another_copier():
            self.kubectl("delete", "pod", COPIER, *how)

    @contextlib.contextmanager
    def drain_held(self) -> Iterator[None]:
        """Approves the cutover. Inside, the source is locked and a last change of ``aim`` cannot reach the target."""
        with contextlib.ExitStack() as stack:
            blocker, holder = (
                stack.enter_context(contextlib.closing(server.connect(autocommit=False)))
                for server in (self.pair.source, self.pair.target)
            )
            with blocker.cursor() as cursor, holder.cursor() as row:
                # A restarted copier proves that table first, and would wait.
                self.wait_until(lambda: self.is_true("CaughtUp") and self.is_true("Verified"), "it is as far as before")
                cursor.execute(f"LOCK TABLES {SCHEMA}.aim WRITE")  # blocks the statement that stops writes
                self.patch_spec(cutover={"approved": True})
                self.wait_until(self._is_being_locked, "the lock statement reached the source")
                row.execute(f"SELECT v FROM {SCHEMA}.aim WHERE id = 1 FOR UPDATE")
                cursor.execute(f"UPDATE {SCHEMA}.aim SET v = v + 1 WHERE id = 1")
                cursor.execute("COMMIT")
                cursor.execute("UNLOCK TABLES")
                self.wait_until(self.source_is_read_only, "the source takes no more writes")
                self.wait_for_stage("CuttingOver")
                yield

    def _is_being_locked(self) -> bool:
        return bool(self.pair.source.query("SELECT 1 FROM information_schema.processlist WHERE info LIKE 'SET /*%'"))
