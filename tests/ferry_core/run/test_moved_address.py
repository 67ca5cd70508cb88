"""An address that leads to another server for one connection, whichever it is: nothing is read or written there.

The wrong server has the same tables and the same lease as the right one, so anything done there would succeed.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ferry_core.admin import offline
from ferry_core.api.report import Outcome, Stage
from ferry_core.api.spec import ferry_uid
from ferry_core.checkpoint.sqlite import SqliteStore
from ferry_core.checkpoint.state import RunState, TableState
from ferry_core.cli.preflight import preflight
from ferry_core.consistency.fence import Fence
from ferry_core.errors import ExitCode, FerryError
from ferry_core.manifest import LoadedFerry, load
from ferry_core.mysql.session import Purpose, Session
from ferry_core.preflight.result import Status
from ferry_core.preflight.trial_schema import prefix_of
from ferry_core.run import attempts, restart_policy
from ferry_core.run.ferry import Ferry
from ferry_core.run.options import RunOptions
from tests.support.compare import assert_equal_tables
from tests.support.manifests import ferry_between, write
from tests.support.proxy import Proxy, assert_not_used
from tests.support.servers import Pair, Server
from tests.support.waits import Background, wait_until

if TYPE_CHECKING:
    from ferry_core.preflight import CheckResult

ENDS = ["source", "target"]


class MisleadingServers:
    """A Ferry of one table; one end is reached through a proxy, and the pair's other server is the wrong one there."""

    def __init__(self, pair: Pair, schema: str, folder: Path, end: str) -> None:
        self.pair, self.schema, self.folder, self.end = pair, schema, folder, end
        servers = {"source": pair.source, "target": pair.target}
        self.right = servers.pop(end)
        (self.wrong,) = servers.values()
        self.proxy = Proxy(self.right.host, self.right.port)
        self.state = folder / "state.db"
        self.options = RunOptions(state_path=self.state)

    def load(self, **spec: Any) -> LoadedFerry:
        ends = self.pair.source.endpoint("source"), self.pair.target.endpoint("target")
        documents = ferry_between(*ends, tables={"include": [f"{self.schema}.t"]}, **spec)
        documents[0]["metadata"]["uid"] = self.schema
        documents[0]["spec"][self.end] |= {
            "port": self.proxy.port,
            "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True},
        }
        return load([write(self.folder, *documents)])

    def fill(self, server: Server) -> None:
        server.execute(
            f"CREATE DATABASE IF NOT EXISTS `{self.schema}` CHARACTER SET utf8mb4",
            f"CREATE TABLE IF NOT EXISTS `{self.schema}`.t (id INT PRIMARY KEY)",
            f"REPLACE INTO `{self.schema}`.t VALUES (1), (2)",
        )


@pytest.fixture(params=ENDS)
def ends(request: pytest.FixtureRequest, pair: Pair, schema: str, tmp_path: Path) -> Iterator[MisleadingServers]:
    made = MisleadingServers(pair, schema, tmp_path, request.param)
    with made.proxy:
        yield made
    for server in (pair.source, pair.target):
        with suppress(Exception):  # there need be no lease
            server.execute(f"DELETE FROM mysql_ferry.lease WHERE ferry_uid = '{schema}'")


def read_only(server: Server) -> bool:
    return bool(server.value("SELECT @@global.read_only"))


def died_in_cutover(ends: MisleadingServers, loaded: LoadedFerry) -> None:
    """Leaves what a run leaves that was killed under its lock, on both servers, so that they look alike."""
    mysql = ends.pair.flavor.value == "MySQL"
    names = ["read_only", "super_read_only"] if mysql else ["read_only"]
    with Session(ends.pair.source.endpoint(), Purpose.CONTROL) as source:
        identity = source.identity.stored
    for server in (ends.pair.source, ends.pair.target):
        server.execute(f"SET GLOBAL {names[0]} = OFF")
        ends.fill(server)
        fence, _ = Fence.take(partial(Session, server.endpoint("target"), Purpose.TARGET), ends.schema, "o", identity)
        fence.record(phase=Stage.CUTTING_OVER.value, tables=[f"{ends.schema}.t"], cutover=dict.fromkeys(names, "0"))
    ends.pair.source.execute(f"SET GLOBAL {names[-1]} = ON")
    uid = ferry_uid(loaded.ferry)
    table = {f"{ends.schema}.t": TableState(started=True)}
    state = RunState(ferry_uid=uid, ferry_name="o", source_id=identity, selection="{}", epoch=1, tables=table)
    with closing(SqliteStore(ends.state)) as store:
        store.save(state, 1)


