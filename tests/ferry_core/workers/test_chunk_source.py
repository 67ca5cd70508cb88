"""Chunks handed out to several threads: each row once, the least-progressed table first, resumable at any point."""

import random
import threading

import pytest

from ferry_core.api.spec import Copy
from ferry_core.checkpoint.state import TableState
from ferry_core.errors import DataError
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.session import Purpose, Session
from ferry_core.rows.chunk_size import LARGEST, MOST_BYTES, ChunkSizer, ChunkTarget
from ferry_core.rows.chunks import Chunk
from ferry_core.rows.copier import CopyResult
from ferry_core.tables.predicates import where
from ferry_core.tables.table import Table
from ferry_core.workers.chunk_source import ChunkSource
from tests.support.servers import Pair
from tests.support.table_pair import TablePair

ROWS = {"a": 20_000, "b": 9_000, "empty": 0}
WALL = 10


def result(rows: int) -> CopyResult:
    """A slow chunk, so that chunks stay small."""
    return CopyResult(rows, rows * 100, rows, 0, 0, rows / 1000, 0)


@pytest.fixture
def tables(pair: Pair, both: TablePair, schema: str) -> list[Table]:
    for name, rows in ROWS.items():
        pair.source.execute(f"CREATE TABLE `{schema}`.`{name}` (id BIGINT PRIMARY KEY, v INT)")
        for start in range(0, rows, 5000):
            values = ",".join(f"({row * 3 - 7000}, {row})" for row in range(start, min(start + 5000, rows)))
            pair.source.execute(f"INSERT INTO `{schema}`.`{name}` VALUES {values}")
        pair.source.query(f"ANALYZE TABLE `{schema}`.`{name}`")
    return both.selected(f"{schema}.*")


def keys_in(session: Session, chunk: Chunk) -> list[bytes | None]:
    condition = where(chunk.table.key, chunk.range)
    return [row[0] for row in session.query(f"SELECT id FROM {chunk.table.source.sql} WHERE {condition}")]


def test_workers_get_every_row_once_whatever_fails_and_restarts(pair: Pair, tables: list[Table]) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    rng = random.Random(seed)
    states: dict[str, TableState] = {}
    finished: list[tuple[str, bytes | None]] = []
    for generation in range(WALL):
        chunks = ChunkSource(MoveSet.of(tables, Copy(), states))
        last = generation == WALL - 1
        budget = threading.Semaphore(rng.randrange(1, 12))

        def work(chunks: ChunkSource = chunks, last: bool = last, budget: threading.Semaphore = budget) -> None:
            with Session(pair.source.endpoint("source"), Purpose.SOURCE) as session:
                while not chunks.all_done and (last or budget.acquire(blocking=False)):
                    found_one = chunks.next_chunk(lambda _: session)
                    if found_one is None:
                        continue
                    move, chunk = found_one
                    fate = rng.random()
                    if fate < 0.1:
                        chunks.returned(chunk)
                    elif fate < 0.2 and not chunk.single:
                        chunks.split(chunk, session)
                        chunks.returned(chunk)  # as an error handler does: no longer out, left alone
                    elif fate < 0.8 or last:
                        found = keys_in(session, chunk)
                        finished.extend((chunk.table.id, key) for key in found)
                        chunks.finished(move, chunk, result(len(found)))
                    # otherwise: handed out when the run dies

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stored = {move.id: chunks.state(move) for move in chunks.moves}
        states = {
            name: TableState.model_validate_json(
                TableState(
                    frontier=state.frontier,
                    unfinished=state.unfinished,
                    walked=state.walked,
                    rows_copied=state.rows_copied,
                    bytes_copied=state.bytes_copied,
                ).model_dump_json()
            )
            for name, state in stored.items()
        }
    assert chunks.all_done
    assert len(finished) == len(set(finished)) == sum(ROWS.values())
    assert {table.source.name: states[table.id].rows_copied for table in tables} == ROWS


def test_the_least_progressed_allowed_table_is_next(both: TablePair, tables: list[Table]) -> None:
    moves = MoveSet.of(tables, Copy())
    chunks = ChunkSource(moves)
    by_name = {move.table.source.name: move for move in moves}
    first = [chunks.next_chunk(both.source_of) for _ in range(3)]
    assert {found[0] for found in first if found} == set(moves)
    only = chunks.next_chunk(both.source_of, lambda move: move is by_name["b"])
    assert only is not None
    assert only[0] is by_name["b"]
    assert chunks.next_chunk(both.source_of, lambda _: False) is None
    nearest = chunks.next_chunk(both.source_of)
    assert nearest is not None
    assert nearest[0] is by_name["a"]
    assert not chunks.done(by_name["empty"])
    for found in first:
        assert found is not None
        chunks.finished(*found, result(1))
    assert chunks.done(by_name["empty"])


def test_one_row_that_is_too_large_is_named(both: TablePair, tables: list[Table]) -> None:
    chunks = ChunkSource(MoveSet.of(tables[:1], Copy()))
    found = chunks.next_chunk(both.source_of)
    with pytest.raises(DataError, match=r"RowTooLarge: a row of .*a "):  # noqa: PT012 - as many splits as it takes
        while found is not None:
            chunks.split(found[1], both.plain)
            found = chunks.next_chunk(both.source_of)


def test_chunk_sizes_adapt_to_bytes_and_time() -> None:
    sizer = ChunkSizer(ChunkTarget(0.5, 8 << 20), 100)
    first = sizer.rows
    sizer.learn(first, first * 100, 0.01)
    assert sizer.rows == 2 * first
    for _ in range(20):
        sizer.learn(sizer.rows, sizer.rows * 100, sizer.rows / 100_000)
    assert sizer.rows == 50_000
    sizer.learn(50_000, 50_000 * 1000, 0.1)
    assert sizer.rows == (8 << 20) // 1000
    before = sizer.rows
    sizer.shrink()
    assert sizer.rows == before // 2
    sizer.learn(3, 30_000_000, 10)  # the last rows of a table say nothing about its size
    assert sizer.rows == before // 2


def test_chunk_sizes_have_limits() -> None:
    sizer = ChunkSizer(ChunkTarget(60, 256 << 20), 0)
    for _ in range(30):
        sizer.learn(sizer.rows, sizer.rows * 10, 0.001)
    assert sizer.rows == LARGEST
    sizer.learn(LARGEST, LARGEST * 1000, 0.001)
    assert sizer.rows == MOST_BYTES // 1000
    for _ in range(30):
        sizer.shrink()
    assert sizer.rows == 1
    assert ChunkSizer(ChunkTarget(0.5, 8 << 20), 1 << 30).rows == 1
