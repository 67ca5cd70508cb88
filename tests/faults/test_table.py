"""The table of faults is sound, the tests that it names exist, and docs/faults.md is current."""

import ast
from pathlib import Path

import pytest

from tests.faults.events import EVENTS
from tests.faults.moments import MOMENTS
from tests.faults.page import PAGE, SECTIONS, page
from tests.faults.table import Cell, Elsewhere, Made, Outcome, cases

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return [cell for section in SECTIONS for cell in section.cells]


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "python -m tests.faults.page writes it"


def test_every_named_test_is_collected(cells: list[Cell]) -> None:
    """By pytest's rules: a function test_... of a file test_...py. Collecting fifty files takes a minute."""
    named = {name for cell in cells if isinstance(cell.checked, Elsewhere) for name in cell.checked.names}
    assert {name for name in named if not _is_collected(*name.split("::"))} == set()


def _is_collected(path: str, name: str) -> bool:
    file = TESTS / path
    if not file.exists() or not file.name.startswith("test_") or not name.startswith("test_"):
        return False
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in ast.parse(file.read_text()).body)


def test_every_case_has_an_event_and_a_moment_and_is_there_once() -> None:
    all_cases = list(cases(SECTIONS))
    assert {case.event for case in all_cases} <= EVENTS.keys()
    assert {case.moment for case in all_cases} <= MOMENTS.keys()
    names = [case.name for case in all_cases]
    assert len(names) == len(set(names))


def test_no_event_leaves_a_moment_out_without_a_reason(cells: list[Cell]) -> None:
    made = [cell.checked for cell in cells if isinstance(cell.checked, Made)]
    silent = {
        event: missing
        for event in EVENTS
        if (missing := MOMENTS.keys() - {moment for rows in made if rows.event == event for moment in rows.moments})
        and not any(rows.others for rows in made if rows.event == event)
    }
    assert silent == {}


def test_whatever_stops_has_a_reason(cells: list[Cell]) -> None:
    assert [cell for cell in cells if (cell.reason is None) != (cell.outcome is Outcome.EXACT)] == []


def test_each_row_is_complete(cells: list[Cell]) -> None:
    assert [cell for cell in cells if not all((cell.event, cell.moment, cell.see, cell.do))] == []
    assert [cell for cell in cells if isinstance(cell.checked, Made) and not cell.checked.moments] == []
