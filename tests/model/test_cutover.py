"""The rules of the cutover, explored: with all of them no write is lost, and no source stays locked."""

from pathlib import Path

import pytest

from tests.model.cutover import Cutover
from tests.model.cutover_cases import MUTANTS, NOT_DETECTED, SAFE, CutoverMutant
from tests.model.cutover_state import CutoverConfig
from tests.model.explorer import explore
from tests.model.rules import never_off

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 900


@pytest.mark.parametrize("config", [pytest.param(config, id=name) for name, config in SAFE.items()])
def test_no_write_is_lost_and_no_source_stays_locked(config: CutoverConfig) -> None:
    found = explore(Cutover(config), SECONDS)
    if found.wrong:
        found = explore(Cutover(config), SECONDS, traced=True)
    assert not found.wrong, found
    assert found.complete, found


@pytest.mark.parametrize("mutant", [pytest.param(mutant, id=name) for name, mutant in MUTANTS.items()])
def test_something_is_wrong_without(mutant: CutoverMutant) -> None:
    found = explore(Cutover(mutant.config), SECONDS)
    assert found.wrong, found
    assert (ROOT / "ferry_core" / mutant.kept_by).is_file()
    assert (ROOT / "tests" / mutant.forced_by).is_file()


def test_every_rule_is_switched_off_once() -> None:
    configs = [*(mutant.config for mutant in MUTANTS.values()), *NOT_DETECTED.values()]
    assert never_off(CutoverConfig(), configs) == set()


@pytest.mark.parametrize("config", [pytest.param(config, id=name) for name, config in NOT_DETECTED.items()])
def test_not_detected_as_documented(config: CutoverConfig) -> None:
    assert explore(Cutover(config), SECONDS).wrong
