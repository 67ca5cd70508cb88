"""A run's connections: what they run on the servers ends with them."""

import dataclasses
import threading

import pytest

from ferry_core.errors import ConfigError, FerryError, LoginRefused
from ferry_core.mysql.session import Session
from ferry_core.run.connections import Connections
from tests.support.live import wait_until
from tests.support.proxy import Proxy
from tests.support.servers import Pair, Server


def running(server: Server) -> list[tuple[object, ...]]:
    return server.query("SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(100)%'")


def test_statements_end_on_both_servers(pair: Pair) -> None:
    connections = Connections(pair.source.endpoint, lambda: pair.target.endpoint("target"))
    sessions = [connections.source(), connections.target_control()]
    errors: list[FerryError] = []

    def wait(session: Session) -> None:
        with pytest.raises(FerryError) as caught:
            session.query("SELECT SLEEP(100)")
        errors.append(caught.value)

    threads = [threading.Thread(target=wait, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    wait_until(lambda: running(pair.source) and running(pair.target), "both statements run")
    connections.kill_all()
    for thread in threads:
        thread.join(10)
    assert len(errors) == 2
    wait_until(lambda: not running(pair.source) and not running(pair.target), "both have ended")


def test_a_server_that_hangs_does_not_keep_the_other_from_being_asked(pair: Pair) -> None:
    with Proxy(pair.source.host, pair.source.port) as proxy:
        source = dataclasses.replace(pair.source.endpoint(), port=proxy.port)
        connections = Connections(lambda: source, lambda: pair.target.endpoint("target"))
        hanging = connections.source_control()
        session = connections.target_control()
        proxy.pause()
        connections.kill_all()
        with pytest.raises(FerryError):
            session.query("SELECT 1")
        hanging.close()


def test_a_password_is_wrong_at_first_and_about_to_be_changed_later(pair: Pair) -> None:
    """What a server refuses ends a run only if it has never let it in."""
    logins = [dataclasses.replace(pair.source.endpoint(), password="wrong"), pair.source.endpoint()]
    connections = Connections(lambda: logins[0], lambda: pair.target.endpoint("target"))
    with pytest.raises(ConfigError, match="AccessDenied"):
        connections.source()
    logins.reverse()
    connections.source().close()
    logins.reverse()
    with pytest.raises(LoginRefused, match="AccessDenied"):
        connections.source_control()
