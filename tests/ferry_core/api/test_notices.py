from typing import Any

from ferry_core.api.notices import notices
from ferry_core.api.reference import page
from ferry_core.api.spec import Ferry
from tests.support.manifests import ferry_data


def ferry(**spec: Any) -> Ferry:
    return Ferry.model_validate(ferry_data(**spec))


def test_every_field_is_supported() -> None:
    server = {"host": "127.0.0.1", "credentialsSecretRef": {"name": "x"}}
    assert notices(ferry(source=server, target=server | {"port": 3307})) == []
    assert "not supported yet" not in page().lower()


def test_what_acts_in_a_cluster_only_is_said() -> None:
    said = "\n".join(notices(ferry(ttlSecondsAfterFinished=5, copier={"image": "x"})))
    assert "ttlSecondsAfterFinished" in said
    assert "copier.image" in said
