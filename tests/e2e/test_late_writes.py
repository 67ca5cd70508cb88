"""Writes that the source accepts after the cutover, and a stream that lags."""

from pathlib import Path

import pytest

from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.proxy import Direction, Proxy
from tests.support.servers import Pair
from tests.support.waits import wait_until

pytestmark = pytest.mark.always


def test_a_late_write_that_is_streamed_after_the_watch_is_reported(pair: Pair, schema: str, tmp_path: Path) -> None:
    """The stream lags by more than cutover.watchFor."""
    cutover = {"sourceLock": "None", "watchFor": "1s"}
    with (
        FerryUnderLoad(pair, schema, tmp_path, odd=1, cutover=cutover) as under_load,
        Proxy(pair.source.host, pair.source.port) as stream,
        under_load.another("lagging", source_port=stream.port) as ferry,
    ):
        under_load.ferry = ferry
        under_load.hold_record()
        stream.pause(Direction.TO_CLIENT)
        pair.source.execute(f"UPDATE `{schema}`.aim SET v = 1000 WHERE id = 1")
        under_load.proxy.release()
        wait_until(lambda: "the watch ends once" in ferry.tail(), "the window of the watch is over")
        stream.resume()
        assert ferry.wait_end() == 65, ferry.tail()
        assert "SourceWrittenAfterCutover: a person is needed: " in ferry.tail()
        assert f"{schema}.aim: 1 row (id=1)" in ferry.tail()


@pytest.mark.parametrize("killed", [True, False])
def test_a_start_after_a_watch_that_was_killed_says_so(pair: Pair, schema: str, tmp_path: Path, killed: bool) -> None:
    """What the source takes from then on is on no target, and no run has read it."""
    cutover = {"sourceLock": "None", "watchFor": "60s" if killed else "0s"}
    with FerryUnderLoad(pair, schema, tmp_path, odd=1, cutover=cutover) as under_load:
        ferry = under_load.approve()
        if killed:
            wait_until(lambda: "watching the source for late writes" in ferry.tail(), "the watch")
            ferry.kill()
            pair.source.execute(f"UPDATE `{schema}`.aim SET v = 1000 WHERE id = 1")
        else:
            ferry.succeed()
        ferry.start().succeed()
        assert ("nobody has looked for later writes" in ferry.tail()) is killed