@pytest.mark.parametrize("verb", [offline.abort, offline.cleanup])
def test_abort_and_cleanup_refuse_another_server(
    ends: MisleadingServers, verb: Callable[[LoadedFerry, RunOptions], Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through each of its connections; and the command can be repeated."""
    monkeypatch.setattr("ferry_core.cutover.unlocking.UNLOCK_SECONDS", 5.0)
    loaded = ends.load(deletionPolicy="DropTarget")
    for before in itertools.count(1):
        died_in_cutover(ends, loaded)
        ends.proxy.lead_astray(ends.wrong.host, ends.wrong.port, [before])
        met = ends.proxy.led_astray
        with suppress(FerryError):
            verb(loaded, ends.options)
        assert_not_used(ends.proxy)
        whole = ends.proxy.led_astray == met
        ends.proxy.lead_astray(ends.wrong.host, ends.wrong.port, [])
        with suppress(FerryError):  # it may be done already
            verb(loaded, ends.options)
        assert not read_only(ends.pair.source)
        assert ends.pair.source.value(f"SELECT COUNT(*) FROM `{ends.schema}`.t") == 2
        left = ends.pair.target.query("SELECT 1 FROM information_schema.tables WHERE table_schema = %s", [ends.schema])
        assert bool(left) is (verb is offline.abort)
        if whole:
            break
    print(f"{before - 1} connections, each led astray once")
    assert before > 2


@pytest.mark.parametrize("ends", ["target"], indirect=True)
def test_check_refuses_another_server(ends: MisleadingServers) -> None:
    """The check loses its connection after creating its trial schema; it ends that session and drops the schema over
    another one.
    """
    ends.fill(ends.pair.source)
    loaded = ends.load()
    ends.proxy.hold(f"CREATE DATABASE `{prefix_of(ends.schema)}".encode())
    results: list[CheckResult] = []
    checking = Background(lambda: results.extend(preflight(loaded, ends.state)))
    ends.proxy.wait_held()
    ends.proxy.lead_to(ends.wrong.host, ends.wrong.port)
    ends.proxy.cut()
    checking.join()
    assert ends.proxy.led_astray > 0
    assert_not_used(ends.proxy)
    assert [one for one in results if one.status is Status.FAILED and "ConnectionLost" in (one.reason or "")], results


@pytest.mark.slow
def test_a_run(ends: MisleadingServers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misleading connection at the second connection, at the second after that, and so on: the run starts again each
    time.
    """
    monkeypatch.setattr(restart_policy, "LONGEST_PAUSE", restart_policy.FIRST_PAUSE)
    for name in ("LONGEST_SECONDS", "BETWEEN_ATTEMPTS_SECONDS"):
        monkeypatch.setattr(attempts, name, 0.1)
    ends.fill(ends.pair.source)
    loaded = ends.load(
        cutover={"mode": "Automatic", "watchFor": "0s", "maxLag": "60s", "maxAttempts": 100, "deadline": "5m"}
    )
    gaps = itertools.cycle(range(1, 40))
    ends.proxy.lead_astray(ends.wrong.host, ends.wrong.port, gaps)
    options = RunOptions(state_path=ends.state, retry_seconds=3600)
    ferry = Ferry(loaded, options)
    assert ferry.run() is ExitCode.DONE
    free = "SELECT IS_FREE_LOCK('mysql-ferry-source-lock')"
    wait_until(lambda: ends.pair.source.value(free), "the source has ended the session that held the cutover mutex")
    assert_not_used(ends.proxy)
    print(f"{ends.proxy.led_astray} of {ends.proxy.counts.connections} connections were led astray")
    assert ends.proxy.led_astray > 5
    name = f"{ends.schema}.t"
    assert_equal_tables(ends.pair.source, ends.pair.target, name, name)
