"""One live run of a Ferry at a time: a silent holder is waited for, a live one blocks others, a takeover ends it."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from ferry_core.consistency.fence import Fence
from ferry_core.consistency.holder import PATIENCE_SECONDS, Presence, read_holder, record_holder
from ferry_core.mysql.session import Purpose, Session
from tests.support.servers import Pair
from tests.support.waits import wait_until

Maker = Callable[[], Presence]


@pytest.fixture
def uid() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def make(pair: Pair, uid: str) -> Iterator[Maker]:
    made: list[Presence] = []

    def one() -> Presence:
        made.append(Presence(lambda: Session(pair.target.endpoint("target"), Purpose.CONTROL), uid))
        return made[-1]

    yield one
    for presence in made:
        presence.leave()


def test_a_live_run_keeps_a_second_one_out_until_it_leaves(make: Maker) -> None:
    first = make()
    assert first.enter(take_over=False, wait=time.sleep) is None
    began = time.monotonic()
    said = make().enter(take_over=False, wait=time.sleep)
    assert said is not None
    assert "connected from " in said
    assert time.monotonic() - began < PATIENCE_SECONDS, "it was found out by what it says, not by waiting"
    first.leave()
    assert make().enter(take_over=False, wait=time.sleep) is None


def test_a_run_that_takes_over_keeps_the_lock(make: Maker) -> None:
    assert make().enter(take_over=False, wait=time.sleep) is None
    assert make().enter(take_over=True, wait=time.sleep) is None
    assert make().enter(take_over=False, wait=time.sleep) is not None


def test_a_silent_holder_is_waited_for(pair: Pair, uid: str, make: Maker) -> None:
    """Like a machine that is off: its connection stays open until the server's timeout."""
    waits = 0

    def wait(seconds: float) -> None:
        nonlocal waits
        waits += 1
        time.sleep(seconds)

    with contextlib.closing(pair.target.connect()) as dead:
        cursor = dead.cursor()
        cursor.execute("SET SESSION wait_timeout = 8")
        cursor.execute("SELECT GET_LOCK(%s, 0)", (f"ferry:{uid}:run",))
        assert cursor.fetchall() == ((1,),)
        assert make().enter(take_over=False, wait=wait) is None
    assert waits > 1


def test_a_run_whose_connection_was_killed_takes_the_lock_again(pair: Pair, uid: str, make: Maker) -> None:
    assert make().enter(take_over=False, wait=time.sleep) is None
    name = f"IS_USED_LOCK('ferry:{uid}:run')"
    before = pair.target.value(f"SELECT {name}")
    pair.target.execute(f"KILL {before}")
    wait_until(lambda: pair.target.value(f"SELECT {name}") not in (None, before), "it is alive again")


def test_the_row_names_the_first_and_the_newest_run(pair: Pair, uid: str) -> None:
    def connect() -> Session:
        return Session(pair.target.endpoint("target"), Purpose.TARGET)

    with connect() as session:
        for state in ("state file /a", "state file /ä b"):
            fence, _ = Fence.take(connect, uid, "shop/orders", "s")
            with fence.exclusively() as (exclusive, _):
                record_holder(exclusive, uid, fence.epoch, state)
        found = read_holder(session, uid)
        assert found is not None
        assert (found.state, found.began <= found.since) == ("state file /ä b", True)
        assert read_holder(session, "nobody") is None
