"""What reads bytes of a server meets bytes by chance, damaged honest ones, and all that has ever been found."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS

FOUND: dict[str, list[bytes]] = {}
"""Bytes that have once ended a target by an error without a reason."""


@st.composite
def damaged(draw: st.DrawFn, honest: list[bytes]) -> bytes:
    """Honest bytes with some changed, cut out or put in."""
    found = draw(st.sampled_from(honest))
    for _ in range(draw(st.integers(1, 6))):
        at, gone = draw(st.integers(0, len(found))), draw(st.integers(0, 4))
        found = found[:at] + draw(st.binary(max_size=6)) + found[at + gone :]
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_honest_bytes_and_those_that_were_found(target: str) -> None:
    for data in (*SEEDS[target], *FOUND.get(target, ())):
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_bytes_are_an_unknown_error(target: str, data: st.DataObject) -> None:
    TARGETS[target](data.draw(st.one_of(st.binary(max_size=200), damaged(SEEDS[target]))))
