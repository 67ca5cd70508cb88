import re
from typing import Any

import pytest

from ferry_core.api.reference import page
from ferry_core.api.spec import Ferry
from ferry_core.api.unsupported import notices, refuse_unsupported
from ferry_core.errors import ConfigError
from tests.support.manifests import ferry_data


def ferry(**spec: Any) -> Ferry:
    return Ferry.model_validate(ferry_data(**spec))


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"cutover": {"sourceLock": "LockTables"}}, "spec.cutover.sourceLock: LockTables"),
    ],
)
def test_what_is_not_built_is_refused_by_name_and_said_in_the_reference(spec: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_unsupported(ferry(**spec))
    assert caught.value.reason == "NotBuiltYet"
    assert named in caught.value.message
    field, _, value = named.partition(":")
    row = next(line for line in page().splitlines() if re.match(rf"\| `{re.escape(field)}(\[\])?`", line))
    assert "ot supported yet" in row
    assert value.strip() in row


def test_what_is_built_passes() -> None:
    refuse_unsupported(ferry(throttle={"maxRowsPerSecond": 5}, cutover={"mode": "Automatic", "sourceLock": "None"}))
    refuse_unsupported(ferry(schema={"onChange": "Recopy", "deferIndexes": True}))


def test_all_defaults_are_built() -> None:
    assert notices(ferry()) == []
    assert "not supported yet: " not in page().lower()


def test_what_acts_in_a_cluster_only_is_said() -> None:
    said = "\n".join(notices(ferry(ttlSecondsAfterFinished=5, copier={"image": "x"})))
    assert "ttlSecondsAfterFinished" in said
    assert "copier.image" in said
