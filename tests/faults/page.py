"""docs/faults.md, from the table. ``python -m tests.faults.page`` writes it; ``test_table.py`` compares.

With ``--named-tests`` it prints the tests that rows name, for `make faults`.
"""

import sys
from pathlib import Path

from tests.faults.in_kubernetes import KUBERNETES
from tests.faults.interleavings import POINTS
from tests.faults.moments import MOMENTS
from tests.faults.network import NETWORK
from tests.faults.on_copier import COPIER
from tests.faults.on_source import SOURCE
from tests.faults.on_target import TARGET
from tests.faults.races import RACES
from tests.faults.table import BOTH, Cell, Elsewhere, Forced, Made, NotMade, Outcome, Section, cases

SECTIONS: tuple[Section, ...] = (SOURCE, TARGET, COPIER, NETWORK, KUBERNETES, RACES)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
_INTRODUCTION = """\
# Faults, and what comes of each

What may go wrong, at which moment of a move, what you will see, and what to do. "Goes on, exact" means: after the
cutover the target holds exactly the selected rows, and the source was never locked for longer than `cutover.deadline`.
"Stops" means: the run ends with this reason, keeps its state, and the source accepts writes. Nothing else may come of
any of these faults: no cutover that hands over other rows, no lock that nobody names, no end without a reason.
[errors.md](errors.md) explains each reason, [correctness.md](correctness.md) why it holds.

This page is made from the table that the tests run (`tests/faults/`, `make faults`). Moments are forced: a proxy holds
back the statement that the moment is about. The judge is independent of the engine: it compares rows and definitions
by SQL of its own, the count of one row with the number of acknowledged updates, and measures the lock by the clock of
an application that writes. Each case runs on MySQL and on MariaDB unless it says otherwise.
"""


def page() -> str:
    made = sum(1 for _ in cases(SECTIONS))
    count = f"\nThe table has {made} cases of its own; the other rows name tests that are made elsewhere.\n"
    return _INTRODUCTION + count + "".join(_section(section) for section in SECTIONS)


def _section(section: Section) -> str:
    head = "| what happens | when | what comes of it | you see | what to do | checked by |\n|---|---|---|---|---|---|\n"
    return f"\n## {section.title}\n\n{head}{''.join(_row(cell) for cell in section.cells)}"


def _row(cell: Cell) -> str:
    families = "" if cell.families == BOTH else f" ({' and '.join(family.value for family in cell.families)})"
    columns = (cell.event + families, cell.moment, _outcome(cell), cell.see, cell.do, _checked(cell))
    return f"| {' | '.join(columns)} |\n"


def _outcome(cell: Cell) -> str:
    named = f": `{cell.reason}`" if cell.reason else ""
    return ("unknown" if cell.outcome is Outcome.AMBIGUOUS else cell.outcome.value) + named


def _checked(cell: Cell) -> str:
    checked = cell.checked
    if isinstance(checked, NotMade):
        return f"not made: {checked.why}"
    if isinstance(checked, Made):
        left_out = [f"not at other moments: {checked.others}"] if checked.others else []
        return "<br>".join([*(MOMENTS[moment][0] for moment in checked.moments), *left_out])
    if isinstance(checked, Forced):
        return "<br>".join(POINTS[point] for point in checked.points)
    return "<br>".join(f"`{name.rpartition('/')[2].replace('.py::', ' ')}`" for name in checked.names)


def named_tests() -> list[str]:
    """Of the rows that are made elsewhere, as pytest takes them."""
    checked = [cell.checked for section in SECTIONS for cell in section.cells]
    return sorted({f"tests/{name}" for one in checked if isinstance(one, Elsewhere) for name in one.names})


if __name__ == "__main__":
    if sys.argv[1:] == ["--named-tests"]:
        print("\n".join(named_tests()))
    else:
        PAGE.write_text(page())
