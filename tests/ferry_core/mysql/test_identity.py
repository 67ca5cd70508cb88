"""The identity and start time of a server: exact, readable by any account, and checked before anything else."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator

import pytest

from ferry_core.errors import DataError, OtherServer, ServerRestarted, ServerRole
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.identity import COLUMNS, KnownServer, ServerIdentity, perhaps_renamed
from ferry_core.mysql.session import Purpose, Session
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.servers import Pair, Server

FAMILIES = [family.value for family in Family]


def identity(server: Server) -> ServerIdentity:
    with Session(server.endpoint(), Purpose.CONTROL) as session:
        return session.identity


def again(server: Server, *, kill: bool = False) -> None:
    """Restart it, but not in the second of its last start, as MariaDB can: that is what the time is told by."""
    started = server.value("SELECT UNIX_TIMESTAMP()")
    (server.kill if kill else server.stop)()
    while int(time.time()) == started:
        threading.Event().wait(0.01)
    server.start()


def known(server: Server, patience_seconds: float = 60) -> KnownServer:
    """What a run remembers of the server as it is now."""
    kept = KnownServer(ServerRole.SOURCE, patience_seconds)
    kept.learn(identity(server))
    return kept


@pytest.fixture
def nobody(pair: Pair) -> Iterator[str]:
    """An account without any privilege."""
    pair.source.execute("CREATE USER nobody@'%' IDENTIFIED BY 'x'")
    yield "nobody"
    pair.source.execute("DROP USER nobody@'%'")


def test_an_account_without_privileges_can_read_the_identity(pair: Pair, nobody: str) -> None:
    endpoint = dataclasses.replace(pair.source.endpoint(), user=nobody, password="x")
    with Session(endpoint, Purpose.CONTROL) as session:
        assert session.identity == identity(pair.source)
        assert session.identity.start.split(":")[0].isdigit()


def test_the_identity_does_not_depend_on_the_clock(pair: Pair) -> None:
    expected = identity(pair.source)
    seen = set()
    with contextlib.closing(pair.source.connect()) as connection, connection.cursor() as cursor:
        end = time.monotonic() + 1.2  # across a change of the second, where rounding would show
        while time.monotonic() < end:
            cursor.execute(f"SELECT {COLUMNS}")
            seen.add(cursor.fetchone())
        for clock in ("1", "1000000000", "2000000000"):
            cursor.execute(f"SET SESSION timestamp = {clock}")
            cursor.execute(f"SELECT {COLUMNS}")
            seen.add(cursor.fetchone())
    assert seen == {expected}
    assert identity(pair.target).name != expected.name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_restart_is_another_start_of_the_same_server(make_server: ServerFactory, family: str) -> None:
    server = make_server(family, performance_schema="OFF")
    before = identity(server)
    kept = known(server)
    endpoint = dataclasses.replace(server.endpoint(), known=kept)
    Session(endpoint, Purpose.SOURCE).close()
    for kill in (False, True):
        again(server, kill=kill)
        after = identity(server)
        assert (after.name, after.stored) == (before.name, before.stored)
        assert after.start != before.start
        with pytest.raises(ServerRestarted, match="was restarted"):
            Session(endpoint, Purpose.SOURCE)
        with pytest.raises(ServerRestarted):
            kept.refuse_restarted()
        kept.learn(after)
        kept.refuse_restarted()
        with Session(endpoint, Purpose.SOURCE) as session:
            session.refuse_restarted()
        before = after


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_allowed_after_a_restart_only_record_it(make_server: ServerFactory, family: str) -> None:
    server = make_server(family)
    kept = known(server)
    again(server)
    with Session(dataclasses.replace(server.endpoint(), known=kept, any_start=True), Purpose.CONTROL) as session:
        assert session.number("SELECT 1") == 1
        with pytest.raises(ServerRestarted):
            session.refuse_restarted()
    kept.forget_start()
    Session(dataclasses.replace(server.endpoint(), known=kept), Purpose.CONTROL).close()


def test_another_server_is_refused_before_anything_is_asked_there(pair: Pair) -> None:
    """First it may be a temporary mistake of the address; after a while it is permanent."""
    kept = known(pair.source, patience_seconds=0.2)
    moved = dataclasses.replace(pair.target.endpoint(), known=kept, any_start=True)
    with pytest.raises(OtherServer, match="is another server now"):
        Session(moved, Purpose.SOURCE)
    Session(dataclasses.replace(pair.source.endpoint(), known=kept), Purpose.SOURCE).close()
    with pytest.raises(DataError, match="is another server now") as ended:
        ask_until_it_is_final(moved)
    assert ended.value.reason == "SourceReplaced"


def ask_until_it_is_final(moved: Endpoint) -> None:
    for _ in range(2000):
        with contextlib.suppress(OtherServer):
            Session(moved, Purpose.SOURCE).close()
        threading.Event().wait(0.05)


@pytest.mark.parametrize(
    ("other", "perhaps"),
    [
        ("7:3306:b", True),
        ("7:3307:a", True),
        ("7:3306:a", False),
        ("8:3306:a", False),
        ("00000000-0000-0000-0000-000000000002", False),
    ],
)
def test_a_server_id_stays_with_another_host_name_or_port(other: str, perhaps: bool) -> None:
    assert perhaps_renamed("7:3306:a", other) is perhaps
    assert not perhaps_renamed("00000000-0000-0000-0000-000000000001", other)


LONG = "1234567890:33060:" + "n" * 46
"""Of 63 characters."""


def test_long_names_that_differ_at_the_end_are_stored_differently() -> None:
    names = [f"{LONG}{end}" for end in ("", "-", "-1", "-2", "-source-1", "-source-2", "-source-11")]
    stored = {ServerIdentity(name, "100").stored for name in names}
    assert len(stored) == len(names)
    assert {len(one) for one in stored} == {63, 64}
    assert names[0] in stored, "what fits is stored as it is"
    assert names[1] in stored
    one = ServerIdentity(names[-2], "100")
    assert one.stored == ServerIdentity(names[-2], "200").stored
    assert perhaps_renamed(one.stored, ServerIdentity(names[-3], "100").stored), "it may prove to be the same"


def test_a_long_name_that_an_earlier_version_has_stored() -> None:
    """It kept the first 64 characters."""
    kept = KnownServer(ServerRole.SOURCE, 60)
    assert not kept.was("")
    kept.learn(ServerIdentity(f"{LONG}-source-1", "100"))
    assert kept.was(ServerIdentity(f"{LONG}-source-1", "100").stored)
    assert kept.was(f"{LONG}-")
    for other in (ServerIdentity(f"{LONG}-source-2", "100").stored, f"{LONG}-source-1", LONG, f"{LONG}x", ""):
        assert not kept.was(other)


@pytest.mark.parametrize("proves", [True, False])
def test_a_renamed_server_is_the_same_once_it_proves_that(proves: bool) -> None:
    kept = KnownServer(ServerRole.SOURCE, 60)
    kept.learn(ServerIdentity("7:3306:a", "100"))
    asked: list[bool] = []

    def proof() -> bool:
        asked.append(proves)
        return proves

    for _ in range(2):
        with pytest.raises(ServerRestarted if proves else OtherServer):
            kept.check("a:3306", ServerIdentity("7:3306:b", "200"), proof, any_start=False)
    assert len(asked) == (1 if proves else 2)
    assert kept.was("7:3306:a")
    assert kept.was("7:3306:b") is proves
    with pytest.raises(OtherServer):  # which has run all the time: its host name is not what it began with
        kept.check("a:3306", ServerIdentity("7:3306:c", "100"), proof, any_start=True)
