"""Two Ferries with the same source: its read_only is one switch, and neither may use the other's lock."""

from pathlib import Path

import pytest

from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryCli
from tests.support.ferry_under_load import FerryUnderLoad, condition, failed_attempt
from tests.support.schemas import create_small_tables
from tests.support.servers import Pair

pytestmark = [pytest.mark.slow, pytest.mark.always]

ODD = 1


def test_a_failed_attempt_does_not_unlock_a_source_that_another_ferry_has_cut_over(
    pair: Pair, schema: str, tmp_path: Path
) -> None:
    """Otherwise the other Ferry would cut over under the first one's lock, which is then removed."""
    other = f"{schema}_2"
    pair.source.execute(f"CREATE DATABASE `{other}`")
    create_small_tables(pair.source, other, "t")
    patient = {"maxLag": "20s", "watchFor": "0s", "maxAttempts": 100, "deadline": "5m"}
    cli = FerryCli(tmp_path / "other", pair, other, cutover=patient)
    once = {"maxAttempts": 1}
    with FerryUnderLoad(pair, schema, tmp_path / "first", odd=ODD, cutover=once) as first, cli.process() as second:
        second.start().wait_stage("ReadyForCutover")
        first.hold_record()
        second.post("cutover")
        second.wait_stage("CuttingOver")
        first.proxy.cut_clients()
        failed_attempt(first.ferry, "TargetLost")
        second.succeed()
        assert first.locked, "the second one's cutover stands"
        first.ferry.post("cutover")
        said = condition(failed_attempt(first.ferry, "SourceReadOnly"), "CutOver")["message"]
        print(said)
        assert "another Ferry cut over from it" in said
        assert first.locked
    assert_equal_schemas(pair.source, pair.target, other)
