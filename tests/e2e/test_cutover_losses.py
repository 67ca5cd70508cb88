"""A server is unavailable past the deadline while writes on the source are stopped: afterwards writes are allowed
again.
"""

from pathlib import Path

import pytest

from tests.support.ferry_under_load import FerryUnderLoad, condition
from tests.support.servers import Pair
from tests.support.waits import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.always]

ODD = 3


def test_a_target_lost_past_the_deadline_leaves_the_source_writable(pair: Pair, schema: str, tmp_path: Path) -> None:
    """Writes are allowed even while the target is away, because it is asked only after the record was sent. Its lease
    row is corrected when it is back.
    """
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD, cutover={"deadline": "30s"}) as under_load:
        before = under_load.read_only()
        under_load.ferry.start()
        with under_load.held_in_drain():
            under_load.proxy.refuse()
            under_load.proxy.cut_clients()
            status = under_load.ferry.wait_status(lambda status: status["cutover"]["lastResult"])
            assert status["cutover"]["lastResult"] in ("DeadlineExceeded", "ConnectionLost", "ServerUnreachable")
            assert under_load.read_only() == before == (0,) * len(before)
            print(condition(status, "CutOver")["message"], status["cutover"])
            assert status["cutover"]["attempts"] == 1
            under_load.proxy.accept()
            wait_until(lambda: under_load.phase() == "Streaming", "the lease says that the attempt is over")
        under_load.finish(approve=False)


def test_a_source_lost_past_the_deadline_is_writable_when_it_is_back(pair: Pair, schema: str, tmp_path: Path) -> None:
    """The restarted source has no lock, and nothing sent to the old one may lock it."""
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD, cutover={"deadline": "30s"}) as under_load:
        before = under_load.read_only()
        under_load.ferry.start()
        with under_load.held_in_drain():
            pair.source.kill()
            # Reported once the attempt has failed, while nothing can unlock the source.
            under_load.ferry.wait_status(lambda status: condition(status, "CutOver")["reason"] == "SourceLocked")
            pair.source.start()
            status = under_load.ferry.wait_status(lambda status: status["cutover"]["lastResult"])
            assert under_load.read_only() == before == (0,) * len(before)
            print(condition(status, "CutOver")["message"], status["cutover"])
            assert status["cutover"]["attempts"] == 1
            # The drain may have been waiting for the source at that moment.
            assert status["cutover"]["lastResult"] in ("DeadlineExceeded", "ConnectionLost", "ServerUnreachable")
            assert under_load.phase() == "Streaming"
        pair.source.execute(f"UPDATE `{schema}`.aim SET v = 5 WHERE id = 2")
        under_load.finish(approve=False)
        assert under_load.locked
