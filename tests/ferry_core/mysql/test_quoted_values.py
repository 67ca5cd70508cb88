"""Values of rows stay out of messages, whatever the server says about them."""

import pytest

from ferry_core.errors import FerryError
from ferry_core.mysql.quoted_values import without_values
from ferry_core.mysql.session import Purpose, Session
from tests.support.servers import Pair

PARTITIONED = (
    "CREATE TABLE `{}`.t (id INT PRIMARY KEY, name INT, day DATE, n INT UNSIGNED) "
    "PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (9000))"
)
PLAIN = "CREATE TABLE `{}`.t (id INT PRIMARY KEY, name VARCHAR(40) UNIQUE, day DATE, n INT UNSIGNED)"
SAID = {
    "duplicate": (PLAIN, "INSERT INTO `{}`.t VALUES (1, 'Ms 4711', NULL, 1), (2, 'Ms 4711', NULL, 1)", 1062),
    "key": (PLAIN, "INSERT INTO `{}`.t VALUES (4711, 'a', NULL, 1), (4711, 'b', NULL, 1)", 1062),
    "number": (PLAIN, "INSERT INTO `{}`.t VALUES ('Ms 4711', 'a', NULL, 1)", 1366),
    "date": (PLAIN, "INSERT INTO `{}`.t VALUES (1, 'a', 'the 4711th', 1)", 1292),
    "range": (PLAIN, "INSERT INTO `{}`.t SELECT 1, 'a', NULL, CAST(1 AS UNSIGNED) - 4711", 1690),
    "partition": (PARTITIONED, "INSERT INTO `{}`.t VALUES (14711, 1, NULL, 1)", 1526),
}  # fmt: skip


@pytest.mark.parametrize("what", SAID)
def test_a_servers_message_is_shown_without_values(pair: Pair, schema: str, what: str) -> None:
    table, statement, code = SAID[what]
    pair.source.execute(table.format(schema))
    with Session(pair.source.endpoint(), Purpose.CONTROL) as session:
        with pytest.raises(FerryError) as refused:
            session.execute(statement.format(schema))
        assert refused.value.code == code
        assert "4711" not in refused.value.problem
        assert "(not shown)" in refused.value.problem
        assert not any("4711" in warned.message for warned in session.warnings())


def test_a_warnings_message_is_shown_without_values(pair: Pair, schema: str) -> None:
    pair.source.execute(PLAIN.format(schema))
    with Session(pair.source.endpoint(), Purpose.CONTROL) as session:
        session.execute(f"INSERT IGNORE INTO `{schema}`.t VALUES ('4711 Ms', 'a', 'the 4711th', 1)")
        warnings = session.warnings()
    assert {warned.code for warned in warnings} & {1265, 1292, 1366}
    assert not any("4711" in warned.message for warned in warnings)


@pytest.mark.parametrize(
    ("code", "text", "shown"),
    [
        (1062, "Duplicate entry 'a' for key 'b' for key 't.name'", "Duplicate entry (not shown) for key 't.name'"),
        (
            1366,
            "Incorrect integer value: 'x' for column 'y' for column 'id' at row 1",
            "Incorrect integer value: (not shown) for column 'id' at row 1",
        ),
        (1146, "Table 'shop.t' doesn't exist", "Table 'shop.t' doesn't exist"),
    ],
)
def test_a_value_cannot_end_its_quotation(code: int, text: str, shown: str) -> None:
    assert without_values(code, text) == shown
