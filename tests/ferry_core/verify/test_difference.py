import pytest

from ferry_core.verify.difference import Difference, DifferenceKind, readable
from tests.support.tables import simple_table


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        ("-42", "-42"),
        ("'2024-01-31 10:00:00.5'", "'2024-01-31 10:00:00.5'"),
        ("_utf8mb4 X'C3A4'", "'ä'"),
        ("_utf8mb4 X''", "''"),
        ("_latin1 X'E4'", "'ä'"),
        ("_gbk X'A4E9'", "'ら'"),
        ("_ucs2 X'0061'", "'a'"),
        ("_utf8mb4 X'610A'", "'a\\n'"),
        ("_utf8mb4 X'FF'", "0xff"),
        ("_armscii8 X'61'", "0x61"),
        ("_binary X'00FF'", "0x00ff"),
        ("0x00FF", "0x00ff"),
        ("CAST(_binary X'00FF' AS BINARY(2))", "0x00ff"),
        ("1.5e0", "1.5e0"),
    ],
)
def test_key_literals_are_readable(literal: str, text: str) -> None:
    assert readable(literal) == text


def test_a_difference_names_table_key_and_kind() -> None:
    difference = Difference(simple_table(), ("7",), DifferenceKind.MISSING)
    assert str(difference) == "shop.t (id=7): missing on the target"
