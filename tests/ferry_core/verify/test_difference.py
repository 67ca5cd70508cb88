import logging

import pytest

from ferry_core.verify.difference import Difference, DifferenceKind, RowsDiffer, readable
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


def test_messages_have_numbers_and_the_log_at_level_debug_has_keys(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shop, people = simple_table(), simple_table("people")
    kinds = ((shop, "4711", DifferenceKind.MISSING), (shop, "4712", DifferenceKind.MISSING))
    others = ((shop, "4713", DifferenceKind.EXTRA), (people, "'4711'", DifferenceKind.CHANGED))
    message = RowsDiffer([Difference(table, (key,), kind) for table, key, kind in (*kinds, *others)]).message
    assert message.startswith(
        "4 rows differ between source and target: shop.t: missing on the target (2); shop.t: on the target, but not on "
        "the source, or excluded by the row filter (1); shop.people: different values on the target (1) (their keys: "
    )
    assert "471" not in message
    (line,) = [record for record in caplog.records if "4711" in record.getMessage()]
    assert line.levelno == logging.DEBUG
    assert "shop.people (id='4711'): different values on the target" in line.getMessage()
