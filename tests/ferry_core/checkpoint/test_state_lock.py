"""One process at a time uses a state file; the lock ends with its process."""

import os
import subprocess
import sys
from pathlib import Path

from ferry_core.checkpoint.state_lock import StateLock

HOLD = """import sys
from pathlib import Path
from ferry_core.checkpoint.state_lock import StateLock
assert StateLock(Path(sys.argv[1])).acquire() is None
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_and_told_the_holder_until_that_is_killed(tmp_path: Path) -> None:
    state = tmp_path / "orders.ferry.db"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            (tmp_path / "alias.db").symlink_to(state)
            for name in ("orders.ferry.db", "alias.db"):
                said = StateLock(tmp_path / name).acquire()
                assert said is not None
                assert said.startswith(f"process {other.pid} on ")
        finally:
            other.kill()
    lock = StateLock(state)
    assert lock.acquire() is None
    assert StateLock(state).acquire() is not None
    lock.release()
    assert list(tmp_path.iterdir()) == [tmp_path / "alias.db"]


def test_a_lock_whose_file_was_removed_blocks_nobody_and_removes_no_other_lock(tmp_path: Path) -> None:
    state = tmp_path / "orders.ferry.db"
    late = os.open(tmp_path / "orders.ferry.db.lock", os.O_RDWR | os.O_CREAT)
    first, second = StateLock(state), StateLock(state)
    assert first.acquire() is None
    first.release()
    os.close(late)
    assert second.acquire() is None
    assert StateLock(state).acquire() is not None
    second.release()


def test_a_missing_folder_is_left_to_the_store_to_report(tmp_path: Path) -> None:
    lock = StateLock(tmp_path / "nowhere" / "orders.ferry.db")
    assert lock.acquire() is None
    lock.release()
