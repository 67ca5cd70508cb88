"""A whole move over the Unix sockets of both servers, which listen on TCP for the test alone."""

from pathlib import Path

import pytest

from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryProcess, ferry
from tests.support.manifests import Data
from tests.support.servers import Pair, Server

pytestmark = pytest.mark.slow


def socket_of(server: Server) -> str:
    """As this process sees it: some servers run with a file system of their own."""
    if server.instance is None:
        return str(server.value("SELECT @@socket"))
    return str(server.instance.socket)


def test_a_move_over_sockets_with_a_kill(pair: Pair, schema: str, tmp_path: Path) -> None:
    """Accounts of localhost alone cannot log in by TCP, so every connection of the run must use the socket."""
    account = f"ferry_{schema}"[:32]
    password = "by the socket"
    sockets = {role: socket_of(server) for role, server in (("source", pair.source), ("target", pair.target))}
    pair.source.execute(
        f"CREATE TABLE {schema}.t (id INT PRIMARY KEY, v INT NOT NULL)",
        f"INSERT INTO {schema}.t VALUES (1, 1), (2, 2)",
    )
    for server in (pair.source, pair.target):
        server.execute(
            f"CREATE USER {account}@localhost IDENTIFIED BY '{password}'",
            f"GRANT ALL ON *.* TO {account}@localhost WITH GRANT OPTION",
        )

    def over_sockets(documents: list[Data]) -> None:
        for role, path in sockets.items():
            end = documents[0]["spec"][role]
            del end["host"], end["port"]
            end["socket"] = path
        for secret in documents[1:]:
            secret["stringData"] = {"username": account, "password": password}

    try:
        with FerryProcess(
            tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}, cutover={"watchFor": "0s", "maxLag": "20s"}
        ) as process:
            process.edit(over_sockets)
            checked = process.command("check")
            assert checked.code == 0, checked
            process.start().wait_stage("ReadyForCutover")
            pair.source.execute(f"INSERT INTO {schema}.t VALUES (3, 3)")
            assert process.process is not None
            process.process.kill()
            process.process.wait()
            pair.source.execute(f"UPDATE {schema}.t SET v = 4 WHERE id = 1")
            process.start().wait_stage("ReadyForCutover")
            process.cut_over()
            assert f"the target, {sockets['target']}" in process.log.read_text()
        assert_equal_schemas(pair.source, pair.target, schema)
        assert pair.target.query(f"SELECT v FROM {schema}.t ORDER BY id") == [(4,), (2,), (3,)]
    finally:
        pair.source.execute("SET GLOBAL read_only = OFF")
        for server in (pair.source, pair.target):
            server.execute(f"DROP USER {account}@localhost")


def test_a_drafted_manifest_over_sockets(pair: Pair, schema: str, tmp_path: Path) -> None:
    pair.source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
    (tmp_path / "password").write_text(pair.source.password)
    options = [
        word
        for role, server in (("source", pair.source), ("target", pair.target))
        for word in (f"--{role}", f"{server.user}@{socket_of(server)}", f"--{role}-password-file", "password")
    ]
    drafted = ferry("init", *options, "--include", f"{schema}.*", cwd=tmp_path)
    assert drafted.code == 0, drafted
    assert f'    socket: "{socket_of(pair.source)}"' in (tmp_path / "ferry.yaml").read_text()
    missing = str(tmp_path / "none.sock")
    refused = ferry(
        "init", "-f", "x.yaml", "--source", f"root@{missing}", *options[2:], "--include", "a.*", cwd=tmp_path
    )
    refused.refused(75, "ServerUnreachable", f"source {missing}", "No such file", "spec.source.socket")
