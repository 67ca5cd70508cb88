"""Whose writes an attempt stopped, by the lease, if the source is a replica."""

from typing import TYPE_CHECKING, NoReturn, cast

import pytest

from ferry_core.api.spec import Ferry
from ferry_core.consistency.fence import Lease
from ferry_core.errors import ConnectionLost
from ferry_core.reasons import Reason
from ferry_core.run.left_locked import _elsewhere, unlock_left

if TYPE_CHECKING:
    from ferry_core.workers.connections import Connections

OLD, NEW = "old-primary", "new-primary"


class Reached:
    """Connections to servers of which the one that applications write to does not answer."""

    def __init__(self, *, primary: bool) -> None:
        self.has_primary = primary

    def written_control(self, _patience: float) -> NoReturn:
        raise ConnectionLost(Reason.CONNECTION_LOST, "nobody listens")


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
    assert bool(_elsewhere(stored, ferry(), cast("Connections", Reached(primary=True)), NEW)) is refused


@pytest.mark.parametrize(
    ("primary", "ends", "phase", "then"),
    [
        (True, False, "Streaming", "remove that if it is the source itself"),
        (False, False, "Aborted", "start over with a fresh copy"),
        (True, True, "Aborted", "then run this again"),
    ],
)
def test_a_server_that_is_gone_for_good_during_an_attempt_is_no_dead_end(
    primary: bool, ends: bool, phase: str, then: str
) -> None:
    lease = Lease(1, "CuttingOver", "source", ["a.t"], {"attempt": "a", "read_only": "0", "server": OLD})
    with pytest.raises(ConnectionLost, match="nobody listens") as raised:
        unlock_left(ferry(), cast("Connections", Reached(primary=primary)), lease, None, ends=ends)
    assert f"UPDATE mysql_ferry.lease SET phase = '{phase}'" in raised.value.message
    assert then in raised.value.message


def ferry() -> Ferry:
    server = {"host": "r", "credentialsSecretRef": {"name": "login"}}
    return Ferry.model_validate(
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
