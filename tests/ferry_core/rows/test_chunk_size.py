"""Chunk sizes adapt to time, bytes and the row limit, and shrink at once after trouble."""

from ferry_core.rows.chunk_size import FIRST, MOST_BYTES, ChunkSizer, ChunkTarget


def target() -> ChunkTarget:
    return ChunkTarget(seconds=0.5, bytes=8 << 20)


def test_the_first_chunk_is_small_whatever_the_estimate() -> None:
    assert ChunkSizer(target(), 0).rows == FIRST
    assert ChunkSizer(target(), 1 << 20).rows == 8


def test_sizes_grow_at_most_twofold_towards_the_time_wanted() -> None:
    sizer = ChunkSizer(target(), 100)
    sizer.learn(FIRST, FIRST * 100, 0.01)
    assert sizer.rows == 2 * FIRST
    sizer.learn(2 * FIRST, 2 * FIRST * 100, 1.0)
    assert sizer.rows == FIRST


def test_bytes_limit_a_chunk_even_if_the_spec_allows_more() -> None:
    sizer = ChunkSizer(ChunkTarget(seconds=60, bytes=256 << 20), 100)
    for _ in range(20):
        sizer.learn(sizer.rows, sizer.rows * 1000, 0.1)
    assert sizer.rows * 1000 <= MOST_BYTES


def test_time_alone_never_shrinks_a_chunk_to_a_few_rows() -> None:
    """On a busy machine a chunk's fixed cost alone took 10 ms: chunks shrank to 5 rows, and the copy crept."""
    sizer = ChunkSizer(ChunkTarget(seconds=0.01, bytes=8 << 20), 100)
    for _ in range(20):
        sizer.learn(sizer.rows, sizer.rows * 100, 0.2)
    assert sizer.rows == 100
    for _ in range(20):
        sizer.learn(sizer.rows, sizer.rows << 20, 0.2)
    assert sizer.rows == 8, "rows of a megabyte are bounded by their bytes all the same"


def test_a_row_limit_applies_to_the_next_chunk_and_is_removed_at_once() -> None:
    pace = target()
    sizer = ChunkSizer(pace, 100)
    pace.rows = 50
    assert sizer.rows == 50
    pace.rows = 1 << 30
    assert sizer.rows == FIRST


def test_trouble_halves_the_size() -> None:
    sizer = ChunkSizer(target(), 100)
    sizer.shrink()
    assert sizer.rows == FIRST // 2
