"""Generated walkers compared with a straightforward reading of the same images."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry_core.binlog.table_map import WireColumn
from ferry_core.binlog.walker import NullInKey, compiled, double_image_source, single_image_source

Values = list[bytes | None]


@st.composite
def columns(draw: st.DrawFn) -> list[WireColumn]:
    def one() -> WireColumn:
        prefix = draw(st.sampled_from([0, 0, 1, 2, 3, 4]))
        width = 0 if prefix else draw(st.integers(0, 9))
        return WireColumn(0, (0, 0), width, prefix, draw(st.booleans()))

    return [one() for _ in range(draw(st.integers(1, 30)))]


def value(draw: st.DrawFn, column: WireColumn, *, null: bool) -> bytes | None:
    if null and column.nullable and draw(st.booleans()):
        return None
    if not column.prefix:
        return draw(st.binary(min_size=column.width, max_size=column.width))
    longest = 70_000 if column.prefix > 2 and draw(st.integers(0, 30)) == 0 else 260 if column.prefix > 1 else 20
    body = bytes(draw(st.integers(0, longest)))
    return len(body).to_bytes(column.prefix, "little") + body


def image(present: Sequence[int], values: Values) -> bytes:
    """Unused bits of the bitmap are ones, as servers write them."""
    bits = (1 << (len(present) + 7) // 8 * 8) - 1
    for place, ordinal in enumerate(present):
        if values[ordinal] is not None:
            bits &= ~(1 << place)
    return bits.to_bytes((len(present) + 7) // 8, "little") + b"".join(values[ordinal] or b"" for ordinal in present)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[WireColumn], list[int], list[int], list[int], list[tuple[Values, Values]]]:
    table = draw(columns())
    everything = list(range(len(table)))
    key = draw(st.lists(st.sampled_from(everything), min_size=1, max_size=4, unique=True))
    for ordinal in key:
        table[ordinal] = table[ordinal]._replace(nullable=False)
    before = sorted({*key, *draw(st.lists(st.sampled_from(everything)))})
    after = sorted(set(draw(st.lists(st.sampled_from(everything))))) if draw(st.booleans()) else everything
    rows = [
        ([value(draw, one, null=True) for one in table], [value(draw, one, null=True) for one in table])
        for _ in range(draw(st.integers(0, 4)))
    ]
    return table, key, before, after, rows


@given(cases())
def test_walkers_cut_out_the_keys(
    case: tuple[list[WireColumn], list[int], list[int], list[int], list[tuple[Values, Values]]],
) -> None:
    table, key, before, after, rows = case
    single = compiled(single_image_source(table, key, before))
    data = b"head" + b"".join(image(before, old) for old, _ in rows)
    assert single(data, 4, len(data)) == [b"".join(old[one] or b"" for one in key) for old, _ in rows]

    double = compiled(double_image_source(table, key, before, after))
    data = b"".join(image(before, old) + image(after, new) for old, new in rows)
    wanted = []
    for old, new in rows:
        first = b"".join(old[one] or b"" for one in key)
        second = b"".join((new if one in after else old)[one] or b"" for one in key)
        wanted += [first] if first == second else [first, second]
    assert double(data, 0, len(data)) == wanted


@given(cases(), st.data())
def test_a_row_with_null_in_its_key_is_refused(
    case: tuple[list[WireColumn], list[int], list[int], list[int], list[tuple[Values, Values]]], data: st.DataObject
) -> None:
    """Whichever of its images has it: the walkers give no key that is not one."""
    table, key, before, after, rows = case
    ordinal = data.draw(st.sampled_from(key))
    table[ordinal] = table[ordinal]._replace(nullable=True)
    for old, new in rows:
        (old if data.draw(st.booleans()) else new)[ordinal] = None
    single = compiled(single_image_source(table, key, before))
    double = compiled(double_image_source(table, key, before, after))
    for old, new in rows:
        one, both = image(before, old), image(before, old) + image(after, new)
        if old[ordinal] is None:
            with pytest.raises(NullInKey):
                single(one, 0, len(one))
        else:
            assert len(single(one, 0, len(one))) == 1
        if old[ordinal] is None or (ordinal in after and new[ordinal] is None):
            with pytest.raises(NullInKey):
                double(both, 0, len(both))
        else:
            assert double(both, 0, len(both))


def test_images_that_do_not_end_with_the_event_are_refused() -> None:
    column = WireColumn(15, (20, 0), 0, 1, nullable=False)
    walk = compiled(single_image_source([column], [0], [0]))
    whole = image([0], [b"\3abc"])
    assert walk(whole, 0, len(whole)) == [b"\3abc"]
    for size in range(1, len(whole)):
        with pytest.raises((ValueError, IndexError)):
            walk(whole[:size], 0, size)
