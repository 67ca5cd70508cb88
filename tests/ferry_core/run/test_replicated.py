"""The checkpoint keeps what the source had replicated, and each start compares it."""

from collections.abc import Iterator

import pytest

from ferry_core.checkpoint.state import FORMAT, RunState
from ferry_core.checkpoint.store import parse
from ferry_core.consistency.visibility import furthest_place
from ferry_core.errors import DataError
from ferry_core.mysql.replication import Replicated, replicated, unlogged_since
from ferry_core.mysql.session import Purpose, Session
from ferry_core.run.replicated import refuse_replicated
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.replication import replicate, set_replicated
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


@pytest.fixture(scope="module")
def primary(make_module_server: ServerFactory) -> Server:
    return make_module_server(Family.MARIADB, gtid_domain_id=7)


@pytest.mark.parametrize(
    ("starts", "passes"),
    [
        ([(True, True)], True),
        ([(True, True), (True, True), (True, False)], True),
        ([(True, False), (True, True)], True),
        ([(False, True), (True, False)], False),
        ([(False, True), (True, True)], False),
        ([(True, True), (False, True), (True, True)], False),
    ],
    ids=["once", "always logged", "late", "not logged", "not logged, then logged", "not logged in between"],
)
def test_a_source_that_was_started_more_than_once_meanwhile(
    make_server: ServerFactory, primary: Server, starts: list[tuple[bool, bool]], passes: bool
) -> None:
    """``starts``: whether the source logs what it applies, and whether it applies anything before the next start."""
    source = make_server(Family.MARIADB, log_slave_updates=True)
    replicate(primary, source)
    kept = state()
    with Session(source.endpoint(), Purpose.CONTROL) as session:
        refuse_replicated(kept, session, begun=False)
        kept.last_read = str(furthest_place(session))
    for logs, applies in starts:
        source.restart(log_slave_updates=logs)
        if applies:
            replicate(primary, source)
    with Session(source.endpoint(), Purpose.CONTROL) as session:
        if passes:
            refuse_replicated(kept, session, begun=True)
            assert kept.replicated == replicated(session)
        else:
            with pytest.raises(DataError, match=r"ReplicaChangesNotLogged.*more than once.*7-"):
                refuse_replicated(kept, session, begun=True)
