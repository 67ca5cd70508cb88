"""What a probe knows: the last answer for a while, then nothing, and why."""

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import cast

import pytest

from ferry_core.errors import ConnectionLost
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.throttle.probe import STALE_SECONDS, Probe, Reading, UnknownValueError
from tests.support.waits import wait_until


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        condition.wait(seconds)


class Server:
    """Answers what a test chooses. Stands in for the session as well."""

    def __init__(self) -> None:
        self.answer: float | Exception = 0.0
        self.asked = 0
        self.opened = 0
        self.closed = 0

    def connect(self) -> Session:
        self.opened += 1
        return cast("Session", self)

    def ask(self, session: Session, _wanted: str) -> float:
        assert session is cast("Session", self)
        answer = self.answer
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed += 1

    def answers(self, answer: float | Exception) -> None:
        """From now on; returns once the probe has taken two such answers, so at least one is known."""
        self.answer = answer
        before = self.asked
        wait_until(lambda: self.asked > before + 2, "it was asked again")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def probe(server: Server, clock: Clock) -> Iterator[Probe]:
    with closing(Probe("test", server.connect, server.ask, 0.001, clock)) as probe:
        yield probe


LOST = ConnectionLost(Reason.CONNECTION_LOST, "it is away")


def test_nothing_is_asked_before_it_is_wanted(probe: Probe, server: Server) -> None:
    assert probe.reading() == Reading(None)
    assert server.opened == 0


def test_the_last_answer_counts_for_a_while(probe: Probe, server: Server, clock: Clock) -> None:
    probe.want("")
    server.answers(7.0)
    assert probe.reading() == Reading(7.0)
    server.answers(LOST)
    clock.time += STALE_SECONDS
    assert probe.reading() == Reading(7.0)
    clock.time += 0.1
    assert probe.reading() == Reading(None, "it is away")
    server.answers(8.0)
    assert probe.reading() == Reading(8.0)
    assert server.opened > 1


def test_an_unknown_value_is_known_at_once(probe: Probe, server: Server) -> None:
    probe.want("")
    server.answers(7.0)
    server.answers(UnknownValueError("replication is stopped"))
    assert probe.reading() == Reading(None, "replication is stopped")


def test_another_question_makes_the_old_answer_worthless(probe: Probe, server: Server) -> None:
    probe.want("a")
    server.answers(7.0)
    server.answer = LOST
    probe.want("b")
    wait_until(lambda: probe.reading().why, "the new question fails")
    assert probe.reading() == Reading(None, "it is away")


def test_a_server_that_never_answers_is_unknown(probe: Probe, server: Server, clock: Clock) -> None:
    hangs, entered = threading.Event(), threading.Event()
    answer = server.connect

    def connect() -> Session:
        entered.set()
        hangs.wait()
        return answer()

    probe._connect = connect
    probe.want("")
    entered.wait()
    assert probe.reading() == Reading(None)
    clock.time += STALE_SECONDS + 1
    assert probe.reading() == Reading(None, "no answer for 6 s")
    hangs.set()


def test_an_unforeseen_error_is_unknown_and_the_probe_goes_on(server: Server, probe: Probe, clock: Clock) -> None:
    probe.want("")
    server.answers(1.0)
    server.answers(ZeroDivisionError())
    clock.time += STALE_SECONDS + 1
    assert probe.reading() == Reading(None, "ZeroDivisionError")
    server.answers(2.0)
    assert probe.reading() == Reading(2.0)


def test_no_session_stays_open_while_nothing_is_asked(server: Server, probe: Probe) -> None:
    probe.want("")
    server.answers(1.0)
    assert server.closed == 0
    probe.want(None)
    wait_until(lambda: server.closed == 1, "it is closed")
    probe.want("")
    wait_until(lambda: server.opened == 2, "another one is opened")
