"""A run waits for a real replica that lags, says so, and goes on once the replica has caught up."""

import json
from pathlib import Path

from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryCli
from tests.support.replication import replicating
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until

ROWS = 100


def lag(replica: Server) -> float:
    statement = "SHOW REPLICA STATUS" if replica.family is Family.MYSQL else "SHOW SLAVE STATUS"
    return float(replica.query(statement)[0][32] or 0)


def test_a_replica_that_lags_holds_the_copy_back(
    pair: Pair, schema: str, make_server: ServerFactory, tmp_path: Path
) -> None:
    replica = make_server(pair.family.value)
    privilege = "REPLICATION CLIENT" if pair.family is Family.MYSQL else "REPLICA MONITOR"
    replica.execute("CREATE USER watcher IDENTIFIED BY 'own-password'", f"GRANT {privilege} ON *.* TO watcher")
    pair.source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
    replica.execute(f"CREATE DATABASE {schema}", f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
    cli = FerryCli(tmp_path / "ferry", pair, schema, cutover={"mode": "Automatic", "watchFor": "0s"})
    # The test's MariaDB has no certificate.
    tls = {"mode": "Required" if pair.family is Family.MYSQL else "Disabled"}
    own = {"credentialsSecretRef": {"name": "watcher"}, "tls": tls}
    cli.spec["source"]["replicas"] = [{"host": replica.host, "port": replica.port} | own]
    cli.spec["throttle"] = {"maxReplicaLag": "2s"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "watcher", "namespace": "tests"}}
    cli.documents = (*cli.documents, secret | {"stringData": {"username": "watcher", "password": "own-password"}})
    with replicating(pair.source, replica) as replication, cli.process() as process:
        with replication.held_up():
            values = ", ".join(f"({number})" for number in range(ROWS))
            pair.source.execute(f"INSERT INTO {schema}.t VALUES {values}")
            wait_until(lambda: lag(replica) > 2, "the replica lags")
            process.start()
            status = process.wait_status(lambda status: status["throttle"]["active"])
            print(json.dumps(status["throttle"]))
            assert status["throttle"]["reason"].startswith("replica-lag ")
            assert "> 2s" in status["throttle"]["reason"]
            (condition,) = [one for one in status["conditions"] if one["type"] == "Throttled"]
            assert (condition["status"], condition["reason"]) == ("True", "ReplicaLag")
            assert pair.target.value(f"SELECT COUNT(*) FROM {schema}.t") == 0
        process.succeed()
    assert_equal_schemas(pair.source, pair.target, schema)
