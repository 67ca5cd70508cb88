"""A server that lies, floods or asks for a file: the statement ends with a reason, in bounded memory."""

import ast
import itertools
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ferry_core
from ferry_core.binlog.handshake import connect_dump
from ferry_core.errors import ConnectionLost, DataError, FerryError, ServerRole
from ferry_core.mysql import guarded
from ferry_core.mysql.advisory_lock import AdvisoryLock
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Purpose, Session
from tests.support.rogue import EOF, OK, Link, column, greeting, rogue, text

SECRET = b"a file of the copier's machine"
PART = 0xFFFFFF
Ask = Callable[[Session], object]
ASK = pytest.mark.parametrize(
    "ask", [lambda session: session.query("SELECT 1"), lambda session: list(session.stream("SELECT 1"))],
    ids=["collected", "streamed"],
)  # fmt: skip


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of at most 40 MiB, so that the tests are cheap."""
    monkeypatch.setattr(guarded, "LARGEST_ANSWER", 40 << 20)


@ASK
@pytest.mark.parametrize("purpose", [Purpose.TARGET, Purpose.CONTROL])
def test_no_statement_but_our_upload_sends_a_file(tmp_path: Path, ask: Ask, purpose: Purpose) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)

    def answer(link: Link, _: bytes) -> None:
        link.send(1, b"\xfb" + str(file).encode())
        link.receive()

    with (
        rogue(answer) as server,
        Session(server.endpoint(ServerRole.TARGET), purpose) as session,
        pytest.raises(ConnectionLost) as ended,
    ):
        ask(session)
    assert not any(SECRET in packet for packet in server.received)
    assert ended.value.reason == "AnswerMalformed"


def test_an_upload_sends_the_rows_whatever_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)

    def answer(link: Link, _: bytes) -> None:
        link.send(1, b"\xfb" + str(file).encode())
        link.receive()
        link.receive()
        link.send(4, b"\0\0\0\x02\0\0\0Records: 1  Deleted: 0  Skipped: 0  Warnings: 0")

    with rogue(answer) as server, Session(server.endpoint(ServerRole.TARGET), Purpose.TARGET) as session:
        assert session.load("LOAD DATA LOCAL INFILE 'rows' INTO TABLE t", b"our rows").records == 1
    assert b"our rows" in server.received
    assert not any(SECRET in packet for packet in server.received)


def head(link: Link) -> None:
    """A result of one column follows."""
    for number, packet in enumerate((b"\x01", column(), EOF), 1):
        link.send(number, packet)


def endless_row(link: Link) -> None:
    head(link)
    for number in itertools.count(4):
        link.send(number, b"\xfe" + struct.pack("<Q", 4 << 30) + bytes(PART - 9) if number == 4 else bytes(PART))


def endless_rows(link: Link) -> None:
    head(link)
    for number in itertools.count(4):
        link.send(number, b"\xfd" + (1 << 20).to_bytes(3, "little") + bytes(1 << 20))


@pytest.mark.parametrize(
    ("flood", "ask"),
    [
        (endless_row, lambda session: session.query("SELECT 1")),
        (endless_row, lambda session: list(session.stream("SELECT 1"))),
        (endless_rows, lambda session: session.query("SELECT 1")),
    ],
    ids=["a row of 4 GiB", "a streamed row of 4 GiB", "rows without end"],
)
@pytest.mark.usefixtures("limited")
def test_an_answer_without_end_is_refused(flood: Callable[[Link], None], ask: Ask) -> None:
    with (
        rogue(lambda link, _: flood(link)) as server,
        Session(server.endpoint(), Purpose.CONTROL) as session,
        pytest.raises(DataError) as refused,
    ):
        ask(session)
    assert refused.value.reason == "AnswerTooLarge"
    assert "sent more than 40 MiB in answer to one statement" in refused.value.message


@pytest.mark.usefixtures("limited")
def test_a_stream_may_be_longer_than_one_answer() -> None:
    def answer(link: Link, _: bytes) -> None:
        head(link)
        for number in range(4, 54):
            link.send(number, b"\xfd" + (1 << 20).to_bytes(3, "little") + bytes(1 << 20))
        link.send(54, EOF)

    with rogue(answer) as server, Session(server.endpoint(), Purpose.CONTROL) as session:
        assert sum(len(row[0] or b"") for row in session.stream("SELECT 1")) == 50 << 20


def test_the_limit_is_a_part_of_the_memory(tmp_path: Path) -> None:
    (tmp_path / "limit").write_text(str(300 << 20))
    (tmp_path / "none").write_text("max")
    whole = guarded.most_bytes(())
    assert guarded.most_bytes((str(tmp_path / "limit"),)) == min(whole, 100 << 20)
    assert guarded.most_bytes((str(tmp_path / "none"), str(tmp_path / "missing"))) == whole


def session(at: Endpoint) -> Session:
    return Session(at, Purpose.CONTROL, connect_timeout=5)


@pytest.mark.parametrize("connect", [session, connect_dump])
def test_a_greeting_without_end_is_refused(connect: Callable[..., object]) -> None:
    def login(link: Link) -> None:
        for number in itertools.count(1):
            link.send(number, bytes(PART))

    with rogue(login=login, hello=bytes(PART)) as server, pytest.raises(ConnectionLost) as refused:
        connect(server.endpoint())
    assert refused.value.reason in ("ServerUnreachable", "AnswerMalformed")


def test_a_login_sent_byte_by_byte_has_an_end() -> None:
    ended = threading.Event()

    def login(link: Link) -> None:
        link.receive()
        while not ended.wait(0.2):
            link.sock.sendall(b"\xff")

    began = time.monotonic()
    with rogue(login=login) as server:
        with pytest.raises(ConnectionLost) as lost:
            Session(server.endpoint(), Purpose.CONTROL, connect_timeout=1)
        ended.set()
    assert lost.value.reason == "ServerUnreachable"
    assert "does not answer like a MySQL server" in lost.value.message
    assert time.monotonic() - began < 60


LIES = {
    "nothing": [b""],
    "a column count without columns": [b"\x05", EOF],
    "a row that lacks columns": [b"\x02", column(), column(), EOF, text(b"a"), EOF],
    "a text longer than its packet": [b"\x01", column(), EOF, b"\xfc\xff\xff", EOF],
    "no end of the columns": [b"\x01", column(), text(b"a"), EOF],
    "a column without a name": [b"\x01", b"\x03def", EOF, EOF],
    "an error without a number": [b"\xff"],
    "a second result": [OK[:3] + b"\x0a\0\0\0"],
    "NULL columns": [b"\x01", b"\xfb\xfb\xfb\xfb\xfb\xfb", EOF],
}


@ASK
@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_is_not_the_protocol_has_a_reason(lie: str, ask: Ask) -> None:
    def answer(link: Link, _: bytes) -> None:
        for number, packet in enumerate(LIES[lie], 1):
            link.send(number, packet)

    with rogue(answer) as server, Session(server.endpoint(), Purpose.CONTROL) as session:
        with pytest.raises(ConnectionLost) as ended:
            ask(session)
        assert ended.value.reason == "AnswerMalformed"
        assert session.closed, "its next answer could be taken for that of another statement"


@pytest.mark.parametrize(
    ("columns", "ask"),
    [
        (0, lambda session: session.row("SELECT 1", 1)),
        (1, lambda session: session.row("SELECT 1, 2", 2)),
        (0, lambda session: session.text("SELECT 1")),
        (0, AdvisoryLock("a").holder),
    ],
)
def test_an_answer_without_the_row_that_is_due_has_a_reason(columns: int, ask: Ask) -> None:
    def answer(link: Link, _: bytes) -> None:
        rows = [text(b"a")] * columns
        for number, packet in enumerate((b"\x01", column(), EOF, *rows, EOF), 1):
            link.send(number, packet)

    with (
        rogue(answer) as server,
        Session(server.endpoint(), Purpose.CONTROL) as session,
        pytest.raises(ConnectionLost) as ended,
    ):
        ask(session)
    assert ended.value.reason == "AnswerMalformed"


def test_no_row_is_taken_of_an_answer_that_may_have_none() -> None:
    """``Session.row`` and ``value`` refuse such an answer; ``query(...)[0]`` would end in an IndexError."""
    found = [
        f"{path.name}:{node.lineno}"
        for path in Path(ferry_core.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr == "query"
    ]
    assert found == []


def test_packets_out_of_order_have_a_reason() -> None:
    with (
        rogue(lambda link, _: link.send(7, OK)) as server,
        Session(server.endpoint(), Purpose.CONTROL) as session,
        pytest.raises(ConnectionLost) as ended,
    ):
        session.query("SELECT 1")
    assert ended.value.reason == "AnswerMalformed"


@pytest.mark.parametrize(
    "value", [(b"x", b"9.7.0", b"n", b"s"), (b"1", b"\xff", b"n", b"s"), (b"1",)], ids=["number", "text", "columns"]
)
def test_a_server_that_does_not_say_who_it_is(value: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Link.rows
    monkeypatch.setattr(Link, "rows", lambda link, *_: rows(link, value))
    with rogue() as server, pytest.raises(ConnectionLost) as ended:
        Session(server.endpoint(), Purpose.CONTROL)
    assert ended.value.reason == "AnswerMalformed"


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
HONEST = [b"\x02", column(), column(), EOF, text(b"a") + text(b"b"), EOF]


@st.composite
def damaged(draw: st.DrawFn, packets: list[bytes]) -> list[bytes]:
    """An honest answer of which bytes were changed, cut, repeated or put in."""
    found = list(packets)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(found) - 1))
        packet = found[at]
        place = draw(st.integers(0, len(packet)))
        found[at] = packet[:place] + draw(st.binary(max_size=9)) + packet[place + draw(st.integers(0, 4)) :]
        if draw(st.booleans()):
            found.insert(at, draw(st.sampled_from(packets)))
    return found


@FUZZ
@given(damaged(HONEST), st.booleans())
def test_no_answer_is_an_unknown_error(packets: list[bytes], streamed: bool) -> None:
    def answer(link: Link, _: bytes) -> None:
        for number, packet in enumerate(packets, 1):
            link.send(number, packet)
        link.sock.close()

    with rogue(answer) as server, Session(server.endpoint(), Purpose.CONTROL) as session:
        try:
            rows = list(session.stream("SELECT 1")) if streamed else session.query("SELECT 1")
        except FerryError as error:
            assert error.reason  # noqa: PT017 - any named reason will do
        else:
            assert all(isinstance(value, bytes | None) for row in rows for value in row)


@FUZZ
@given(damaged([greeting(), OK, OK, OK]), st.sampled_from([session, connect_dump]))
def test_no_login_is_an_unknown_error(packets: list[bytes], connect: Callable[[Endpoint], object]) -> None:
    def login(link: Link) -> None:
        link.receive()
        for number, packet in enumerate(packets[1:], 2):
            link.send(number, packet)
        link.sock.close()

    with rogue(login=login, hello=packets[0]) as server, pytest.raises(FerryError):
        connect(server.endpoint())
