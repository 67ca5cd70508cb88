"""What kubelet, scheduler and nodes can do to a copier, and the user's own mistakes: each is said, and mended without
deleting the Ferry. What can befall the operator is in ``test_operator_faults.py``.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.kubernetes.conftest import Embark
from tests.support.voyage import COPIER, FERRY, SCHEMA, Voyage

pytestmark = pytest.mark.timeout(400)
SLOW = {"maxRowsPerSecond": 1000}


@dataclass(frozen=True)
class Mistake:
    """Parts of a spec that are wrong, words that its message must have, and what the user then does."""

    spec: dict[str, Any]
    said: tuple[str, ...]
    mend: Callable[[Voyage, str], None]


def source(voyage: Voyage, **wrong: object) -> dict[str, Any]:
    server = voyage.pair.source
    right = {"host": server.host, "port": server.port, "credentialsSecretRef": {"name": "source"}}
    return {"source": right | wrong}


def mistakes(voyage: Voyage) -> dict[str, Mistake]:
    """One Ferry each; all at once."""
    server = voyage.pair.source
    voyage.make_secret("wrong", server.user, "not-the-password")
    voyage.kubectl("create", "secret", "generic", "half", "--from-literal=username=root")

    def right(name: str) -> Callable[[Voyage, str], None]:
        return lambda voyage, _: voyage.make_secret(name, server.user, server.password)

    def repoint(voyage: Voyage, name: str) -> None:
        voyage.change(name, **source(voyage))

    def named(name: str) -> dict[str, Any]:
        return source(voyage, credentialsSecretRef={"name": name})

    return {
        "no-secret": Mistake(named("later"), ("Secret later", "does not exist"), right("later")),
        "no-key": Mistake(named("half"), ("half", "password"), right("half")),
        "password": Mistake(named("wrong"), ("denied",), right("wrong")),
        "no-host": Mistake(source(voyage, host="nowhere.example"), ("nowhere.example",), repoint),
        "no-port": Mistake(source(voyage, port=1), (f"{server.host}:1",), repoint),
        "no-image": Mistake(
            {"copier": {"image": "localhost/nothing:1"}},
            ("localhost/nothing:1",),
            lambda voyage, name: voyage.change(name, copier={"image": None}),
        ),
        "no-right": Mistake({"tables": {"include": ["absent.*"]}}, ("absent",), _include_all),
    }


def _include_all(voyage: Voyage, name: str) -> None:
    voyage.change(name, tables={"include": [f"{SCHEMA}.*"]})


def test_each_mistake_is_named_and_mended_in_place(embark: Embark) -> None:
    voyage = embark(odd=0)
    made = mistakes(voyage)
    for name, mistake in made.items():
        tables = {"include": [f"{SCHEMA}.*"], "renameSchemas": {SCHEMA: f"{SCHEMA}_{name.replace('-', '_')}"}}
        spec = mistake.spec | {"tables": tables | mistake.spec.get("tables", {})}
        voyage.set_out(name, **spec)
    for name, mistake in made.items():
        voyage.until_said(name, *mistake.said)
        print(f"{name}: {voyage.status(name)['message']}")
        assert voyage.condition(name, "Succeeded")["status"] != "True"
        assert voyage.condition(name, "Validated")["status"] != "True"
        assert not voyage.source_is_read_only()
    for name, mistake in made.items():
        mistake.mend(voyage, name)
    for name in made:
        voyage.until_said(name, "ready to cut over", seconds=120)
        assert voyage.condition(name, "Stalled")["status"] == "False"
        assert "failure" not in voyage.status(name)


def test_a_quota_that_leaves_no_room_is_told_and_waited_for(embark: Embark) -> None:
    voyage = embark(odd=0)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    voyage.kubectl("apply", "-f", "-", given=quota)
    voyage.set_out()
    voyage.until_said(FERRY, "exceeded quota")
    assert voyage.is_true("Stalled")
    voyage.kubectl("delete", "resourcequota", "none")
    voyage.until_stage("ReadyForCutover")
    assert not voyage.is_true("Stalled")


@pytest.mark.slow  # two minutes and a half: a probe that fails six times, then the grace period
def test_a_hanging_copier_is_said_to_be_silent_and_replaced_by_its_probe(embark: Embark) -> None:
    voyage = embark(rows=20_000, odd=0)
    voyage.set_out(throttle=SLOW)
    voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
    voyage.cluster.kill_process(voyage.namespace, COPIER, "STOP")
    with voyage.another_copier():
        voyage.until_said(FERRY, "has not answered since")
        assert voyage.condition(FERRY, "CaughtUp")["status"] == "Unknown"
    voyage.change(throttle={"maxRowsPerSecond": None})
    voyage.cross()
    voyage.assert_equal()


def test_a_copier_that_needs_more_memory_than_it_may_take(embark: Embark) -> None:
    voyage = embark(rows=2000)

    def memory(limit: str) -> dict[str, Any]:
        return {"template": {"resources": {"requests": {"memory": "16Mi"}, "limits": {"memory": limit}}}}

    with voyage.crew():
        voyage.set_out(copier=memory("24Mi"))
        voyage.until_said(FERRY, "137", "OOMKilled")
        assert voyage.now["copier"]["lastTermination"]["reason"] == "OOMKilled"
        voyage.change(copier=memory("1Gi"))
        voyage.cross()
    voyage.assert_equal()


def test_a_node_that_does_not_answer_keeps_its_copier(embark: Embark) -> None:
    voyage = embark(rows=20_000)
    machine = voyage.cluster.machine
    with voyage.crew():
        voyage.set_out(throttle=SLOW)
        voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
        epoch = voyage.epoch
        machine.signal("kubelet", "STOP")
        try:
            voyage.cluster.kubectl("wait", "--for=condition=Ready=Unknown", "node", "--all", "--timeout=50s")
            copied = voyage.target_rows
            voyage.until(lambda: voyage.target_rows > copied, "rows go on")
        finally:
            machine.signal("kubelet", "CONT")
        voyage.cluster.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=50s")
        voyage.change(throttle={"maxRowsPerSecond": None})
        voyage.cross()
    assert voyage.epoch == epoch
    voyage.assert_equal()


def test_a_node_that_is_lost_is_left_to_a_person(embark: Embark) -> None:
    """Its kubelet is silent, so nobody can tell that the copier has ended; here it has not, and the user is wrong."""
    voyage = embark(rows=60_000)
    machine = voyage.cluster.machine
    taints = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    at_once = [{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1} for key in taints]
    with voyage.crew(), voyage.cluster.another_node():
        # Enough rows for five minutes: it is found lost after the 60 s of its grace and some more.
        voyage.set_out(throttle={"maxRowsPerSecond": 200}, copier={"template": {"tolerations": at_once}})
        voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
        epoch = voyage.epoch
        machine.signal("kubelet", "STOP")
        try:
            voyage.until_said(FERRY, "cannot be confirmed to have ended", "kubectl delete pod", seconds=150)
            assert voyage.condition(FERRY, "Stalled")["reason"] == "NodeLost"
            assert voyage.condition(FERRY, "CaughtUp")["status"] == "Unknown"
            assert voyage.own_objects().count(f"pod/{COPIER}") == 1
            _, way_out = voyage.now["message"].split("kubectl ")
            print(f"kubectl {way_out}")
            voyage.cluster.kubectl(*shlex.split(way_out))
            copied = voyage.target_rows
            voyage.until(lambda: voyage.target_rows > copied, "the lost copier still writes")
            voyage.until_said(FERRY, "no node takes the copier's Pod")
        finally:
            machine.signal("kubelet", "CONT")
        voyage.until(lambda: voyage.epoch > epoch, "another copier has taken over")
        voyage.change(throttle={"maxRowsPerSecond": None})
        voyage.cross()
    assert not voyage.is_true("Stalled")
    voyage.assert_equal()
