"""A checkpoint on a claim instead of the target: it outlives Pods, and goes with the Ferry."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kubernetes.conftest import Embark
from tests.support.voyage import COPIER, FERRY, Voyage

pytestmark = pytest.mark.timeout(600)
CLAIM = "checkpoint"


def make_claim(voyage: Voyage) -> Path:
    """A claim of the namespace, bound to a folder of the one node."""
    folder = voyage.cluster.machine.folder / "claims" / voyage.namespace
    folder.mkdir(parents=True)
    node = voyage.cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}").stdout
    here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    size: dict[str, Any] = {"storage": "64Mi"}
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": "local"}
    volume = {
        "capacity": size,
        "local": {"path": str(folder)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
        "claimRef": {"name": CLAIM, "namespace": voyage.namespace},
    }
    claim = {"resources": {"requests": size}, "volumeName": voyage.namespace}
    for kind, name, spec in (
        ("PersistentVolume", voyage.namespace, volume),
        ("PersistentVolumeClaim", CLAIM, claim),
    ):
        made = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": common | spec}
        voyage.kubectl("apply", "-f", "-", given=made)
    return folder


def test_a_checkpoint_on_a_claim_outlives_its_pods(embark: Embark) -> None:
    voyage = embark(rows=60_000)
    folder = make_claim(voyage)
    with voyage.crew():
        voyage.set_out(checkpoint={"store": "Volume", "claimName": CLAIM}, throttle={"maxRowsPerSecond": 3000})
        voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
        voyage.until(lambda: voyage.target_rows > 6000, "some more")
        assert len(list(folder.glob("*.db"))) == 1
        voyage.kill_copier()
        voyage.delete_copier()
        voyage.change(throttle={"maxRowsPerSecond": None})
        voyage.cross()
        assert "forgotten run" not in voyage.kubectl("logs", COPIER), "it did not begin anew"
    voyage.assert_equal()


def test_a_checkpoint_on_a_claim_goes_with_its_ferry(embark: Embark) -> None:
    voyage = embark(rows=20_000)
    folder = make_claim(voyage)
    voyage.set_out(checkpoint={"store": "Volume", "claimName": CLAIM}, throttle={"maxRowsPerSecond": 1000})
    voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
    assert len(list(folder.glob("*.db"))) == 1
    voyage.kubectl("delete", "ferry", FERRY)
    assert list(folder.iterdir()) == []
    assert not voyage.source_is_read_only()
