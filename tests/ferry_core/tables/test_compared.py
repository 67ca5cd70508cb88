"""Which row filters are plain enough for an index to be chosen without being named."""

import pytest

from ferry_core.tables.compared import compared_column
from ferry_core.tables.table import Column


def column(name: str, data_type: str) -> Column:
    return Column(name, 0, data_type, data_type, None, None, False, False, False, 8)


COLUMNS = [column("Tenant", "int"), column("name", "varchar"), column("day", "date"), column("kind", "enum")]


@pytest.mark.parametrize(
    ("row_filter", "found"),
    [
        ("tenant = 42", "Tenant"),
        (" `TENANT`\n IN (1,-2 , 3.5) ", "Tenant"),
        ("tenant IN ('1')", "Tenant"),
        ("name = 'it''s'", "name"),
        ("day in ('2026-12-01', '2026-12-02')", "day"),
        ("name = 42", ""),  # compared as numbers, which no index of texts is ordered by
        ("tenant IN (1, '2')", ""),
        ("tenant IN (1, NULL)", ""),
        ("kind = 'a'", ""),
        ("tenant > 42", ""),
        ("tenant = 42 OR name = 'x'", ""),
        ("tenant = 42 AND day > '2026-12-01'", ""),
        ("NOT tenant = 42", ""),
        ("tenant = 42 + 1", ""),
        ("tenant = other", ""),
        ("t.tenant = 42", ""),
        ("name = 'a\\'b'", ""),
        ("name = 'a' COLLATE utf8mb4_bin", ""),
        ("tenant = 42 # a remark", ""),
        ("unknown = 42", ""),
        ("tenantIN (1)", ""),
    ],
)
def test_the_column_that_a_plain_filter_compares(row_filter: str, found: str) -> None:
    assert compared_column(COLUMNS, row_filter) == found
