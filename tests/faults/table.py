"""The table of faults: what may happen, when, what comes of it, and how that is checked. This is the only place of it.

``on_source.py`` and its neighbours hold the rows. ``test_cells.py`` runs those that are made here, one case for each
moment and family; ``test_table.py`` checks that the tests that the others name exist; ``page.py`` makes docs/faults.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ferry_core.reasons import Reason
from hack.servers import Family
from tests.faults.turns import TURNS

START_OVER = "ferry abort, empty the target tables, start over with a fresh copy"
NOBODY = "no copier is connected"
BOTH = (Family.MYSQL, Family.MARIADB)


class Outcome(Enum):
    """The value is what docs/faults.md prints."""

    EXACT = "goes on, exact"
    RESUMES = "ends with 75, the next start resumes, exact"
    STOPS = "stops"
    AMBIGUOUS = "unknown, and says so"


@dataclass(frozen=True)
class Made:
    """A case of ``test_cells.py``: ``event`` of events.py, at each of these ``moments`` of moments.py."""

    event: str
    moments: tuple[str, ...]
    others: str = ""
    """Why it is not made at the other moments."""
    always: bool = False
    """Whether ``make test`` runs it in each slice, because it has failed once."""


@dataclass(frozen=True)
class Forced:
    """Cases of ``test_races.py``, at each of these ``POINTS`` of interleavings.py."""

    points: tuple[str, ...]


@dataclass(frozen=True)
class Elsewhere:
    """Tests elsewhere, each as path below tests/ and name: ``e2e/test_kills.py::test_...``."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class NotMade:
    """No test can make it here."""

    why: str


Checked = Made | Forced | Elsewhere | NotMade


@dataclass(frozen=True)
class Cell:
    """One row of the page. ``reason`` is that of the error; without one the run goes on by itself."""

    event: str
    moment: str
    outcome: Outcome
    see: str
    do: str
    checked: Checked
    reason: Reason | None = None
    families: tuple[Family, ...] = BOTH


@dataclass(frozen=True)
class Section:
    """Faults of one kind, as docs/faults.md groups them."""

    title: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Case:
    """One case of ``test_cells.py``."""

    cell: Cell
    family: Family
    event: str
    moment: str
    always: bool
    seldom: bool
    """Only `make faults` and `make test-all` run it."""

    @property
    def name(self) -> str:
        return f"{self.family.value}-{self.event}-{self.moment}".replace(" ", "_")


def nothing_to_do(event: str, moment: str, see: str, checked: Checked, families: tuple[Family, ...] = BOTH) -> Cell:
    """A row of what goes on by itself."""
    return Cell(event, moment, Outcome.EXACT, see, "nothing", checked, families=families)


def tested(*names: str) -> Elsewhere:
    return Elsewhere(names)


def cases(sections: tuple[Section, ...]) -> Iterator[Case]:
    """Every case that is made here."""
    for section in sections:
        for cell in section.cells:
            if isinstance(cell.checked, Made):
                for family in cell.families:
                    for moment in cell.checked.moments:
                        made = cell.checked
                        seldom = moment not in TURNS.get(made.event, (moment,))
                        yield Case(cell, family, made.event, moment, made.always, seldom)
