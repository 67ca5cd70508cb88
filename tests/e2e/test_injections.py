"""Rows that somebody else changes on the target, in every way that is easy to overlook, while the source is written to:

each is found and repaired, and no other row is ever taken for one that differs. `make verify-proof` does 1,040 of
them on each family.
"""

import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import FerryProcess
from tests.support.schemas import create_odd_tables, odd_tables
from tests.support.servers import Pair
from tests.support.waits import wait_until
from tests.support.writers import Pace, Writers, seed_of_run

ROUNDS, CLEAN = int(os.environ.get("VERIFY_ROUNDS", "1")), int(os.environ.get("VERIFY_CLEAN", "2"))
A_ROUND = 25
ROWS = 3000
QUIET = """CREATE TABLE `{}`.quiet (id INT PRIMARY KEY, f FLOAT, d DOUBLE, v VARCHAR(40) CHARACTER SET utf8mb4,
l VARCHAR(40) CHARACTER SET latin1, b VARBINARY(20), e ENUM('', 'a', 'b'), flag BOOL, t TEXT, c CHAR(5))"""


def row(at: int) -> str:
    text = "NULL" if at % 5 == 0 else "''"
    return (
        f"({at}, {at} / 7e0, {at} / 7e0, 'row {at}', _latin1 X'E9{at % 90 + 10}', X'00{at % 90 + 10}', 1 + {at % 3}, "
        f"{at % 2}, {text}, 'x')"
    )


def next_float(at: int) -> str:
    """The FLOAT after the row's own: its lowest bit differs, and no digit that a client shows."""
    (bits,) = struct.unpack("<I", struct.pack("<f", at / 7))
    return repr(struct.unpack("<f", struct.pack("<I", bits + 1))[0])


Statement = Callable[[int], str]
KINDS: dict[str, Statement] = {
    "missing": lambda at: f"DELETE FROM quiet WHERE id = {at}",
    "extra": lambda at: f"INSERT INTO quiet (id, v) VALUES ({-at if at % 2 else ROWS + at}, 'extra')",
    "changed": lambda at: f"UPDATE quiet SET v = CONCAT(v, '!') WHERE id = {at}",
    "a float's lowest bit": lambda at: f"UPDATE quiet SET f = {next_float(at)} WHERE id = {at}",
    "a double's last digit": lambda at: f"UPDATE quiet SET d = d * (1 + 3e-16) WHERE id = {at}",
    "a trailing space": lambda at: f"UPDATE quiet SET v = CONCAT(v, ' ') WHERE id = {at}",
    "upper case": lambda at: f"UPDATE quiet SET v = UPPER(v) WHERE id = {at}",
    "a byte of a charset": lambda at: f"UPDATE quiet SET l = REPLACE(l, _latin1 X'E9', _latin1 X'65') WHERE id = {at}",
    "a byte": lambda at: f"UPDATE quiet SET b = CONCAT(b, X'00') WHERE id = {at}",
    "an ENUM": lambda at: f"UPDATE quiet SET e = 1 + {(at + 1) % 3} WHERE id = {at}",
    "NULL for an empty text": lambda at: f"UPDATE quiet SET t = IF(t IS NULL, '', NULL) WHERE id = {at}",
}
FLIPPED = "UPDATE quiet SET flag = 1 - flag WHERE id IN ({}, {})"
"""The same bit in two rows of one chunk: in an XOR of CRCs they cancel each other."""


class Proof:
    """A run that follows changes, with writers on the source."""

    def __init__(self, ferry: FerryProcess, pair: Pair, schema: str) -> None:
        self.ferry, self.pair, self.schema = ferry, pair, schema
        self.requests = 0
        self.found = 0
        self.fresh = list(range(1, ROWS))
        """Rows not injected yet: a row that differs a third time ends the run."""

    def verify(self) -> dict[str, Any]:
        self.ferry.post("verify")
        self.requests += 1
        status = self.ferry.wait_status(lambda status: status["verification"]["requestsAnswered"] >= self.requests)
        return dict(status["verification"])

    def clean(self) -> None:
        found = self.verify()
        assert (found["rowsDiffering"], found["rowsRepaired"]) == (self.found, self.found), "a false alarm"

    def inject(self, rng: random.Random) -> None:
        rows = rng.sample(self.fresh, A_ROUND + 1)
        self.fresh = [at for at in self.fresh if at not in rows]
        one, other = rows.pop(), rows.pop()
        done = [(rng.choice(list(KINDS)), at) for at in rows]
        statements = [KINDS[kind](at) for kind, at in done]
        self.pair.target.execute(f"USE `{self.schema}`", "SET sql_mode = ''", *statements, FLIPPED.format(one, other))
        self.found += len(rows) + 2
        found = self.verify()
        assert (found["rowsDiffering"], found["rowsRepaired"]) == (self.found, self.found), done
        assert_equal_tables(self.pair.source, self.pair.target, f"{self.schema}.quiet")


@pytest.mark.timeout(1200 if ROUNDS == 1 else 7200)
def test_every_injection_is_found_and_nothing_else(pair: Pair, schema: str, tmp_path: Path) -> None:
    seed = seed_of_run()
    rng = random.Random(seed)
    tables = odd_tables(pair.family)
    create_odd_tables(pair.source, schema, tables, seed=seed, share=0.2)
    pair.source.execute(QUIET.format(schema), f"INSERT INTO `{schema}`.quiet VALUES {', '.join(map(row, range(ROWS)))}")
    with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}) as ferry:
        ferry.start()
        with Writers(pair.source, schema, tables, seed, Pace(3, 0.02, xa=False)) as writers:
            ferry.wait_status(lambda status: status["stage"] in ("Streaming", "ReadyForCutover"))
            proof = Proof(ferry, pair, schema)
            wait_until(lambda: _passed(ferry), "the first pass has ended", 300)
            for _ in range(CLEAN):
                proof.clean()
            for _ in range(ROUNDS):
                proof.inject(rng)
            proof.clean()
            print(f"{proof.found} rows injected and found, {proof.requests} passes, {writers.total} writes")
        ferry.cut_over()
    for table in [*(table.name for table in tables), "quiet"]:
        assert_equal_tables(pair.source, pair.target, f"{schema}.{table}")


def _passed(ferry: FerryProcess) -> bool:
    status = ferry.status()
    assert status["verification"]["rowsDiffering"] == 0, "a false alarm"
    return int(status["verification"]["passes"]) > 0
