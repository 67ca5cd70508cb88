"""Tables that online schema changes leave beside a selected one."""

import pytest

from ferry_core.tables.shadow import is_shadow
from ferry_core.tables.table import TableName

LONG = "x" * 60


@pytest.mark.parametrize(
    "name",
    [
        *("_t_gho", "_t_ghc", "_t_del", "_t_new", "_t_old", "__t_new", "_t_20300131235959_del", "__under_gho"),
        f"_{LONG[:-1]}_gho",
    ],
)
def test_a_shadow_of_a_selected_table(name: str) -> None:
    assert is_shadow(TableName("shop", name), {"shop.t", "shop._under", f"shop.{LONG}"})


@pytest.mark.parametrize("name", ["t_gho", "t_old", "_other_new", "_t_newer", "_t", "_t_2030_del", "t"])
def test_no_shadow(name: str) -> None:
    assert not is_shadow(TableName("shop", name), {"shop.t"})


def test_a_table_of_another_schema_has_no_shadow_here() -> None:
    assert not is_shadow(TableName("other", "_t_gho"), {"shop.t"})
