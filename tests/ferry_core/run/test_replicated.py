"""The checkpoint keeps what the source had replicated, and each start compares it."""

from collections.abc import Iterator

import pytest

from ferry_core.checkpoint.state import FORMAT, RunState
from ferry_core.checkpoint.store import parse
from ferry_core.errors import DataError
from ferry_core.mysql.replication import Replicated, unlogged_since
from ferry_core.mysql.session import Purpose, Session
from ferry_core.run.replicated import refuse_replicated
from tests.support.replication import set_replicated
from tests.support.servers import Pair, Server

HERE, THERE = "0-7-3", "0-7-4"


@pytest.mark.parametrize(
    ("known", "now", "passes"),
    [
        (None, Replicated(THERE, logged=False), True),  # an older state
        (Replicated(HERE, logged=False), None, True),  # MySQL
        (Replicated(HERE, logged=False), Replicated(HERE, logged=False), True),
        (Replicated(HERE, logged=False), Replicated(THERE, logged=False), False),
        (Replicated("", logged=False), Replicated(THERE, logged=False), False),
        (Replicated(THERE, logged=False), Replicated("", logged=False), False),
        (Replicated(HERE, logged=True), Replicated(THERE, logged=True), True),
        (Replicated(HERE, logged=False), Replicated(THERE, logged=True), False),  # restarted with another setting
        (Replicated(HERE, logged=True), Replicated(THERE, logged=False), False),
    ],
)
def test_what_counts_as_unlogged(known: Replicated | None, now: Replicated | None, passes: bool) -> None:
    said = unlogged_since(known, now)
    assert passes is (said == "")
    assert passes or (known is not None and f"SET GLOBAL gtid_slave_pos = '{known.position}'" in said)


@pytest.fixture
def source(mariadb_pair: Pair) -> Iterator[Server]:
    """It does not log what it applies, which is the default."""
    server = mariadb_pair.source
    before = server.value("SELECT @@GLOBAL.gtid_slave_pos")
    set_replicated(server, HERE)
    yield server
    set_replicated(server, before)


def state() -> RunState:
    return RunState(ferry_uid="u", ferry_name="f", source_id="s", selection="{}")


def test_a_start_stores_the_position_for_the_next_one(source: Server) -> None:
    kept = state()
    with Session(source.endpoint(), Purpose.CONTROL) as session:
        refuse_replicated(kept, session, begun=False)
        assert kept.replicated == Replicated(HERE, logged=False)
        stored = parse(kept.model_dump_json(), FORMAT, "here")
        assert stored == kept
        set_replicated(source, THERE)
        with pytest.raises(DataError, match="start over with a fresh copy") as refused:
            refuse_replicated(stored, session, begun=True)
        assert refused.value.reason == "ReplicaChangesNotLogged"
        set_replicated(source, HERE)
        refuse_replicated(stored, session, begun=True)


def test_a_state_of_an_older_version_is_completed(source: Server, caplog: pytest.LogCaptureFixture) -> None:
    old = parse(state().model_copy(update={"format": 4}).model_dump_json(exclude={"replicated"}), 4, "here")
    with Session(source.endpoint(), Purpose.CONTROL) as session:
        refuse_replicated(old, session, begun=True)
    assert old.replicated == Replicated(HERE, logged=False)
    assert "does not record what the source had replicated" in caplog.text


def test_mysql_needs_no_such_record(mysql_pair: Pair) -> None:
    kept = state()
    with Session(mysql_pair.source.endpoint(), Purpose.CONTROL) as session:
        refuse_replicated(kept, session, begun=True)
    assert kept.replicated is None
