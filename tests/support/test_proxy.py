"""The proxy breaks connections as told; in particular, a commit may succeed after its client was cut off."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pymysql
import pytest

from tests.support.proxy import Direction, Proxy, is_closed
from tests.support.servers import Pair


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back what it receives."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(4096):
                connection.sendall(data)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    thread.join(60)
    listener.close()


@pytest.fixture
def proxy(echo: tuple[str, int]) -> Iterator[Proxy]:
    with Proxy(*echo) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection((proxy.host, proxy.port), timeout=60) as client:
        yield client


def test_carries_and_counts(proxy: Proxy, client: socket.socket) -> None:
    client.sendall(b"hello")
    assert client.recv(10) == b"hello"
    assert proxy.counts.connections == 1
    assert proxy.counts.bytes == {Direction.TO_SERVER: 5, Direction.TO_CLIENT: 5}


@pytest.mark.parametrize("direction", list(Direction))
def test_pauses_one_direction_and_loses_nothing(proxy: Proxy, client: socket.socket, direction: Direction) -> None:
    proxy.pause(direction)
    client.sendall(b"hello")
    proxy.wait_stuck()
    assert proxy.stuck == 1
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(10)
    proxy.resume()
    client.settimeout(60)
    assert client.recv(10) == b"hello"
    with pytest.raises(AssertionError, match="0 of 1 connections"):
        proxy.wait_stuck(0.01)


def test_cuts_both_sides(proxy: Proxy, client: socket.socket) -> None:
    client.sendall(b"x")
    assert client.recv(1) == b"x"
    assert proxy.cut() == 1
    assert is_closed(client, 60)
    client.close()


def test_refuses_new_connections_only(proxy: Proxy, client: socket.socket) -> None:
    client.sendall(b"x")
    assert client.recv(1) == b"x"
    proxy.refuse()
    with socket.create_connection((proxy.host, proxy.port), timeout=60) as refused:
        assert is_closed(refused, 60)
    client.sendall(b"y")
    assert client.recv(1) == b"y"
    assert proxy.counts.refused == 1
    proxy.accept()
    with socket.create_connection((proxy.host, proxy.port), timeout=60) as accepted:
        accepted.sendall(b"z")
        assert accepted.recv(1) == b"z"


def test_cuts_after_so_many_bytes(proxy: Proxy, client: socket.socket) -> None:
    client.sendall(b"1")
    assert client.recv(1) == b"1"
    proxy.cut_after(3)
    client.sendall(b"12345")
    received = b""
    with contextlib.suppress(OSError):
        while data := client.recv(10):
            received += data
    assert b"123".startswith(received)
    assert proxy.counts.bytes[Direction.TO_SERVER] == 4
    assert proxy.counts.ran_out == 1
    proxy.cut_no_more()
    with socket.create_connection((proxy.host, proxy.port), timeout=60) as uncut:
        uncut.sendall(b"12345")
        assert uncut.recv(10) == b"12345"
        assert proxy.open_connections >= 1


def test_holds_what_follows_a_pattern_even_when_it_comes_in_pieces(proxy: Proxy, client: socket.socket) -> None:
    proxy.hold(b"COMMIT", skip=1)
    client.sendall(b"COMMIT")
    assert client.recv(10) == b"COMMIT"
    client.sendall(b"COM")
    assert client.recv(10) == b"COM"
    client.sendall(b"MIT;next")
    proxy.wait_held()
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(10)
    proxy.release()
    client.settimeout(60)
    assert client.recv(20) == b"MIT;next"
    assert proxy.counts.held == 1


def test_a_commit_lands_after_its_client_was_cut(pair: Pair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY) ENGINE=InnoDB")
    with Proxy(pair.source.host, pair.source.port) as proxy:
        connection = pair.source.connect(host=proxy.host, port=proxy.port, autocommit=False, ssl_disabled=True)
        cursor = connection.cursor()
        cursor.execute(f"INSERT INTO {schema}.t VALUES (1)")
        proxy.hold(b"COMMIT")
        lost: list[BaseException] = []

        def commit() -> None:
            try:
                connection.commit()
            except pymysql.MySQLError as error:
                lost.append(error)

        committer = threading.Thread(target=commit)
        committer.start()
        proxy.wait_held()
        proxy.cut_clients()
        committer.join(60)
        assert isinstance(lost[0], pymysql.OperationalError)
        assert pair.source.value(f"SELECT COUNT(*) FROM {schema}.t") == 0
        proxy.release()
        # Waits for the row's lock, which the commit releases.
        assert pair.source.query(f"SELECT id FROM {schema}.t WHERE id = 1 LOCK IN SHARE MODE") == [(1,)]
