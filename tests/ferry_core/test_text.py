"""Text that reaches a log or a terminal."""

import logging

import pytest

from ferry_core.cli.logs import TextFormatter
from ferry_core.cli.output import Output
from ferry_core.errors import DataError
from ferry_core.reasons import Reason
from ferry_core.text import printable, shortlist

HOSTILE = "shop.a\n12:00:00 INFO    cut over\r\x1b[2J\x9b\u2028\u202e\udc80"


def test_a_list_says_how_many_more_there_are() -> None:
    assert shortlist(["a", "b", "c"], 2) == "a, b and 1 more"
    assert shortlist(["a", "b"], 2) == "a, b"


def test_control_characters_become_escapes() -> None:
    assert printable(HOSTILE) == r"shop.a\n12:00:00 INFO    cut over\r\x1b[2J\x9b\u2028\u202e\udc80"
    assert printable("日本 'größe' `x`") == "日本 'größe' `x`"


def test_a_name_cannot_forge_a_line_of_the_log() -> None:
    record = logging.LogRecord("ferry", logging.INFO, "", 0, "copying %s", (HOSTILE,), None)
    (line,) = TextFormatter("%(levelname)s %(message)s").format(record).splitlines()
    assert line.startswith(r"INFO copying shop.a\n12:00:00 INFO    cut over")


def test_a_name_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    out.say(f"first line\nsecond {chr(27)}[2J")
    out.notice(f"{chr(27)}[2J")
    out.failure(DataError(Reason.ROWS_DIFFER, HOSTILE))
    printed = capsys.readouterr()
    assert printed.out == "first line\nsecond \\x1b[2J\n"
    assert chr(27) not in printed.err
    assert len(printed.err.splitlines()) == 2
