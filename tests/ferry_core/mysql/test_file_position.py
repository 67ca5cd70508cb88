"""Positions by file and offset: their text, their order, and that they are never compared with GTIDs."""

import pytest

from ferry_core.mysql.file_position import FilePosition
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import GtidSet, parse_position

UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"


@pytest.mark.parametrize("file", ["binlog.000001", "a:b.999999", "mysql-bin.1000000", f"{UUID}.000007"])
def test_text_and_position_are_the_same(file: str) -> None:
    position = FilePosition(file, 157)
    assert parse_position(Flavor.MYSQL, str(position)) == position


@pytest.mark.parametrize("text", ["", f"{UUID}:1-5", f"{UUID}:1:tag:7-9, {UUID[::-1]}:1"])
def test_gtids_are_no_place(text: str) -> None:
    assert FilePosition.of(text) is None


def test_files_are_in_the_order_of_their_numbers() -> None:
    places = [("b.000009", 4), ("b.000010", 4), ("b.000010", 900), ("b.999999", 4), ("b.1000000", 4)]
    for before, place in enumerate(places):
        contained = [FilePosition(*place).contains(FilePosition(*other)) for other in places]
        assert contained == [at <= before for at in range(len(places))]


def test_a_place_contains_no_gtids() -> None:
    with pytest.raises(TypeError):
        FilePosition("b.000001", 4).contains(GtidSet())
    with pytest.raises(TypeError):
        GtidSet().contains(FilePosition("b.000001", 4))
