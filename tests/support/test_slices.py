"""Which cells of slow tests are run."""

import pytest

from tests.support import slices
from tests.support.slices import SLICES, SLICES_OF_FAULTS, Slice

SUITE = """
import pytest

@pytest.mark.slow
@pytest.mark.parametrize("cell", "abcde")
def test_slow_cells(cell): assert cell

@pytest.mark.slow
@pytest.mark.parametrize("cell", "ab")
def test_slow_pair(cell): assert cell

@pytest.mark.slow
def test_slow_alone(): assert True

@pytest.mark.parametrize("cell", "ab")
def test_quick_cells(cell): assert cell
"""


class _Collected:
    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.items = list(items)


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[pytest.Item]:
    folder = tmp_path_factory.mktemp("suite")
    suite, settings = folder / "test_suite.py", folder / "pytest.ini"
    suite.write_text(SUITE)
    settings.write_text("[pytest]\nmarkers =\n    slow: takes minutes\n    always: in each\n")
    collected = _Collected()
    arguments = ["--collect-only", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "-c", str(settings), str(suite)]
    assert pytest.main(arguments, plugins=[collected]) == 0
    return collected.items


def names(items: list[pytest.Item], chosen: Slice) -> set[str]:
    left_out = chosen.left_out(items)
    return {item.name for item in items if item not in left_out}


def test_slices_together_are_all_cells(items: list[pytest.Item]) -> None:
    parts = [names(items, Slice(number, 3)) for number in (1, 2, 3)]
    assert set().union(*parts) == {item.name for item in items}


def test_a_slow_cell_is_in_one_slice_and_everything_else_in_each(items: list[pytest.Item]) -> None:
    parts = [names(items, Slice(number, 3)) for number in (1, 2, 3)]
    assert set.intersection(*parts) == {"test_slow_alone", "test_quick_cells[a]", "test_quick_cells[b]"}
    assert sorted(len({name for name in part if "slow_cells" in name}) for part in parts) == [1, 2, 2]


def test_a_slice_holds_a_cell_of_each_slow_test(items: list[pytest.Item]) -> None:
    parts = [names(items, Slice(number, 3)) for number in (1, 2, 3)]
    assert [len({name for name in part if "slow_pair" in name}) for part in parts] == [1, 1, 1]


def test_a_complete_move_is_in_turn_and_one_that_guards_rows_in_each_slice(
    items: list[pytest.Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "COMPLETE_MOVES", items[0].path.parent)
    pair = [item for item in items if item.name.startswith("test_slow_pair")]
    parts = [names(items, Slice(number, 4)) for number in (1, 2, 3, 4)]
    for item in items:
        assert sum(item.name in part for part in parts) == 1
    for item in pair:
        monkeypatch.setattr(item, "own_markers", [*item.own_markers, pytest.mark.always.mark])
    parts = [names(items, Slice(number, 4)) for number in (1, 2, 3, 4)]
    assert [len({item.name for item in pair} & part) for part in parts] == [1, 1, 1, 1]
    assert {item.name for item in pair} <= set().union(*parts)


def test_slow_tests_of_a_module_that_share_a_cluster_are_in_one_slice(
    items: list[pytest.Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "MODULES", {items[0].path.parent})
    quick = {"test_quick_cells[a]", "test_quick_cells[b]"}
    parts = [names(items, Slice(number, 4)) for number in (1, 2, 3, 4)]
    assert sorted(parts, key=len) == [quick, quick, quick, {item.name for item in items}]


@pytest.mark.parametrize("text", ["3/2", "0/2", "half"])
def test_no_such_slice(text: str) -> None:
    with pytest.raises(ValueError, match=r"slice|invalid literal"):
        Slice.parse(text)


def test_all_is_no_slice_and_a_commit_chooses_one() -> None:
    assert Slice.parse("all") is None
    chosen = Slice.parse("commit")
    assert chosen is not None
    assert chosen.number in range(1, SLICES + 1)
    assert (chosen.of, chosen.turn) in {(SLICES, turn) for turn in range(SLICES_OF_FAULTS)}


def test_ten_turns_together_are_all_faults_and_what_failed_once_is_in_each(
    items: list[pytest.Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "FAULTS", items[0].path.parent)
    cells = [item for item in items if "[" in item.name]
    cells[0].add_marker("always")
    parts = [names(cells, Slice(1, SLICES, turn)) for turn in range(SLICES_OF_FAULTS)]
    assert set().union(*parts) == {item.name for item in cells}
    assert set.intersection(*parts) == {cells[0].name}
    assert sum(map(len, parts)) == len(cells) + SLICES_OF_FAULTS - 1
