"""Stream positions: text, containment, union, and the wire form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import GtidSet, MariaDbGtids, parse_position

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "4e11fa47-71ca-11e1-9e33-c80aa9429562"

numbers = st.sets(st.tuples(st.sampled_from([A, B, f"{A}:blue", f"{A}:_x9"]), st.integers(1, 30)), max_size=40)
triples = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 50)), max_size=20)


def mysql_set(members: set[tuple[str, int]]) -> GtidSet:
    result = GtidSet()
    for source, number in members:
        result = result.add(source, number)
    return result


def test_text_forms() -> None:
    parsed = GtidSet.parse(f"{A.upper()}:1-3:5:4,\n {B}:7:blue:1-2:4:red:9")
    assert str(parsed) == f"{A}:1-5,{B}:7,{B}:blue:1-2:4,{B}:red:9"
    assert GtidSet.parse("") == GtidSet()
    assert str(GtidSet()) == ""
    assert str(MariaDbGtids.parse("1-2-3, 0-1-100")) == "0-1-100,1-2-3"


@pytest.mark.parametrize("text", ["x", A, f"{A}:", f"{A}:0", f"{A}:5-3", f"{A}:1-2-3", f"{A}:Ü:1", "1-2-3"])
def test_bad_gtid_sets_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="GTID"):
        parse_position(Flavor.MYSQL, text)


@pytest.mark.parametrize("text", ["1-2", "a-b-c", "1-2-3-4", f"{A}:1", "4294967296-1-1"])
def test_bad_mariadb_positions_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="GTID"):
        parse_position(Flavor.MARIADB, text)


@given(numbers, numbers)
def test_gtid_sets_behave_like_sets(left: set[tuple[str, int]], right: set[tuple[str, int]]) -> None:
    mine, theirs = mysql_set(left), mysql_set(right)
    assert mine.contains(theirs) == (right <= left)
    assert mine.union(theirs) == mysql_set(left | right)
    assert str(mine.union(theirs)) == str(theirs.union(mine))
    assert hash(mine.union(theirs)) == hash(theirs.union(mine))
    assert GtidSet.parse(str(mine)) == mine
    assert all(mine.has(*one) for one in left)
    assert not any(mine.has(*one) for one in right - left)


@given(triples, triples)
def test_a_mariadb_position_is_the_last_of_each_domain(
    left: list[tuple[int, int, int]], right: list[tuple[int, int, int]]
) -> None:
    mine, theirs = MariaDbGtids(), MariaDbGtids()
    for one in left:
        mine = mine.add(*one)
    for one in right:
        theirs = theirs.add(*one)
    both = mine.union(theirs)
    assert both.contains(mine)
    assert both.contains(theirs)
    assert MariaDbGtids.parse(str(both)) == both
    highest = {domain: max(s for d, _, s in left if d == domain) for domain, _, _ in left}
    assert {domain: last.sequence for domain, last in mine.domains.items()} == highest


def test_families_do_not_mix() -> None:
    with pytest.raises(TypeError):
        GtidSet().contains(MariaDbGtids())
    with pytest.raises(TypeError):
        MariaDbGtids().union(GtidSet())


def test_wire_form() -> None:
    raw = bytes.fromhex(A.replace("-", ""))
    plain = GtidSet.parse(f"{A}:1-3:7").encode()
    assert plain == (1).to_bytes(8, "little") + raw + b"".join(n.to_bytes(8, "little") for n in (2, 1, 4, 7, 8))
    tagged = GtidSet.parse(f"{A}:blue:2").encode()
    assert tagged == b"\1\1\0\0\0\0\0\1" + raw + b"\x08blue" + b"".join(n.to_bytes(8, "little") for n in (1, 2, 3))
