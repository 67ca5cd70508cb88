"""Tables without a key that a stranger might have: each moved while it is written to, with equal rows kept."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import STREAMING, FerryProcess
from tests.support.keyless import assert_same_rows
from tests.support.servers import Pair
from tests.support.waits import Background
from tests.support.writers import seed_of_run

CUTOVER = {"mode": "Manual", "watchFor": "0s", "maxLag": "20s", "maxAttempts": 100, "deadline": "5m"}
TABLES = (
    "CREATE TABLE parts (n INT, note VARCHAR(40)) PARTITION BY HASH (n) PARTITIONS 4",
    "CREATE TABLE computed (n INT, v INT AS (n * 2) VIRTUAL, s INT AS (n + 1) STORED, KEY (s), KEY (v))",
    "CREATE TABLE searched (n INT, body TEXT, FULLTEXT KEY (body))",
    # UNIQUE and full of NULL: no key, but enough for a foreign key to it.
    "CREATE TABLE husband (n INT, u INT UNIQUE, r INT)",
    "CREATE TABLE wife (n INT, u INT UNIQUE, r INT, CONSTRAINT to_husband FOREIGN KEY (r) REFERENCES husband (u))",
    "ALTER TABLE husband ADD CONSTRAINT to_wife FOREIGN KEY (r) REFERENCES wife (u)",
    "CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, n INT)",
    "CREATE TABLE audit (n INT, what VARCHAR(10))",
    "CREATE TRIGGER noted AFTER INSERT ON orders FOR EACH ROW INSERT INTO audit VALUES (NEW.n, 'new'), (NEW.n, 'new')",
    "INSERT INTO husband VALUES (1, 1, NULL), (1, NULL, NULL), (1, NULL, NULL)",
    "INSERT INTO wife VALUES (1, 1, 1), (1, NULL, 1), (1, NULL, 1)",
)
CHANGES = (
    "INSERT INTO parts VALUES ({0}, 'a'), ({0}, 'a')",
    "UPDATE parts SET n = n + 1 WHERE n = {0} LIMIT 1",
    "DELETE FROM parts WHERE n = {0} LIMIT 1",
    "INSERT INTO computed (n) VALUES ({0}), ({0})",
    "UPDATE computed SET n = {0} LIMIT 1",
    "INSERT INTO searched VALUES ({0}, 'the quick fox'), ({0}, 'the quick fox')",
    "DELETE FROM searched WHERE MATCH (body) AGAINST ('quick') LIMIT 1",
    "INSERT INTO husband VALUES ({0}, NULL, 1), ({0}, NULL, 1)",
    "UPDATE wife SET r = NULL WHERE u IS NULL LIMIT 1",
    "INSERT INTO wife VALUES ({0}, NULL, 1)",
    "INSERT INTO orders (n) VALUES ({0}), ({0})",
)
NAMES = ("parts", "computed", "searched", "husband", "wife", "orders", "audit")


@contextmanager
def writing(pair: Pair, schema: str) -> Iterator[None]:
    """An application in a thread of its own. Raises what ended it."""
    over, rng = threading.Event(), random.Random(seed_of_run())

    def change() -> None:
        while not over.wait(0.02):
            pair.source.execute(f"USE `{schema}`", rng.choice(CHANGES).format(rng.randrange(4)))

    application = Background(change)
    try:
        yield
    finally:
        over.set()
        application.join()


def test_they_are_moved_over_kills(pair: Pair, schema: str, tmp_path: Path) -> None:
    pair.source.execute(f"USE `{schema}`", *TABLES)
    with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}, cutover=CUTOVER) as ferry:
        with writing(pair, schema):
            ferry.start().wait_stage("Copying", *STREAMING)
            ferry.kill()
            ferry.start().wait_stage(*STREAMING)
            ferry.kill()
            ferry.start().wait_stage("ReadyForCutover")
        ferry.cut_over()
    for name in NAMES:
        assert assert_same_rows(pair.source, pair.target, schema, name) > 0
        assert_equal_tables(pair.source, pair.target, f"{schema}.{name}")
