"""Real servers for tests: pairs that live for the session, and single ones with chosen flags.

The fixtures in ``tests/conftest.py`` are thin wrappers of this. Environment variables can name existing servers to use
instead (docs/development.md).
"""

import contextlib
import os
import random
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote

import pymysql
import pytest
from pymysql.connections import Connection

from ferry_core.cutover.mutex import SOURCE_LOCK
from ferry_core.errors import ServerRole
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.flavor import Flavor
from hack import servers as testbed
from hack.servers import Family
from tests.support.waits import wait_until

if TYPE_CHECKING:
    from pymysql.cursors import Cursor

Flag = str | int | bool | None
_LOCK_WAIT_TIMEOUT = 1205
_UNKNOWN_XID = 1397
_SERVER_USERS = ("system user", "event_scheduler")


class Server:
    """One running server. ``instance`` is None if an environment variable named it."""

    def __init__(
        self, family: Family, host: str, port: int, user: str, password: str, instance: testbed.Instance | None = None
    ) -> None:
        self.family = family
        self.flavor = Flavor.MYSQL if family is Family.MYSQL else Flavor.MARIADB
        self.host = host
        self.port = port
        self.user = user
        self.password = password
        self.instance = instance

    @classmethod
    def of(cls, instance: testbed.Instance) -> "Server":
        return cls(instance.family, instance.host, instance.port, instance.user, instance.password, instance)

    @property
    def release(self) -> testbed.Release | None:
        """None if it was given by an environment variable."""
        return None if self.instance is None else self.instance.release

    def __repr__(self) -> str:
        return f"<{self.family} {self.host}:{self.port}>"

    def endpoint(self, role: str = "source") -> Endpoint:
        """root over TCP with its password, without TLS."""
        return Endpoint(ServerRole(role), self.host, self.port, self.user, self.password, trusts_public_key=True)

    def connect(self, **options: Any) -> "Connection[Cursor]":
        """A plain connection: autocommit, utf8mb4; ``options`` are PyMySQL's."""
        defaults: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "charset": "utf8mb4",
            "autocommit": True,
            "connect_timeout": 60,
            "read_timeout": 300,
            "ssl_disabled": True,  # otherwise PyMySQL reads the machine's CA certificates each time: 20 ms of CPU
        }
        return Connection(**(defaults | options))

    def query(self, statement: str, arguments: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """All rows of one statement on a connection of its own."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            return list(cursor.fetchall())

    def execute(self, *statements: str) -> None:
        """Run statements one after another on one connection of their own."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def value(self, statement: str) -> Any:
        """The first column of the first row."""
        return self.query(statement)[0][0]

    def start(self) -> None:
        self._owned().start()

    def stop(self) -> None:
        self._owned().stop()

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self._owned().kill()

    def restart(self, **flags: str | int | bool) -> None:
        """Restart, from now on with these flags too."""
        self._owned().flags.update(flags)
        self._owned().restart()

    @property
    def pid(self) -> int:
        process = self._owned().process
        assert process is not None, f"{self} is not running"
        return process.pid

    @property
    def error_log(self) -> Path:
        return self._owned().error_log

    def drop_schemas(self, prefix: str) -> None:
        """Drop every schema whose name starts with ``prefix``, even if transactions are open on them."""
        self.execute(*self._writable_again())
        for xid in self._prepared_xids():
            self.decide_xa(f"XA ROLLBACK {xid}")
        for (name,) in self.query("SHOW DATABASES"):
            if name.startswith(prefix):
                self._drop(name)

    def wait_not_reserved(self) -> None:
        """Nothing that a test has left behind may hold the cutover mutex: the cutovers of later tests would wait."""
        if self.instance is not None and not self.instance.running:
            return
        holder = f"SELECT * FROM information_schema.PROCESSLIST WHERE id = IS_USED_LOCK('{SOURCE_LOCK.name}')"
        try:
            wait_until(lambda: not self.query(holder), "nobody holds the cutover mutex")
        except AssertionError as error:
            left = self.query(holder)
            self.kill_connections()
            raise AssertionError(f"{self}: the test has left a session that holds the cutover mutex: {left}") from error

    def decide_xa(self, decision: str, before: str = "DO 0") -> None:
        """XA COMMIT or XA ROLLBACK on a connection of its own, after the statement ``before``."""
        with contextlib.closing(self.connect()) as connection:
            connection.cursor().execute(before)
            decide_xa(connection, decision)

    def _drop(self, name: str) -> None:
        statement = f"DROP DATABASE IF EXISTS `{name.replace('`', '``')}`"
        try:
            self.execute("SET lock_wait_timeout = 2, foreign_key_checks = 0", statement)
        except pymysql.OperationalError as error:
            if error.args[0] != _LOCK_WAIT_TIMEOUT:
                raise
            self.kill_connections()
            self.execute("SET lock_wait_timeout = 120, foreign_key_checks = 0", statement)

    def _writable_again(self) -> list[str]:
        if self.flavor is Flavor.MYSQL:
            return ["SET GLOBAL super_read_only = 0", "SET GLOBAL read_only = 0"]
        return ["SET GLOBAL read_only = 0"]

    def _prepared_xids(self) -> Iterator[str]:
        for format_id, gtrid_length, _, data in self.query(
            "XA RECOVER CONVERT XID" if self._converts() else "XA RECOVER FORMAT='SQL'"
        ):
            if not self._converts():
                yield data
                continue
            text = data[2:]
            yield f"0x{text[: gtrid_length * 2] or '00'},0x{text[gtrid_length * 2 :] or '00'},{format_id}"

    def _converts(self) -> bool:
        return self.flavor is Flavor.MYSQL

    def kill_connections(self) -> None:
        """End every client's connection except replication dumps and our own."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT id, CONNECTION_ID() FROM information_schema.PROCESSLIST WHERE user NOT IN %s", (_SERVER_USERS,)
            )
            for other, own in cursor.fetchall():
                if other != own:
                    with contextlib.suppress(pymysql.MySQLError):  # it may have ended by itself
                        cursor.execute(f"KILL {other}")

    def _owned(self) -> testbed.Instance:
        if self.instance is None:
            pytest.skip(f"{self} was given by an environment variable: tests must not stop it")
        return self.instance


def decide_xa(connection: "Connection[Cursor]", decision: str) -> None:
    """On this connection. Nobody may decide before the connection that has prepared it, closed already, has ended."""

    def decided() -> bool:
        try:
            connection.cursor().execute(decision)
        except pymysql.MySQLError as error:
            if error.args[0] != _UNKNOWN_XID:
                raise
            return False
        return True

    wait_until(decided, decision)


@dataclass(frozen=True)
class Pair:
    """A source and a target."""

    source: Server
    target: Server

    @property
    def flavor(self) -> Flavor:
        return self.source.flavor

    @property
    def family(self) -> Family:
        """The source's."""
        return self.source.family

    @property
    def crosses(self) -> bool:
        """Whether they are of different families."""
        return self.source.family is not self.target.family


def given_server(family: Family, role: str) -> Server | None:
    """The server in ``FERRY_TEST_MYSQL_SOURCE=user:password@host:port`` and the like."""
    variable = f"FERRY_TEST_{family.name}_{role.upper()}"
    text = os.environ.get(variable)
    if not text:
        return None
    found = re.fullmatch(r"([^:@]+):(.*)@([^@:]+|\[[^]]+\]):(\d+)", text)
    if found is None:
        raise pytest.UsageError(f"{variable} must be user:password@host:port")
    user, password, host, port = found.groups()
    return Server(family, host.strip("[]"), int(port), unquote(user), unquote(password))


class ServerPool:
    """Servers for the whole test session. Each family's pair is started on first use."""

    def __init__(self) -> None:
        self._pairs: dict[Family, Pair] = {}
        self._missing: dict[Family | testbed.Release, str] = {}
        self._instances: list[testbed.Instance] = []

    def pair(self, family: Family) -> Pair:
        if family not in self._pairs:
            source, target = (given_server(family, role) or self.start(family, {}) for role in ("source", "target"))
            self._pairs[family] = Pair(source, target)
        return self._pairs[family]

    def start(
        self, what: Family | testbed.Release, flags: dict[str, Flag], disk_megabytes: int | None = None
    ) -> Server:
        """A new server. If what is wanted is not available, skips the test (fails it when CI=true)."""
        if what in self._missing:
            refuse_family(what, self._missing[what])
        try:
            testbed.install(what)
        except testbed.Unavailable as error:
            self._missing[what] = str(error)
            refuse_family(what, str(error))
        instance = testbed.create(what, flags=flags, disk_megabytes=disk_megabytes)
        self._instances.append(instance)
        instance.start()
        return Server.of(instance)

    def end(self, server: Server) -> None:
        if server.instance in self._instances:
            self._instances.remove(server.instance)
            server.instance.remove()

    def revive(self) -> None:
        """Start servers of a pair that a test has stopped."""
        for pair in self._pairs.values():
            for server in (pair.source, pair.target):
                if server.instance is not None and not server.instance.running:
                    server.instance.start()

    def close(self) -> None:
        """End all by their recorded ids."""
        while self._instances:
            self._instances.pop().remove()


def refuse_family(what: Family | testbed.Release, why: str) -> NoReturn:
    """Without a server its tests prove nothing: skip with a message on a developer's machine, fail on a CI machine."""
    message = f"NO {what.name} SERVER, ITS TESTS DO NOT RUN: {why}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def schema_name(test_name: str, unique: str) -> str:
    """A name that shows which test a forgotten schema belongs to; leaves room for suffixes of renamed ones."""
    return "t_" + re.sub(r"\W+", "_", test_name.lower())[:36].strip("_") + "_" + unique


_PORTS = range(16000, 27000)  # below those of hack/servers.py, and of the kernel's for outgoing connections


def slow_commits(server: Server, milliseconds: int) -> tuple[str, ...]:
    """Statements after which each commit on this server takes that long."""
    if server.family is Family.MYSQL:
        return (f"SET GLOBAL binlog_group_commit_sync_delay = {milliseconds * 1000}",)
    wait = f"SET GLOBAL binlog_commit_wait_usec = {milliseconds * 1000}"
    return wait, f"SET GLOBAL binlog_commit_wait_count = {1000 if milliseconds else 0}"


def free_port() -> int:
    """A port that nobody listens on now, and that no connection of anybody takes meanwhile.

    By chance, so that test sessions side by side do not come upon the same one.
    """
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


@contextlib.contextmanager
def set_global(server: Server, *settings: str) -> Iterator[None]:
    """Apply ``name = value`` settings in order, and restore the old values in reverse order afterwards."""
    before = []
    for setting in settings:
        name = setting.partition("=")[0].strip()
        value = server.value(f"SELECT @@GLOBAL.{name}")
        before.append(f"SET GLOBAL {name} = " + (f"'{value}'" if isinstance(value, str) else str(value)))
        server.execute(f"SET GLOBAL {setting}")
    try:
        yield
    finally:
        server.execute(*reversed(before))
