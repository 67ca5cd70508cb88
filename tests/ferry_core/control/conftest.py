"""A ControlServer over a fake run that only records what it was asked."""

from collections.abc import Iterator

import pytest

from ferry_core.control.server import ControlServer
from tests.support.control import Run, serving


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.fixture
def server(run: Run) -> Iterator[ControlServer]:
    with serving(run) as server:
        yield server
