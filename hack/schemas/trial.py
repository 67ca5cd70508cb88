"""One schema on one family: load, fill, ``ferry check``, a run under writers to Completed, and the comparison.

``python -m hack.schemas`` calls it for each schema of the list. If the check refuses tables, the lines that it prints
are added to ``tables.exclude`` and the rest is moved, so that its advice is tried too.
"""

import contextlib
import json
import re
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pymysql

from hack.installing import cache_folder
from hack.schemas.objects import assert_equal_objects
from hack.schemas.rows import Writers, fill
from hack.schemas.sources import Source
from hack.schemas.statements import load
from hack.servers import Family, create
from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryCli
from tests.support.servers import Pair, Server

_RUN_SECONDS = 500.0
_KINDS = ("views", "routines", "triggers", "events", "sequences")
_ROUNDS = 4
_BLOCKED = re.compile(r"writes blocked (\d+ ms)")


@dataclass
class Outcome:
    """What is known of one schema on one family; in the order in which it becomes known."""

    schema: str
    family: str
    loads: str = ""
    """Why it does not load on this family."""
    tables: int = 0
    empty: int = 0
    objects: int = 0
    rows: int = 0
    check_seconds: float = 0
    refused: dict[str, list[str]] = field(default_factory=dict)
    """The reasons of the first check with the names of the tables."""
    advice: str = ""
    """What went wrong with the lines that the check printed."""
    writes: int = 0
    run_seconds: float = 0
    run: str = ""
    """Completed, or the error line."""
    blocked: str = ""
    equal: str = ""
    """equal, or what differs."""

    @property
    def good(self) -> bool:
        return self.run == "Completed" and self.equal == "equal"

    def line(self) -> str:
        """For a terminal."""
        if self.loads:
            return f"{self.schema} on {self.family}: does not load: {self.loads}"
        reasons = ", ".join(f"{reason} ({len(tables)})" for reason, tables in self.refused.items())
        size = f"{self.tables} tables ({self.empty} empty), {self.rows} rows, {self.objects} other objects"
        found = [
            f"{self.schema} on {self.family}: {size}",
            f"refused by {reasons}" if reasons else f"check passed in {self.check_seconds} s",
            *([self.advice] if self.advice else []),
            f"{'the rest: ' if reasons else ''}{self.run} in {self.run_seconds} s under {self.writes} writes",
            *([f"writes blocked for {self.blocked}"] if self.blocked else []),
            self.equal,
        ]
        return "; ".join(found)


@contextlib.contextmanager
def _servers(family: Family) -> Iterator[Pair]:
    with contextlib.ExitStack() as stack:
        both = []
        for _ in range(2):
            instance = create(family)
            stack.callback(instance.remove)
            instance.start()
            both.append(Server.of(instance))
        yield Pair(*both)


def tried(source: Source, family: Family, rows: int) -> Outcome:
    """Everything, on servers of its own."""
    outcome = Outcome(source.name, str(family))
    with _servers(family) as pair, tempfile.TemporaryDirectory(prefix="ferry-schemas-") as folder:
        seed = zlib.crc32(source.name.encode())
        try:
            load(pair.source, source.schema, source.text())
        except pymysql.Error as error:
            outcome.loads = str(error)
            return outcome
        outcome.rows, empty = fill(pair.source, source.schema, rows, seed)
        outcome.empty = len(empty)
        outcome.tables = pair.source.value(
            f"SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{source.schema}' "
            "AND TABLE_TYPE NOT LIKE '%VIEW'"
        )
        ferry = FerryCli(
            Path(folder), pair, source.schema,
            cutover={"mode": "Automatic", "watchFor": "0s"}, verify={"mode": "Final"},
        )  # fmt: skip
        ferry.spec["schema"] = {"objects": dict.fromkeys(_KINDS, "Create")}
        if _checked(ferry, outcome):
            _run(ferry, outcome, seed)
    return outcome


def _checked(ferry: FerryCli, outcome: Outcome) -> bool:
    """True once nothing is refused, after leaving out what the check says."""
    for round_ in range(_ROUNDS):
        began = time.monotonic()
        ended = ferry.check("--output", "json")
        failed = [one for one in json.loads(ended.stdout)["checks"] if one["status"] == "failed"]
        if not round_:
            outcome.check_seconds = round(time.monotonic() - began, 1)
            for one in failed:
                outcome.refused.setdefault(one["reason"], []).extend(one["exclude"] or [one["message"]])
        if not failed:
            return True
        excluded = {name for one in failed for name in one["exclude"]}
        if not excluded:
            break
        ferry.spec["tables"].setdefault("exclude", []).extend(sorted(excluded))
    outcome.advice = "still refused without these tables: " + "; ".join(
        f"{reason} ({count})" for reason, count in Counter(one["reason"] for one in failed).items()
    )
    outcome.run = failed[0]["message"][:300]
    return False


def _run(ferry: FerryCli, outcome: Outcome, seed: int) -> None:
    pair, schema = ferry.pair, ferry.schema
    began = time.monotonic()
    with Writers(pair.source, schema, seed) as writers:
        ended = ferry.run("--retry-for", "30s", seconds=_RUN_SECONDS)
    outcome.run_seconds = round(time.monotonic() - began, 1)
    outcome.writes = writers.acknowledged.total()
    told = ended.stdout + ended.stderr
    (cache_folder() / "schemas" / "results" / f"{outcome.schema}.{outcome.family}.log").write_text(told)
    outcome.run = "Completed" if ended.code == 0 else (ended.failures or [told[-500:]])[-1]
    found = _BLOCKED.search(told)
    outcome.blocked = found[1] if found else ""
    if ended.code:
        return
    excluded = ferry.spec["tables"].get("exclude", [])
    try:
        assert_equal_schemas(pair.source, pair.target, schema, except_for=[name.partition(".")[2] for name in excluded])
        if not excluded:
            outcome.objects = assert_equal_objects(pair.source, pair.target, schema)
    except AssertionError as error:
        outcome.equal = str(error)
    else:
        outcome.equal = "equal"
