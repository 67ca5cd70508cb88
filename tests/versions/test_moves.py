"""A whole move between each two releases that people upgrade between: writers, a kill, an automatic cutover."""

from pathlib import Path

import pytest

from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.servers import Pair
from tests.versions.matrix import MOVES

BULK_ROWS = 6_000


@pytest.mark.parametrize("versions", MOVES, ids=" to ".join, indirect=True)
def test_a_move_between_releases(versions: Pair, tmp_path: Path) -> None:
    schema = "versions"
    versions.source.execute(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")
    with FerryUnderLoad(versions, schema, tmp_path, rows=BULK_ROWS) as moving, moving.writers() as writers:
        moving.ferry.start().wait_stage("Copying", "Streaming", "ReadyForCutover")
        writers.wait_for_every_kind()
        moving.ferry.kill()
        moving.ferry.start()
        moving.finish(writers=writers)
