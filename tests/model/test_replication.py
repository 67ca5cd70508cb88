"""The rules of replication, explored: nothing is lost with all of them, something without each.

On failure the shortest way to the loss is printed. docs/model.md says how to read it.
"""

from pathlib import Path

import pytest

from tests.model.cases import NOT_DETECTED, SAFE
from tests.model.config import Config
from tests.model.explorer import Found, explore
from tests.model.mutants import MUTANTS, Mutant
from tests.model.replication import Replication
from tests.model.rules import never_off

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 900
"""The slowest takes 30 s on a machine at load 16."""


@pytest.mark.parametrize("config", [pytest.param(config, id=name) for name, config in SAFE.items()])
def test_nothing_is_lost(config: Config) -> None:
    found = explore(Replication(config), SECONDS)
    if found.wrong:
        found = explore(Replication(config), SECONDS, traced=True)
    assert not found.wrong, found
    assert found.complete, found


@pytest.mark.parametrize("mutant", [pytest.param(mutant, id=name) for name, mutant in MUTANTS.items()])
def test_a_row_is_lost_without(mutant: Mutant) -> None:
    found = explore(Replication(mutant.config), SECONDS)
    assert found.wrong.startswith("source "), found


def test_every_rule_is_switched_off_once() -> None:
    configs = [*(mutant.config for mutant in MUTANTS.values()), *NOT_DETECTED.values()]
    assert never_off(Config(), configs) == set()


@pytest.mark.parametrize("config", [pytest.param(config, id=name) for name, config in NOT_DETECTED.items()])
def test_not_detected_as_documented(config: Config) -> None:
    assert explore(Replication(config), SECONDS).wrong.startswith("source ")


@pytest.mark.parametrize("mutant", [pytest.param(mutant, id=name) for name, mutant in MUTANTS.items()])
def test_modules_and_tests_of_a_rule_exist(mutant: Mutant) -> None:
    assert (ROOT / "ferry_core" / mutant.kept_by).is_file()
    assert (ROOT / "tests" / mutant.forced_by).is_file()


def test_a_trace_leads_to_what_is_wrong() -> None:
    mutant = MUTANTS["R4: forgotten when it is read"]
    found: Found = explore(Replication(mutant.config), SECONDS, traced=True)
    assert found.trace[0][0] == "rows"
    assert ("KILL",) in found.trace
    assert str(found).count("\n") == len(found.trace)
