"""docs/operator.md says what every phase, condition, reason and exit code means."""

import re
from pathlib import Path

import pytest

from ferry_core.api.exit_codes import ExitCode
from ferry_core.api.reasons import Condition, Reason
from ferry_core.api.report import Phase, Stage

DOCS = Path(__file__).parents[2] / "docs"
OPERATOR = (DOCS / "operator.md").read_text()
WORDS = set(re.findall(r"`(\w+)`", OPERATOR)) | set(re.findall(r"\w+", (DOCS / "preflight.md").read_text()))


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained(reason: Reason) -> None:
    assert reason.value in WORDS


@pytest.mark.parametrize("word", [*Condition, *Stage, *Phase])
def test_every_condition_and_phase_has_a_line(word: str) -> None:
    assert re.search(rf"^\| {word} \|", OPERATOR, re.MULTILINE)


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_has_a_line(code: ExitCode) -> None:
    assert re.search(rf"^\| (\d+, )?{int(code)}(, \d+)? \|", OPERATOR, re.MULTILINE)
