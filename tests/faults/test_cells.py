"""Each case of the table that is made here: the moment is forced, the event happens, and the judge looks.

`make faults` runs all, `make test` a tenth, another one with each commit, and those that have failed once.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.faults.events import ENDED_BY_ITSELF, EVENTS, OWN_SOURCE, OWN_TARGET, UNDONE
from tests.faults.judge import exact, stops
from tests.faults.moments import MOMENTS, WATCH_SECONDS
from tests.faults.page import SECTIONS
from tests.faults.scene import Scene
from tests.faults.table import Case, Outcome, cases
from tests.support.servers import Pair

pytestmark = pytest.mark.slow


def _parameters() -> Iterator[object]:
    for case in cases(SECTIONS):
        marks = [pytest.mark.always] * case.always + [pytest.mark.seldom] * case.seldom
        yield pytest.param(case.family.value, case, id=case.name, marks=marks)


@pytest.mark.parametrize(("pair", "case"), list(_parameters()), indirect=["pair"])
def test_cell(pair: Pair, case: Case, schema: str, tmp_path: Path, make_server: ServerFactory) -> None:
    if case.event in OWN_SOURCE:
        pair = Pair(make_server(case.family.value), pair.target)
        pair.source.execute(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4")
    if case.event in OWN_TARGET:
        pair = Pair(pair.source, make_server(case.family.value))
    watch = {"watchFor": WATCH_SECONDS.get(case.moment, "0s")}
    with contextlib.ExitStack() as undo, Scene(pair, schema, tmp_path, cutover=watch) as scene:
        if case.event in UNDONE:
            undo.callback(UNDONE[case.event], scene)
        with MOMENTS[case.moment][1](scene):
            EVENTS[case.event](scene)
        if case.event in ENDED_BY_ITSELF and scene.ended:
            scene.ferry.start()
        if case.cell.outcome is Outcome.STOPS:
            assert case.cell.reason is not None
            stops(scene, case.cell.reason)
        else:
            exact(scene, restarts=case.cell.outcome is Outcome.RESUMES)
