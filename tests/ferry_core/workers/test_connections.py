"""A run's connections: with the current credentials, and what happens to a refused one."""

import dataclasses

import pytest

from ferry_core.errors import ConfigError, LoginRefused
from ferry_core.workers.connections import Connections
from tests.support.servers import Pair


def test_a_refused_password_is_an_error_at_first_and_retried_later(pair: Pair) -> None:
    """A refused login ends a run only if the server has never accepted one."""
    logins = [dataclasses.replace(pair.source.endpoint(), password="wrong"), pair.source.endpoint()]
    connections = Connections(lambda: logins[0], lambda: pair.target.endpoint("target"))
    with pytest.raises(ConfigError, match="AccessDenied"):
        connections.source()
    logins.reverse()
    connections.source().close()
    logins.reverse()
    with pytest.raises(LoginRefused, match="AccessDenied"):
        connections.source_control()
