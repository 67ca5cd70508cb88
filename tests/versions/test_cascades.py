"""Foreign keys with cascades from every release that people upgrade from: which of them log no cascade differs."""

import random
from pathlib import Path

import pytest

from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import STREAMING, FerryProcess
from tests.support.related_tables import FOLLOWED, RelatedWriters, create
from tests.support.servers import Pair
from tests.support.writers import seed_of_run
from tests.versions.matrix import CASCADES

KILLS = 2
CHANGES_BEFORE_CUTOVER = 300


@pytest.mark.parametrize("versions", CASCADES, ids=" to ".join, indirect=True)
def test_random_changes_of_related_tables(versions: Pair, tmp_path: Path) -> None:
    schema, seed = "related", seed_of_run()
    create(versions.source, schema, seed, 2000, FOLLOWED)
    rng = random.Random(seed)
    cutover = {"mode": "Manual", "watchFor": "0s", "maxLag": "30s", "deadline": "60s"}
    slow = {"maxRowsPerSecond": 100}  # so that a copy takes longer than a kill
    tables = {"include": [f"{schema}.*"]}
    with FerryProcess(tmp_path / "ferry", versions, throttle=slow, tables=tables, cutover=cutover) as ferry:
        with RelatedWriters(versions.source, schema, seed, FOLLOWED) as writers:
            for _ in range(KILLS):
                ferry.start()
                ferry.wait_stage(rng.choice(("Copying", "Streaming")), *STREAMING)
                writers.wait(rng.randrange(CHANGES_BEFORE_CUTOVER))
                ferry.kill()
            ferry.start_streaming()
            writers.wait(CHANGES_BEFORE_CUTOVER)
            ferry.cut_over()
        print(assert_equal_schemas(versions.source, versions.target, schema))
