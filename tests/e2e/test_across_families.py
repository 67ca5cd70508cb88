"""A move to the other family: every type that both have, writers, a kill, a cutover.

The directions take turns in ``make test``, by the commit (tests/support/slices.py). ``tests/versions`` has other
releases.
"""

from pathlib import Path

import pytest

from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.across import move_across
from tests.support.servers import Pair


@pytest.mark.parametrize("source", ["mariadb", "mysql"])
def test_a_move_to_the_other_family(make_server: ServerFactory, tmp_path: Path, source: str) -> None:
    target = {"mysql": "mariadb", "mariadb": "mysql"}[source]
    move_across(Pair(make_server(Family(source)), make_server(Family(target))), tmp_path)
