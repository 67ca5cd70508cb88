"""A whole move over IPv6: both servers, the ControlServer and the commands that reach it."""

from pathlib import Path

import pytest

from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryCli, ferry
from tests.support.servers import Pair

pytestmark = pytest.mark.slow

LOOPBACK = "::1"


@pytest.mark.parametrize("family", list(Family))
def test_a_move_over_ipv6(family: Family, make_server: ServerFactory, schema: str, tmp_path: Path) -> None:
    pair = Pair(*(make_server(family, bind_address=LOOPBACK) for _ in range(2)))
    pair.source.execute(
        f"CREATE DATABASE {schema}",
        f"CREATE TABLE {schema}.t (id INT PRIMARY KEY, v INT NOT NULL)",
        f"INSERT INTO {schema}.t VALUES (1, 1), (2, 2)",
    )
    cli = FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "0s", "maxLag": "20s"})
    checked = cli.check()
    assert checked.code == 0, checked
    with cli.process() as process:
        process.host = f"[{LOOPBACK}]"
        process.start().wait_stage("ReadyForCutover")
        said = ferry("status", "--server", f"http://[{LOOPBACK}]:{process.port}", cwd=tmp_path)
        assert "ReadyForCutover" in said.stdout, said
        pair.source.execute(f"UPDATE {schema}.t SET v = 3 WHERE id = 1")
        process.cut_over()
        assert f"[{LOOPBACK}]:{pair.target.port}" in process.log.read_text(), "hosts are in brackets"
    assert_equal_schemas(pair.source, pair.target, schema)
