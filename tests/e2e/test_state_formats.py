"""A state of an earlier version is resumed; a state of a newer one, or a damaged one, is refused with a clear reason.

``state_format_1.json`` is what a run of the first version had saved when it was killed after 1,000 of 3,000 rows: the
state file, and the tables that it kept on the target. Names, server and position are replaced.
"""

import contextlib
import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ferry_core.checkpoint.state import FORMAT
from ferry_core.mysql.session import Purpose, Session
from ferry_core.run.setup import source_identity
from hack.servers import Family
from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import ROOT, FerryCli
from tests.support.servers import Pair

POSITION = {Family.MYSQL: "SELECT @@GLOBAL.gtid_executed", Family.MARIADB: "SELECT @@GLOBAL.gtid_binlog_pos"}
KEPT = json.loads((ROOT / "tests/support/state_format_1.json").read_text())
COPIED, ROWS = 1000, 3000

pytestmark = pytest.mark.slow


@pytest.fixture(params=["Local", "Target"])
def cli(request: pytest.FixtureRequest, tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    """Servers and state as that run left them, and changes on the source since."""
    table = f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(40) NOT NULL)"
    for server, count in ((pair.source, ROWS), (pair.target, COPIED)):
        rows = ", ".join(f"({number}, 'v{number}')" for number in range(1, count + 1))
        server.execute(
            f"CREATE DATABASE IF NOT EXISTS `{schema}` CHARACTER SET utf8mb4",
            table,
            f"INSERT INTO `{schema}`.t VALUES {rows}",
        )
    cli = FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "0s", "maxLag": "20s"})
    if request.param == "Target":
        cli.spec["checkpoint"] = {"store": "Target"}
    leave_behind(cli, request.param)
    pair.source.execute(
        f"DELETE FROM `{schema}`.t WHERE id IN (7, 2007)",
        f"UPDATE `{schema}`.t SET v = 'changed' WHERE id IN (8, 2008)",
        f"INSERT INTO `{schema}`.t VALUES (9001, 'new')",
    )
    return cli


def leave_behind(cli: FerryCli, store: str) -> None:
    source, target = cli.pair.source, cli.pair.target
    with Session(source.endpoint(), Purpose.CONTROL) as session:
        identity = source_identity(session)
    known = {
        "@source@": identity,
        "@position@": str(source.value(POSITION[cli.pair.family])).replace("\n", ""),
        "@uid@": cli.uid,
        "@name@": cli.documents[0]["metadata"]["name"],
        "@schema@": cli.schema,
    }

    def named(text: str) -> str:
        return re.sub("@[a-z]+@", lambda found: known[found[0]], text)

    target.execute("CREATE DATABASE IF NOT EXISTS mysql_ferry", *KEPT["tables"])
    for name in ("lease", "checkpoint") if store == "Target" else ("lease",):
        row = [named(value) for value in KEPT["rows"][name]]
        target.query(f"INSERT INTO mysql_ferry.{name} VALUES ({', '.join(['%s'] * len(row))})", row)
    if store == "Local":
        with contextlib.closing(sqlite3.connect(cli.state)) as database:
            database.executescript("\n".join(map(named, KEPT["sqlite"])))


def change(cli: FerryCli, changed: Callable[[dict[str, Any]], str], form: int) -> None:
    """Change the saved state's text and format."""
    if "checkpoint" in cli.spec:
        stored = cli.pair.target.query("SELECT body FROM mysql_ferry.checkpoint WHERE ferry_uid = %s", [cli.uid])
        body = changed(json.loads(stored[0][0]))
        written = "UPDATE mysql_ferry.checkpoint SET body = %s, format = %s WHERE ferry_uid = %s"
        cli.pair.target.query(written, [body, form, cli.uid])
        return
    with contextlib.closing(sqlite3.connect(cli.state)) as database, database:
        database.execute("UPDATE ferry_state SET body = ?, format = ?", [changed(cli.stored()), form])


def arguments(cli: FerryCli) -> list[str]:
    return [] if "checkpoint" in cli.spec else ["--state", str(cli.state)]


def test_a_state_of_the_first_format_is_resumed(cli: FerryCli) -> None:
    with cli.process() as process:
        process.arguments = arguments(cli)
        process.start().wait_stage("ReadyForCutover")
        told = process.log.read_text()
        assert "resumes from its checkpoint" in told
        assert "deleted" not in told
        process.post("cutover")
        process.succeed()
    assert_equal_schemas(cli.pair.source, cli.pair.target, cli.schema)


@pytest.mark.parametrize(
    ("reason", "changed", "form"),
    [
        ("StateTooNew", lambda body: json.dumps(body | {"format": FORMAT + 1, "planets": 9}), FORMAT + 1),
        ("StateCorrupt", lambda body: json.dumps(body | {"planets": 9}), FORMAT),
        ("StateCorrupt", lambda body: json.dumps(body)[:-40], 1),
    ],
    ids=["newer", "unknown field", "cut off"],
)
def test_a_newer_or_damaged_state_is_refused_with_its_reason(
    cli: FerryCli, reason: str, changed: Callable[[dict[str, Any]], str], form: int
) -> None:
    change(cli, changed, form)
    with cli.process() as process:
        process.arguments = arguments(cli)
        assert process.start().wait_end() == 64
        assert f"ferry: {reason}: " in process.tail()
    assert cli.lease() == [(1, "New")]
    assert cli.pair.target.value(f"SELECT COUNT(*) FROM `{cli.schema}`.t") == COPIED
