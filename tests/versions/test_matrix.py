"""docs/support.md lists the pairs of releases that are tested."""

from hack.servers import Release
from tests.versions.matrix import MOVES, PAGE, STOCK, page


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "python -m tests.versions.matrix writes it"


def test_each_release_is_a_source_once_at_least() -> None:
    assert {Release(source.removesuffix(STOCK)) for source, _ in MOVES} == set(Release)
