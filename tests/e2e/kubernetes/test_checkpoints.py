"""A checkpoint on a claim instead of the target: it survives Pods and is deleted with the Ferry."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kubernetes.conftest import MakeFerry
from tests.support.cluster_ferry import COPIER, FERRY, ClusterFerry

CLAIM = "checkpoint"


def make_claim(ferry: ClusterFerry) -> Path:
    """A claim in the namespace, bound to a folder of the only node."""
    folder = ferry.cluster.machine.folder / "claims" / ferry.namespace
    folder.mkdir(parents=True)
    node = ferry.cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}").stdout
    here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    size: dict[str, Any] = {"storage": "64Mi"}
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": "local"}
    volume = {
        "capacity": size,
        "local": {"path": str(folder)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
        "claimRef": {"name": CLAIM, "namespace": ferry.namespace},
    }
    claim = {"resources": {"requests": size}, "volumeName": ferry.namespace}
    for kind, name, spec in (
        ("PersistentVolume", ferry.namespace, volume),
        ("PersistentVolumeClaim", CLAIM, claim),
    ):
        made = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": common | spec}
        ferry.kubectl("apply", "-f", "-", given=made)
    return folder


@pytest.mark.always
def test_a_checkpoint_on_a_claim_outlives_its_pods(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=60_000)
    folder = make_claim(ferry)
    with ferry.writers():
        ferry.create(checkpoint={"store": "Volume", "claimName": CLAIM}, throttle={"maxRowsPerSecond": 3000})
        ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
        ferry.wait_until(lambda: ferry.target_rows > 6000, "some more")
        assert len(list(folder.glob("*.db"))) == 1
        ferry.kill_copier()
        ferry.delete_copier()
        ferry.patch_spec(throttle={"maxRowsPerSecond": None})
        ferry.cut_over()
        assert "forgotten run" not in ferry.kubectl("logs", COPIER), "it did not start over"
    ferry.assert_equal()


def test_a_checkpoint_on_a_claim_is_deleted_with_its_ferry(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=20_000)
    folder = make_claim(ferry)
    ferry.create(checkpoint={"store": "Volume", "claimName": CLAIM}, throttle={"maxRowsPerSecond": 1000})
    ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
    assert len(list(folder.glob("*.db"))) == 1
    ferry.kubectl("delete", "ferry", FERRY)
    assert list(folder.iterdir()) == []
    assert not ferry.source_is_read_only()
