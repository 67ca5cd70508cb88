"""Expressions of a table made by hand are compared with the source's, as the other family prints them."""

import pytest

from ferry_core.preflight.structure import Structure, plainly


def spelled(clause: str) -> set[str]:
    return plainly(Structure("InnoDB", {}, {}, {clause})).checks


@pytest.mark.parametrize(
    ("mysql", "mariadb"),
    [
        ("(`a` > 1)", "`a` > 1"),
        ("((`a` > 1) and (`b` < 2))", "`a` > 1 and `b` < 2"),
        ("((`a` > 1) or (`b` < 2) or (`c` = 3))", "`a` > 1 or `b` < 2 or `c` = 3"),
        ("(`a` <> 'It''s')", "`a` <> 'It\\'s'"),
    ],
)
def test_one_expression_has_one_spelling(mysql: str, mariadb: str) -> None:
    assert spelled(mysql) == spelled(mariadb)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("(a or b) and c", "a or (b and c)"),
        ("a in ('X')", "a in ('x')"),
        ("(a + b) * c", "a + (b * c)"),
        ("a - (b - c)", "a - b - c"),
        ("a / (b / 2)", "a / b / 2"),
        ("a div (b div c)", "(a div b) div c"),
        ("a <> '('", "a <> ''"),
    ],
)
def test_other_expressions_stay_different(one: str, other: str) -> None:
    assert spelled(one) != spelled(other)
