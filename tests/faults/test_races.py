"""Every race of ``interleavings.py`` at every point of the copy, by the engine's own threads; the end is compared."""

import contextlib
from collections.abc import Callable

import pytest

from ferry_core.tables.table import KeyRange, Selector, Table
from tests.faults.interleavings import CHUNKS, POINTS, RACES, TABLES, Race
from tests.support.engine_in_process import EngineInProcess, Limits, StartState, chunks_of, stalled
from tests.support.servers import Pair

pytestmark = pytest.mark.slow

Chosen = Callable[[Table, Selector], bool]
_CHANGES = ("UPDATE t SET v = v + 100 WHERE id IN (1, 9)", "UPDATE words SET v = 9")


def _chunk(name: str, *, last: bool) -> Chosen:
    def chosen(table: Table, selector: Selector) -> bool:
        return table.source.name == name and isinstance(selector, KeyRange) and (selector.hi is None) is last

    return chosen


def _batch(name: str) -> Chosen:
    return lambda table, selector: table.source.name == name and not isinstance(selector, KeyRange)


def _happens(pair: Pair, schema: str, race: Race) -> None:
    for transaction in race.transactions:
        parts = [part.strip() for part in transaction.split(";")]
        around = [] if parts[0].startswith("XA") else ["COMMIT"]
        begin = [] if not around or "TEMPORARY" in parts[0] else ["BEGIN"]
        settings = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'"
        pair.source.execute(settings, f"USE `{schema}`", *begin, *parts, *around)


def _engine(pair: Pair, schema: str) -> EngineInProcess:
    """Its tables have three chunks each; two are copied at once."""
    chunks = {f"{schema}.{name}": chunks_of(*bounds) for name, bounds in CHUNKS.items()}
    return EngineInProcess(pair, schema, StartState(chunks), Limits(workers=2))


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("race", RACES)
def test_race(pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch, race: str, point: str) -> None:
    if pair.family not in RACES[race].families:
        pytest.skip("not on this family")
    pair.source.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'", f"USE `{schema}`", *TABLES)
    with _engine(pair, schema) as run:
        if point == "started":
            run.engine.start_streaming()
            assert run.make_readable()
            _happens(pair, schema, RACES[race])
            run.engine.start_copying()
        elif point == "batch":
            run.go()
            run.quiet()
            with stalled(monkeypatch, _batch(RACES[race].table)) as stall:
                pair.source.execute(f"USE `{schema}`", *_CHANGES)
                stall.wait()
                _happens(pair, schema, RACES[race])
                run.streamed()
        else:
            _while_copied(run, monkeypatch, point, RACES[race])
        run.quiet()
        run.equal()


def _while_copied(run: EngineInProcess, monkeypatch: pytest.MonkeyPatch, point: str, race: Race) -> None:
    held = {"chunk": [False], "last chunk": [True], "two chunks": [False, True]}[point]
    with contextlib.ExitStack() as stack:
        stalls = [stack.enter_context(stalled(monkeypatch, _chunk(race.table, last=last))) for last in held]
        run.go()
        for stall in stalls:
            stall.wait()
        _happens(run.pair, run.schema, race)
        run.streamed()


@pytest.mark.parametrize("point", ["chunk", "last chunk", "two chunks"])
def test_rows_that_change_between_overlapping_rules(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """The first rule that matches a table is its only one: of ``t`` rows with v < 5, of the others all but v = 2."""
    pair.source.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'", f"USE `{schema}`", *TABLES)
    rules = [{"match": f"{schema}.t", "where": "v < 5"}, {"match": f"{schema}.*", "where": "v <> 2"}]
    moves = ("UPDATE t SET v = 2 WHERE id = 1", "UPDATE t SET v = 7 WHERE id IN (2, 9)", "UPDATE words SET v = 4 - v")
    chunks = {f"{schema}.t": chunks_of(*CHUNKS["t"])}
    include = [f"{schema}.t", f"{schema}.words"]
    with EngineInProcess(pair, schema, StartState(chunks), Limits(workers=2), include=include, rules=rules) as run:
        _while_copied(run, monkeypatch, point, Race("rows leave and enter", moves))
        run.quiet()
        for table, condition in (("t", "v < 5"), ("words", "v <> 2")):
            rows = f"SELECT * FROM `{schema}`.{table}"
            assert pair.target.query(f"{rows} ORDER BY 1") == pair.source.query(f"{rows} WHERE {condition} ORDER BY 1")
