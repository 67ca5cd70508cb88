"""A source that hangs during a cutover attempt: the run ends anyway, and says what is locked."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferry_core.cutover.mutex import SOURCE_LOCK
from ferry_core.errors import AmbiguousError, FerryError
from ferry_core.manifest import load
from ferry_core.mysql.literals import string
from ferry_core.run import attempts
from ferry_core.run.ferry import Ferry
from ferry_core.run.options import RunOptions
from tests.support.manifests import ferry_between, write
from tests.support.proxy import Proxy
from tests.support.servers import Pair
from tests.support.table_pair import make_table
from tests.support.waits import Background, wait_until

LAST_LOOK = f"IS_USED_LOCK({string(SOURCE_LOCK.name)})".encode()
"""On the session that holds the cutover mutex, right before the record of the cutover: writes are stopped by then."""


@pytest.fixture
def proxy(pair: Pair) -> Iterator[Proxy]:
    with Proxy(pair.source.host, pair.source.port) as proxy:
        yield proxy
    pair.source.execute("SET GLOBAL read_only = OFF")


def test_a_run_ends_while_a_thread_left_behind_still_asks_its_source(
    pair: Pair, schema: str, tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That thread holds the lock of the session with the cutover mutex. In this test its question never times out."""
    monkeypatch.setattr("ferry_core.cutover.lock_sessions.ANSWER_SECONDS", 600.0)
    monkeypatch.setattr(attempts, "LONGEST_SECONDS", 0.1)
    make_table(pair, schema, "id INT PRIMARY KEY", "(1)")
    documents = ferry_between(
        pair.source.endpoint("source"),
        pair.target.endpoint("target"),
        tables={"include": [f"{schema}.*"]},
        cutover={"mode": "Automatic", "watchFor": "0s", "maxLag": "60s", "deadline": "10s"},
    )
    documents[0]["metadata"]["uid"] = schema
    documents[0]["spec"]["source"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
    ferry = Ferry(load([write(tmp_path, *documents)]), RunOptions(state_path=tmp_path / "state.db"))
    ended: list[FerryError] = []

    def run() -> None:
        try:
            ferry.run()
        except FerryError as error:
            ended.append(error)

    proxy.hold(LAST_LOOK)
    running = Background(run)
    proxy.wait_held(180)
    proxy.pause()
    wait_until(
        lambda: "source may still be blocked" in (ferry.snapshot().message or ""), "the attempt is given up", 120
    )
    ferry.stop()
    began = time.monotonic()
    running.join(120)
    print(f"{time.monotonic() - began:.1f} s: {ended}")
    assert isinstance(ended[0], AmbiguousError)
    assert "SET GLOBAL read_only = OFF" in ended[0].message
