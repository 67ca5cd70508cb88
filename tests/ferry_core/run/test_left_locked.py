"""Whose writes an attempt stopped, by the lease, if the source is a replica."""

from typing import TYPE_CHECKING, cast

import pytest

from ferry_core.api.spec import Ferry
from ferry_core.run.left_locked import _elsewhere

if TYPE_CHECKING:
    from ferry_core.workers.connections import Connections

OLD, NEW = "old-primary", "new-primary"


class WithPrimary:
    has_primary = True


@pytest.mark.parametrize(
    ("stored", "refused"),
    [
        ({"attempt": "a", "read_only": "0", "server": OLD}, True),
        ({"attempt": "a", "read_only": "0", "server": NEW}, False),
        ({"attempt": "a", "read_only": "0"}, True),  # the source's own
        ({"attempt": "a", "server": OLD}, False),  # sourceLock None: nothing was stopped
        ({}, False),
    ],
)
def test_only_a_lock_on_another_server_is_refused(stored: dict[str, str], refused: bool) -> None:
    server = {"host": "r", "credentialsSecretRef": {"name": "login"}}
    ferry = Ferry.model_validate(
        {
            "apiVersion": "mysqlferry.io/v1alpha1",
            "kind": "Ferry",
            "metadata": {"name": "f"},
            "spec": {
                "source": server | {"primary": {"host": "p"}},
                "target": server | {"host": "t"},
                "tables": {"include": ["a.*"]},
            },
        }
    )
    assert bool(_elsewhere(stored, ferry, cast("Connections", WithPrimary()), NEW)) is refused
