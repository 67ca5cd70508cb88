"""A server that replicates from another one, for a moment or until a test has ended."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from hack.servers import Family
from tests.support.servers import Flag, Server, ServerPool, set_global
from tests.support.waits import wait_until

APPLIED = "mysql_ferry_applied"


def set_replicated(server: Server, position: str) -> None:
    """MariaDB's gtid_slave_pos. In strict mode the server refuses a position before that of its own binlog."""
    server.execute(
        *("SET GLOBAL gtid_strict_mode = OFF", f"SET GLOBAL gtid_slave_pos = '{position}'"),
        "SET GLOBAL gtid_strict_mode = ON",
    )


class Replication:
    """A replica that keeps replicating, and can be made to lag."""

    def __init__(self, primary: Server, replica: Server) -> None:
        self.primary = primary
        self.replica = replica
        mysql = replica.family is Family.MYSQL
        self._start, self._stop = ("START REPLICA", "STOP REPLICA") if mysql else ("START SLAVE", "STOP SLAVE")
        self._forget = "RESET REPLICA ALL" if mysql else "RESET SLAVE ALL"

    def start(self) -> None:
        self.replica.execute(_source_is(self.primary, self.replica), self._start)

    def wait_connected(self) -> None:
        """Until it knows how far it is behind."""
        status = "SHOW REPLICA STATUS" if self.replica.family is Family.MYSQL else "SHOW SLAVE STATUS"
        wait_until(lambda: self.replica.query(status)[0][32] is not None, "the replica is connected")

    def stop_applying(self) -> None:
        self.replica.execute(f"{self._stop} SQL_THREAD")

    def apply_again(self) -> None:
        self.replica.execute(self._start)

    def remove(self) -> None:
        self.replica.execute(self._stop, self._forget)

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """While entered, the replica receives changes and applies none."""
        with closing(self.replica.connect()) as connection:
            connection.cursor().execute("FLUSH TABLES WITH READ LOCK")
            yield


@contextmanager
def replicating(primary: Server, replica: Server) -> Iterator[Replication]:
    """Replication by file and offset from now on, until the block ends."""
    replication = Replication(primary, replica)
    replication.start()
    try:
        yield replication
    finally:
        replication.remove()


def replicate(primary: Server, replica: Server, *statements: str) -> None:
    """Set up replication by file and offset, apply the statements of the primary, remove replication again."""
    with replicating(primary, replica):
        primary.execute(*statements, f"CREATE DATABASE {APPLIED}")
        wait_until(lambda: replica.query(f"SHOW DATABASES LIKE '{APPLIED}'"), "the replica has applied it")
        primary.execute(f"DROP DATABASE {APPLIED}")
        wait_until(lambda: not replica.query(f"SHOW DATABASES LIKE '{APPLIED}'"), "the replica has applied it")


def _source_is(primary: Server, replica: Server) -> str:
    mysql = replica.family is Family.MYSQL
    file, offset = primary.query("SHOW BINARY LOG STATUS" if mysql else "SHOW MASTER STATUS")[0][:2]
    which = "SOURCE" if mysql else "MASTER"
    options = {"HOST": f"'{primary.host}'", "PORT": primary.port, "USER": f"'{primary.user}'"}
    options |= {"PASSWORD": f"'{primary.password}'", "LOG_FILE": f"'{file}'", "LOG_POS": offset}
    options |= {} if mysql else {"USE_GTID": "no"}
    said = ", ".join(f"{which}_{name} = {value}" for name, value in options.items())
    return f"CHANGE REPLICATION SOURCE TO {said}, GET_SOURCE_PUBLIC_KEY = 1" if mysql else f"CHANGE MASTER TO {said}"


class Exact:
    """A read-only replica that follows a server by GTIDs from now on, as a Ferry may read from."""

    def __init__(self, primary: Server, replica: Server) -> None:
        self.primary, self.replica = primary, replica
        self.mysql = replica.family is Family.MYSQL
        self._word = "REPLICA" if self.mysql else "SLAVE"
        if self.mysql:
            executed = str(primary.value("SELECT @@GLOBAL.gtid_executed")).replace("\n", "")
            reset = ("RESET BINARY LOGS AND GTIDS", f"SET GLOBAL gtid_purged = '{executed}'")
        else:
            position = primary.value("SELECT @@GLOBAL.gtid_binlog_pos")
            reset = ("RESET MASTER", f"SET GLOBAL gtid_slave_pos = '{position}'")
        replica.execute(*reset)
        self.follow(primary)

    def follow(self, primary: Server) -> None:
        """Replicate from this server from now on, from where the replica is."""
        self.primary = primary
        here = f"HOST = '{primary.host}', {{0}}_PORT = {primary.port}, {{0}}_USER = '{primary.user}'"
        here += f", {{0}}_PASSWORD = '{primary.password}', {{0}}_CONNECT_RETRY = 1"
        if self.mysql:
            source = f"{here.format('SOURCE')}, SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1"
            change = f"CHANGE REPLICATION SOURCE TO SOURCE_{source}"
        else:
            change = f"CHANGE MASTER TO MASTER_{here.format('MASTER')}, MASTER_USE_GTID = slave_pos"
        self.replica.execute(f"STOP {self._word}", change, f"START {self._word}", self.read_only())

    def read_only(self, value: str = "ON") -> str:
        return f"SET GLOBAL {'super_' if self.mysql and value == 'ON' else ''}read_only = {value}"

    def stop_applying(self) -> None:
        self.replica.execute(f"STOP {self._word} SQL_THREAD")

    def apply_again(self) -> None:
        self.replica.execute(f"START {self._word}")

    def promote(self) -> None:
        """As a person does: from now on others write there."""
        self.replica.execute(f"STOP {self._word}", f"RESET {self._word} ALL", self.read_only("OFF"))

    def wait_applied(self) -> None:
        position = self.primary.value(f"SELECT @@GLOBAL.{'gtid_executed' if self.mysql else 'gtid_binlog_pos'}")
        wait = "WAIT_FOR_EXECUTED_GTID_SET" if self.mysql else "MASTER_GTID_WAIT"
        if self.replica.value(f"SELECT {wait}('{position}', 20)") != 0:
            raise AssertionError(f"the replica does not catch up: {self.replica.query(f'SHOW {self._word} STATUS')}")


@contextmanager
def exact_replica(primary: Server, pool: ServerPool, **flags: Flag) -> Iterator[Exact]:
    """A new replica that logs what it applies, of a primary that loses no commit in a crash meanwhile."""
    with set_global(primary, "sync_binlog = 1", "innodb_flush_log_at_trx_commit = 1"):
        replica = pool.start(primary.family, {"log_slave_updates": True} | flags)
        try:
            yield Exact(primary, replica)
        finally:
            pool.end(replica)
