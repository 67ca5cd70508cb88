"""The primary of a source that is a replica, started again between two runs."""

import logging

import pytest

from ferry_core.checkpoint.state import PrimaryState, RunState
from ferry_core.errors import DataError
from ferry_core.run.primary_history import meet_primary, seen
from ferry_core.workers.connections import Connections
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.servers import Server


@pytest.mark.parametrize("family", [family.value for family in Family])
def test_a_primary_that_lacks_what_it_had_is_refused(
    make_server: ServerFactory, family: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server(family)
    server.execute("CREATE DATABASE before_the_restart")
    state = RunState(ferry_uid="u", ferry_name="shop/orders", source_id="s", selection="{}")
    meet(state, server)
    before = state.primary
    assert before is not None
    server.execute("DO SLEEP(1.1)")  # MariaDB tells its start in seconds
    server.restart()
    meet(state, server)
    assert state.primary is not None
    assert state.primary.start != before.start

    further = before.model_copy(update={"offset": before.offset + 100})  # as if the restart had lost that
    for primary, said in ((further, f"now it ends at {length(server, before.file)}"), (later(before), "is gone")):
        state.primary = primary
        with pytest.raises(DataError, match=said) as refused:
            meet(state, server)
        assert refused.value.reason == "SourceHistoryLost"
        assert state.primary is primary

    state.primary = further.model_copy(update={"server": "another:3306:db"})
    meet(state, server)
    assert state.primary.server == before.server

    server.execute("FLUSH BINARY LOGS", f"PURGE BINARY LOGS TO '{newest(server)}'")
    state.primary = further
    with caplog.at_level(logging.WARNING):
        meet(state, server)
    assert f"{before.file} was purged" in caplog.text


def meet(state: RunState, primary: Server) -> None:
    """As the first start of a process."""
    known = Connections(primary.endpoint, primary.endpoint, primary=lambda: primary.endpoint("primary"))
    meet_primary(state, known)
    assert known.primary_seen == state.primary
    with known.written_control() as session:
        assert seen(session) == state.primary


def later(place: PrimaryState) -> PrimaryState:
    return place.model_copy(update={"file": f"{place.file[:-6]}900000"})


def newest(server: Server) -> str:
    return str(server.query("SHOW BINARY LOGS")[-1][0])


def length(server: Server, file: str) -> int:
    return int(next(size for name, size, *_ in server.query("SHOW BINARY LOGS") if name == file))
