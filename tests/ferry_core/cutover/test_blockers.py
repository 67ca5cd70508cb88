"""Finding blockers on real servers; prepared XA transactions with any XID."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferry_core.cutover.blockers import AT_MOST, blockers
from ferry_core.cutover.source_lock import ReadOnlyLock
from ferry_core.errors import ConfigError, LockConflict, ServerRole
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Purpose, Session
from ferry_core.mysql.xa import prepared_xids
from tests.conftest import ServerFactory
from tests.support.servers import Pair, Server
from tests.support.waits import PATIENCE_SECONDS


@pytest.fixture
def table(pair: Pair, schema: str) -> str:
    name = f"`{schema}`.t"
    pair.source.execute(f"CREATE TABLE {name} (id INT PRIMARY KEY, v INT)", f"INSERT INTO {name} VALUES (1, 1), (2, 2)")
    return name


@pytest.fixture
def session(pair: Pair) -> Iterator[Session]:
    with Session(pair.source.endpoint(), Purpose.CONTROL) as session:
        yield session


def of(lines: list[str], thread: int) -> list[str]:
    return [line for line in lines if line.startswith(f"connection {thread} ")]


def test_open_transactions_are_listed_with_age_and_owner(pair: Pair, session: Session, table: str) -> None:
    assert not [line for line in blockers(session) if str(session.connection_id) in line]
    with contextlib.closing(pair.source.connect()) as link, link.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"UPDATE {table} SET v = 2 WHERE id = 1")
        thread: int = link.thread_id()  # type: ignore[no-untyped-call]
        (line,) = _eventually(lambda: of(blockers(session), thread))
        print(line)
        assert f"{pair.source.user}@" in line
        assert "transaction open for " in line
        assert int(line.split("open for ")[1].split()[0]) < 60, "the age is in another time zone"
        assert "with 1 changed rows" in line
        assert "idle for" in line
        link.rollback()
    assert _eventually(lambda: [] if of(blockers(session), thread) else ["gone"])


def test_the_list_is_bounded(pair: Pair, session: Session, table: str) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(AT_MOST + 3):
            link = stack.enter_context(contextlib.closing(pair.source.connect()))
            link.cursor().execute("BEGIN")
            link.cursor().execute(f"SELECT * FROM {table} WHERE id = 1 LOCK IN SHARE MODE")
        lines = _eventually(lambda: found if len(found := blockers(session)) > AT_MOST else [])
        assert lines[-1].startswith("and ")


def _eventually(ask: Callable[[], list[str]]) -> list[str]:
    # InnoDB refreshes innodb_trx only if nobody has read it for 100 ms.
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := ask()):
        assert time.monotonic() < end
        time.sleep(0.3)
    return found


def test_without_the_privilege_the_list_says_so(pair: Pair, schema: str) -> None:
    user = f"p{schema[-6:]}"
    hosts = ("localhost", "%")
    pair.source.execute(*(f"CREATE USER `{user}`@'{host}' IDENTIFIED BY 'pw'" for host in hosts))
    endpoint = Endpoint(ServerRole.SOURCE, pair.source.host, pair.source.port, user, "pw", trusts_public_key=True)
    try:
        with Session(endpoint, Purpose.CONTROL) as session:
            (line,) = blockers(session)
            assert "GRANT PROCESS" in line
            if session.flavor is Flavor.MYSQL:
                with pytest.raises(ConfigError, match="XA_RECOVER_ADMIN"):
                    prepared_xids(session)
            else:
                prepared_xids(session)
    finally:
        pair.source.execute(*(f"DROP USER `{user}`@'{host}'" for host in hosts))


part = st.binary(min_size=0, max_size=64)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(xids=st.lists(st.tuples(st.integers(0, 2**31 - 1), part.filter(len), part), min_size=1, max_size=4, unique=True))
def test_any_xid_is_returned_in_normal_form(
    pair: Pair, session: Session, table: str, xids: list[tuple[int, bytes, bytes]]
) -> None:
    before = set(prepared_xids(session))
    _check(pair.source, session, table, before, xids)
    assert set(prepared_xids(session)) == before


@pytest.mark.parametrize(
    "xid",
    [
        (1, b"\x00\xff'\\", "é".encode()),
        (2147483647, b"a" * 64, b"\xff" * 64),
        (0, b"gtrid", b""),
        (5, b"1,2", b"',0x"),
        (1, b"\xc3\x28", b"\xed\xa0\x80"),
    ],
)
def test_odd_xids(pair: Pair, session: Session, table: str, xid: tuple[int, bytes, bytes]) -> None:
    _check(pair.source, session, table, set(prepared_xids(session)), [xid])


def _check(
    server: Server, session: Session, table: str, before: set[str], xids: list[tuple[int, bytes, bytes]]
) -> None:
    written = [f"X'{gtrid.hex()}',X'{bqual.hex()}',{number}" for number, gtrid, bqual in xids]
    try:
        for at, xid in enumerate(written):
            with contextlib.closing(server.connect()) as link, link.cursor() as cursor:
                cursor.execute(f"XA START {xid}")
                cursor.execute(f"INSERT INTO {table} VALUES ({at + 100}, 1)")
                cursor.execute(f"XA END {xid}")
                cursor.execute(f"XA PREPARE {xid}")
        expected = {f"{number},{gtrid.hex()},{bqual.hex()}" for number, gtrid, bqual in xids}
        assert set(prepared_xids(session)) - before == expected
    finally:
        for xid in written:
            server.decide_xa(f"XA ROLLBACK {xid}")


@pytest.mark.parametrize("family", ["mysql", "mariadb"])
def test_a_commit_stalled_inside_the_server_is_named_and_survives_the_attempt(
    make_server: ServerFactory, family: str
) -> None:
    """Semi-sync without a replica: the commit is in the binlog and waits for an acknowledgement."""
    server = make_server(family)
    mysql = server.flavor is Flavor.MYSQL
    name, replica = ("rpl_semi_sync_source", "replica") if mysql else ("rpl_semi_sync_master", "slave")
    if mysql:
        server.execute("INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'")
    server.execute("CREATE DATABASE s", "CREATE TABLE s.t (id INT PRIMARY KEY)")
    server.execute(
        f"SET GLOBAL {name}_timeout = 100000",
        f"SET GLOBAL {name}_wait_no_{replica} = 1",
        f"SET GLOBAL {name}_wait_point = AFTER_SYNC",
        f"SET GLOBAL {name}_enabled = 1",
    )
    link = server.connect()
    thread: int = link.thread_id()  # type: ignore[no-untyped-call]
    committing = threading.Thread(target=lambda: link.cursor().execute("INSERT INTO s.t VALUES (1)"))
    committing.start()
    with Session(server.endpoint(), Purpose.CONTROL) as session:
        _eventually(lambda: of(blockers(session), thread))
    lock = ReadOnlyLock(server.endpoint, server.flavor)
    stored = lock.stored()
    lock.begin(60)
    with pytest.raises(LockConflict) as caught:
        lock.acquire(5)
    print(caught.value)
    assert of(caught.value.message.split("blocked by: ")[1].split("; "), thread)
    assert lock.stored() == stored
    server.execute(f"SET GLOBAL {name}_enabled = 0")
    committing.join()
    lock.acquire(60)
    assert server.value("SELECT COUNT(*) FROM s.t") == 1
    lock.release(stored)
    lock.end()
