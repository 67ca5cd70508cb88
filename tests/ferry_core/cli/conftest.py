"""Commands that run in the tests' own process configure logging globally: restored after each test."""

import logging
from collections.abc import Iterator

import pytest

from ferry_core.cli.logs import CurrentStderr


@pytest.fixture(autouse=True)
def _logging_ends_with_the_test() -> Iterator[None]:
    yield
    for handler in logging.root.handlers[:]:
        if isinstance(handler, logging.StreamHandler) and isinstance(handler.stream, CurrentStderr):
            logging.root.removeHandler(handler)
            logging.root.setLevel(logging.WARNING)
