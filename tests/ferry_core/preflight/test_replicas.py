"""Replicas to watch: what only a person can change is refused, what may pass by itself is a warning."""

from dataclasses import replace

from ferry_core.mysql.endpoint import Endpoint
from ferry_core.preflight import CheckResult, run_checks
from ferry_core.preflight.result import Status
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.preflight import opened, told
from tests.support.replication import replicating
from tests.support.servers import Pair, free_port


def checked(pair: Pair, schema: str, *replicas: Endpoint) -> list[CheckResult]:
    named = [{"host": one.host, "port": one.port} for one in replicas]
    server = {"host": "ignored", "credentialsSecretRef": {"name": "ignored"}, "replicas": named}
    with opened(pair.source, pair.target, schema, source=server) as context:
        context.replicas = replicas
        return [result for result in run_checks(context) if result.name == "replicas"]


def test_without_replicas_there_is_nothing_to_say(pair: Pair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
    (result,) = checked(pair, schema)
    assert (result.status, result.message) == (Status.PASSED, "")


def test_each_replica_is_asked_for_its_lag(pair: Pair, schema: str, make_server: ServerFactory) -> None:
    pair.source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
    replica = make_server(pair.family.value)
    replica.execute("CREATE USER blind IDENTIFIED BY 'secret-word'")
    whole = replica.endpoint("replica")
    blind = replace(whole, user="blind", password="secret-word")
    wrong = replace(whole, password="another-secret-word")

    (result,) = checked(pair, schema, whole)
    assert (result.status, result.reason) == (Status.FAILED, "NotAReplica")
    assert "does not replicate from any server" in result.message

    with replicating(pair.source, replica) as replication:
        replication.wait_connected()
        (result,) = checked(pair, schema, whole)
        assert (result.status, result.message) == (Status.PASSED, f"{whole.address} is 0 s behind")

        refused = told(checked(pair, schema, blind, wrong))
        grant = "REPLICATION CLIENT" if pair.family is Family.MYSQL else "REPLICA MONITOR"
        assert f"GRANT {grant} ON *.* TO 'blind'" in refused["MissingPrivilege"]
        assert "Access denied" in refused["AccessDenied"]
        assert "secret-word" not in f"{refused}"

        replication.stop_applying()
        warned = told(checked(pair, schema, whole), Status.WARNING)
        assert "is not running" in warned["ReplicaLag"]

    with replicating(pair.target, replica) as replication:
        replication.wait_connected()
        warned = told(checked(pair, schema, whole), Status.WARNING)
        assert "not from source" in warned["NotAReplica"]


def test_a_replica_that_is_down_is_waited_for(pair: Pair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
    gone = replace(pair.source.endpoint("replica"), port=free_port())
    (result,) = checked(pair, schema, gone)
    assert (result.status, result.reason) == (Status.WARNING, "ServerUnreachable")
    assert "the replica's host and port" in result.message
    assert "holds the run back" in result.message
