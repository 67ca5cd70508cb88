"""The target's disk is full when the source is locked: writes are allowed again in time, and the run continues with
free space.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.test_faults import fill_disk, finish, schema_of, small_target
from tests.support.ferry_cli import FerryCli
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until

__all__ = ["schema_of", "small_target"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DEADLINE_SECONDS = 5
KIB = 1 << 10


def test_a_full_disk_while_the_source_is_locked(
    small_target: Pair, schema_of: Callable[[Server], str], tmp_path: Path
) -> None:
    """Changes from before the lock do not fit on the target. A server may end itself because of that."""
    source, target = small_target.source, small_target.target
    assert target.instance is not None
    schema = schema_of(source)
    rows = ", ".join(f"({number}, REPEAT('x', {100 * KIB}))" for number in range(100))
    source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY, b LONGBLOB)", f"INSERT INTO {schema}.t VALUES {rows}")
    cutover = {"watchFor": "0s", "maxLag": "10m", "deadline": f"{DEADLINE_SECONDS}s", "maxAttempts": 50}
    bench = FerryCli(tmp_path / "ferry", small_target, schema, cutover=cutover)
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        ballast = fill_disk(target.instance.folder / "data", 0)
        source.execute(f"UPDATE {schema}.t SET b = REPEAT('y', {400 * KIB})")
        process.post("cutover")
        wait_until(lambda: "cutover attempt 1 failed" in process.log.read_text(), "a failed attempt")
        assert source.value("SELECT @@global.read_only") == 0
        log = process.log.read_text()
        (blocked,) = re.findall(r"attempt 1 failed; writes were blocked for (\d+) ms", log)
        assert int(blocked) <= (DEADLINE_SECONDS + 1) * 1000
        assert re.search("(ServerResourceExhausted|ConnectionLost|ServerUnreachable): target 127.0.0.1", log)
        print(*sorted(set(re.findall(r"target [\d.:]+: [^;\n]*\(error \d+\)", log))), f"{blocked} ms", sep="\n")
        ballast.unlink()
        if not target.instance.running:
            target.start()
        finish(bench, process)
