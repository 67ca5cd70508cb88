"""Changes that a directive makes to a running copier, as the operator sends it; and what it cannot change."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryCli, FerryProcess
from tests.support.servers import Pair

ROWS = 3000
SLOW = {"maxRowsPerSecond": 10}  # would take five minutes, unless a directive takes effect


def put(process: FerryProcess, directive: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{process.port}/api/v1/directive",
        data=json.dumps(directive).encode(),
        headers={"Content-Type": "application/json"},
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def workers(process: FerryProcess) -> int:
    """Number of busy and idle workers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{process.port}/metrics", timeout=60) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    found = next(family for family in families if family.name == "ferry_copy_workers")
    return sum(int(sample.value) for sample in found.samples)


def test_throttle_workers_and_cutover_change_during_a_run(pair: Pair, schema: str, tmp_path: Path) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(40))",
        f"INSERT INTO `{schema}`.t VALUES {', '.join(f'({number}, 1)' for number in range(ROWS))}",
    )
    cli = FerryCli(tmp_path / "ferry", pair, schema, throttle=SLOW, copy={"workers": 1}, cutover={"watchFor": "0s"})
    with cli.process() as process:
        process.start().wait_status(lambda status: status["progress"]["rowsCopied"] > 0)
        process.wait_status(lambda _: workers(process) == 1)
        assert put(process, {"generation": 7, "throttle": SLOW, "copy": {"workers": 5}}) == {
            "acknowledgedGeneration": 7
        }
        process.wait_status(lambda _: workers(process) == 5)
        put(process, {"generation": 7, "throttle": SLOW, "copy": {"workers": 2}})
        process.wait_status(lambda _: workers(process) == 2)
        copied = process.status()["progress"]["rowsCopied"]
        assert copied < ROWS / 2
        put(process, {"generation": 6, "throttle": {}})  # older: ignored
        assert process.status()["copier"]["acknowledgedGeneration"] == 7
        with pytest.raises(urllib.error.HTTPError) as refused:
            put(process, {"generation": 8, "verify": {"mode": "None"}})
        assert refused.value.code == 422
        assert json.load(refused.value)["reason"] == "NeedsRestart"
        with pytest.raises(urllib.error.HTTPError) as refused:
            put(process, {"generation": 8, "cutover": {"sourceLock": "LockTables"}, "paused": True})
        assert json.load(refused.value)["reason"] == "NeedsRestart"
        process.wait_status(lambda status: status["phase"] == "Paused")
        assert process.status()["copier"]["acknowledgedGeneration"] == 7
        put(process, {"generation": 8, "cutover": {"mode": "Automatic", "watchFor": "0s"}})
        process.succeed()
        print(f"{copied} rows before the cap was taken away")
    assert_equal_schemas(pair.source, pair.target, schema)
