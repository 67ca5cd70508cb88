"""Faults of kubelet, scheduler and nodes, and the user's own mistakes: each is reported, and can be fixed without
deleting the Ferry. Faults of the operator are in ``test_operator_faults.py``.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.kubernetes.conftest import MakeFerry
from tests.support.cluster_ferry import COPIER, FERRY, SCHEMA, ClusterFerry
from tests.support.waits import PATIENCE_SECONDS

SLOW = {"maxRowsPerSecond": 1000}


@dataclass(frozen=True)
class Mistake:
    """Wrong parts of a spec, words that the message must contain, and how the user fixes it."""

    spec: dict[str, Any]
    said: tuple[str, ...]
    fix: Callable[[ClusterFerry, str], None]


def source(ferry: ClusterFerry, **wrong: object) -> dict[str, Any]:
    server = ferry.pair.source
    right = {"host": server.host, "port": server.port, "credentialsSecretRef": {"name": "source"}}
    return {"source": right | wrong}


def mistakes(ferry: ClusterFerry) -> dict[str, Mistake]:
    """One Ferry for each, all at once."""
    server = ferry.pair.source
    ferry.make_secret("wrong", server.user, "not-the-password")
    ferry.kubectl("create", "secret", "generic", "half", "--from-literal=username=root")

    def right(name: str) -> Callable[[ClusterFerry, str], None]:
        return lambda ferry, _: ferry.make_secret(name, server.user, server.password)

    def repoint(ferry: ClusterFerry, name: str) -> None:
        ferry.patch_spec(name, **source(ferry))

    def named(name: str) -> dict[str, Any]:
        return source(ferry, credentialsSecretRef={"name": name})

    return {
        "no-secret": Mistake(named("later"), ("Secret later", "does not exist"), right("later")),
        "no-key": Mistake(named("half"), ("half", "password"), right("half")),
        "password": Mistake(named("wrong"), ("denied",), right("wrong")),
        "no-host": Mistake(source(ferry, host="nowhere.example"), ("nowhere.example",), repoint),
        "no-port": Mistake(source(ferry, port=1), (f"{server.host}:1",), repoint),
        "no-image": Mistake(
            {"copier": {"image": "localhost/nothing:1"}},
            ("localhost/nothing:1",),
            lambda ferry, name: ferry.patch_spec(name, copier={"image": None}),
        ),
        "no-right": Mistake({"tables": {"include": ["absent.*"]}}, ("absent",), _include_all),
    }


def _include_all(ferry: ClusterFerry, name: str) -> None:
    ferry.patch_spec(name, tables={"include": [f"{SCHEMA}.*"]})


def test_each_mistake_is_reported_and_can_be_fixed_in_place(make_ferry: MakeFerry) -> None:
    """As many Pods as there are mistakes start at the same time, so each of them takes so much longer."""
    ferry = make_ferry(odd=0)
    made = mistakes(ferry)
    patience = PATIENCE_SECONDS * len(made)
    for name, mistake in made.items():
        tables = {"include": [f"{SCHEMA}.*"], "renameSchemas": {SCHEMA: f"{SCHEMA}_{name.replace('-', '_')}"}}
        spec = mistake.spec | {"tables": tables | mistake.spec.get("tables", {})}
        ferry.create(name, **spec)
    for name, mistake in made.items():
        ferry.wait_for_message(name, *mistake.said, seconds=patience)
        print(f"{name}: {ferry.status(name)['message']}")
        assert ferry.condition(name, "Succeeded")["status"] != "True"
        assert ferry.condition(name, "Validated")["status"] != "True"
        assert not ferry.source_is_read_only()
    for name, mistake in made.items():
        mistake.fix(ferry, name)
    for name in made:
        ferry.wait_for_message(name, "ready to cut over", seconds=patience)
        assert ferry.condition(name, "Stalled")["status"] == "False"
        assert "failure" not in ferry.status(name)


def test_an_exhausted_quota_is_reported_and_retried(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(odd=0)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    ferry.kubectl("apply", "-f", "-", given=quota)
    ferry.create()
    ferry.wait_for_message(FERRY, "exceeded quota")
    assert ferry.is_true("Stalled")
    ferry.kubectl("delete", "resourcequota", "none")
    ferry.wait_for_stage("ReadyForCutover")
    assert not ferry.is_true("Stalled")


@pytest.mark.slow  # two minutes and a half: a probe that fails six times, then the grace period
def test_a_hanging_copier_is_reported_silent_and_ended_by_its_probe(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=20_000, odd=0)
    ferry.create(throttle=SLOW)
    ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
    ferry.cluster.kill_process(ferry.namespace, COPIER, "STOP")
    with ferry.another_copier():
        ferry.wait_for_message(FERRY, "has not answered since")
        assert ferry.condition(FERRY, "CaughtUp")["status"] == "Unknown"
    ferry.patch_spec(throttle={"maxRowsPerSecond": None})
    ferry.cut_over()
    ferry.assert_equal()


def test_a_copier_over_its_memory_limit_is_reported(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=2000)

    def memory(limit: str) -> dict[str, Any]:
        return {"template": {"resources": {"requests": {"memory": "16Mi"}, "limits": {"memory": limit}}}}

    with ferry.writers():
        ferry.create(copier=memory("24Mi"))
        ferry.wait_for_message(FERRY, "137", "OOMKilled")
        assert ferry.current_status["copier"]["lastTermination"]["reason"] == "OOMKilled"
        ferry.patch_spec(copier=memory("1Gi"))
        ferry.cut_over()
    ferry.assert_equal()


def test_a_node_that_does_not_answer_keeps_its_copier(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=60_000)
    machine = ferry.cluster.machine
    with ferry.writers():
        ferry.create(throttle=SLOW)
        ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
        epoch = ferry.epoch
        machine.signal("kubelet", "STOP")
        try:
            ferry.cluster.kubectl("wait", "--for=condition=Ready=Unknown", "node", "--all", "--timeout=170s")
            copied = ferry.target_rows
            ferry.wait_until(lambda: ferry.target_rows > copied, "rows go on")
        finally:
            machine.signal("kubelet", "CONT")
        ferry.cluster.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=170s")
        ferry.patch_spec(throttle={"maxRowsPerSecond": None})
        ferry.cut_over()
    assert ferry.epoch == epoch
    ferry.assert_equal()


@pytest.mark.always
def test_a_lost_node_is_reported_and_needs_a_person(make_ferry: MakeFerry) -> None:
    """Its kubelet does not answer, so nobody knows whether the copier has ended. In this test it is still running."""
    ferry = make_ferry(rows=60_000)
    machine = ferry.cluster.machine
    taints = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    at_once = [{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1} for key in taints]
    with ferry.writers(), ferry.cluster.another_node():
        # Enough rows for five minutes: the Pod counts as lost 60 s after its grace period.
        ferry.create(throttle={"maxRowsPerSecond": 200}, copier={"template": {"tolerations": at_once}})
        ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
        epoch = ferry.epoch
        machine.signal("kubelet", "STOP")
        try:
            ferry.wait_for_message(FERRY, "cannot confirm that Pod", "kubectl delete pod")
            assert ferry.condition(FERRY, "Stalled")["reason"] == "NodeLost"
            assert ferry.condition(FERRY, "CaughtUp")["status"] == "Unknown"
            assert ferry.own_objects().count(f"pod/{COPIER}") == 1
            _, way_out = ferry.current_status["message"].split("kubectl ")
            print(f"kubectl {way_out}")
            ferry.cluster.kubectl(*shlex.split(way_out))
            copied = ferry.target_rows
            ferry.wait_until(lambda: ferry.target_rows > copied, "the lost copier still writes")
            ferry.wait_for_message(FERRY, "no node accepts the copier's Pod")
        finally:
            machine.signal("kubelet", "CONT")
        ferry.wait_until(lambda: ferry.epoch > epoch, "another copier has taken over")
        ferry.patch_spec(throttle={"maxRowsPerSecond": None})
        ferry.cut_over()
    assert not ferry.is_true("Stalled")
    ferry.assert_equal()
