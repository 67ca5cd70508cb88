"""The end of the drain on a real source: what was read must be there, though perhaps a moment later."""

import time
from collections.abc import Callable
from itertools import count

import pytest

from ferry_core.binlog.ending import BinlogEnd
from ferry_core.binlog.sink import StreamMark
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.cutover.drain import stream_to_end
from ferry_core.cutover.outcome import AttemptFailed
from ferry_core.mysql.gtid import GtidSet, MariaDbGtids, Position, source_position
from ferry_core.mysql.session import Purpose, Session
from tests.support.servers import Server


class AtTheEnd:
    """A stream that has read everything, on MariaDB not what the source has read last."""

    def reached(self, end: BinlogEnd) -> bool:
        return bool(end.file)

    def source_has_last_read(self) -> bool:
        return False

    def prove_history(self) -> None:
        raise AssertionError("only without GTIDs")


def following(position: Position) -> Position:
    """The position after the next commit."""
    if isinstance(position, GtidSet):
        source, intervals = max(position.intervals.items(), key=lambda item: item[1][-1][1])
        return position.add(source, intervals[-1][1] + 1)
    assert isinstance(position, MariaDbGtids)
    domain, last = next(iter(position.domains.items()))
    return position.add(domain, last.server_id, last.sequence + 1)


def drain(server: Server, schema: str, while_it_waits: Callable[[int], None]) -> None:
    """``while_it_waits`` is called with the number of the question before it is asked."""
    server.execute(f"CREATE TABLE `{schema}`.other (id INT PRIMARY KEY)")
    with Session(server.endpoint(), Purpose.CONTROL) as control:
        buffer = ChangeBuffer(StreamMark(0, following(source_position(control))))
        asked = count()

        def wait(once: Callable[[float], bool]) -> bool:
            for _ in range(3):
                while_it_waits(next(asked))
                if once(time.monotonic()):
                    return True
            return False

        stream_to_end(control, AtTheEnd(), buffer, wait, wait)


def test_a_commit_that_is_in_the_binlog_and_not_executed_yet_is_waited_for(server: Server, schema: str) -> None:
    """One on a table that is not locked: it ends in the third round."""

    def commit(number: int) -> None:
        if number == 2:
            server.execute(f"INSERT INTO `{schema}`.other VALUES (1)")

    drain(server, schema, commit)


def test_a_source_that_never_has_it_was_reset(server: Server, schema: str) -> None:
    with pytest.raises(AttemptFailed) as caught:
        drain(server, schema, lambda _: None)
    assert caught.value.reason == "SourceHistoryLost"
