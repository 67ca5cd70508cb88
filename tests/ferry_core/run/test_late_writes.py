"""When the watch for late writes is over, and what it says if it has not seen everything."""

from collections.abc import Callable

import pytest

from ferry_core.binlog.ending import BinlogEnd
from ferry_core.binlog.sink import StreamMark
from ferry_core.binlog.status import StreamStatus
from ferry_core.errors import ConnectionLost
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import parse_position
from ferry_core.reasons import Reason
from ferry_core.run import late_writes
from ferry_core.run.late_writes import AGAIN_SECONDS, PATIENCE_SECONDS, WatchedEnd
from tests.support.waits import wait_until

END = BinlogEnd("binlog.000007", 1234)


class Source:
    """``read`` bytes of its stream have arrived."""

    def __init__(self) -> None:
        self.clock = 1000.0
        self.gone = False
        self.read = 0
        self.caught_up = False
        self.reached = False

    def ask(self) -> BinlogEnd:
        if self.gone:
            raise ConnectionLost(Reason.CONNECTION_LOST, "source: gone")
        return END

    def status(self) -> StreamStatus:
        mark = StreamMark(0, parse_position(Flavor.MYSQL, ""))
        return StreamStatus(mark, True, None, self.caught_up, None, self.read, {}, 0, 0, {}, "")


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    source = Source()

    class Clock:
        monotonic: Callable[[], float] = staticmethod(lambda: source.clock)

    monkeypatch.setattr(late_writes, "time", Clock)
    return source


def end_of(source: Source) -> WatchedEnd:
    return WatchedEnd(source.ask, lambda end: end == END and source.reached, source.status)


def test_it_is_over_once_the_end_is_read(source: Source) -> None:
    end = end_of(source)
    wait_until(lambda: not end.passed() and "1234" in end.unseen, "the source has told its end")
    source.reached = True
    assert end.passed()


def test_a_stream_that_still_reads_is_waited_for(source: Source) -> None:
    end = end_of(source)
    for _ in range(10):
        source.read += 1
        source.clock += PATIENCE_SECONDS - 1
        assert not end.given_up
    source.clock += PATIENCE_SECONDS + 1
    assert end.given_up


def test_heartbeats_are_no_news(source: Source) -> None:
    source.caught_up, end = True, end_of(source)
    source.read, source.clock = 100, source.clock + PATIENCE_SECONDS + 1
    assert end.given_up


def test_a_source_that_is_gone_for_a_moment_is_asked_again(source: Source) -> None:
    source.gone = source.reached = True
    end = end_of(source)
    wait_until(lambda: not end.passed() and "source: gone" in end.unseen, "the source has not answered")
    source.gone = False
    assert not end.passed()
    source.clock += AGAIN_SECONDS
    wait_until(end.passed, "the source has answered")
