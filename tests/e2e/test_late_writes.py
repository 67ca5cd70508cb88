"""Writes that the source accepts after the cutover, and a stream that lags."""

from pathlib import Path

from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.proxy import Direction, Proxy
from tests.support.servers import Pair
from tests.support.waits import wait_until


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
        assert "Stalled is True: SourceWrittenAfterCutover" in ferry.tail()
