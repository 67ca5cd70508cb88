"""Validation with ``schema.onChange: Recopy``: repeated while a table is away or is being altered."""

from typing import cast

import pytest

from ferry_core.errors import ConfigError, DataError, FerryError
from ferry_core.reasons import Reason
from ferry_core.run.copy_again import until_back
from ferry_core.run.setup import RunContext

GONE = DataError(Reason.SCHEMA_CHANGED, "t is gone")
FOUND = cast("RunContext", object())


def differs(how: str) -> ConfigError:
    return ConfigError(Reason.DEFINITION_DIFFERS, how)


def outcome(*failures: FerryError) -> RunContext:
    """What comes of validations that fail in these ways, and then succeed."""
    left = list(failures)

    def validate() -> RunContext:
        if left:
            raise left.pop(0)
        return FOUND

    return until_back(validate, lambda _text: None, lambda _seconds: None)


@pytest.mark.parametrize(
    "failures", [[], [GONE, GONE], [differs("2 columns"), differs("3 columns")], [differs("x"), GONE]]
)
def test_what_passes_is_repeated(failures: list[FerryError]) -> None:
    assert outcome(*failures) is FOUND


def test_what_fails_twice_in_the_same_way_ends_the_run() -> None:
    with pytest.raises(ConfigError, match="2 columns"):
        outcome(differs("2 columns"), differs("2 columns"))


def test_other_errors_end_the_run_at_once() -> None:
    with pytest.raises(DataError, match="lost"):
        outcome(DataError(Reason.TARGET_TABLE_LOST, "lost"))
