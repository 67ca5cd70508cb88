"""Every race of ``interleavings.py`` at every point of the copy, by the engine's own threads; the end is compared."""

from collections.abc import Callable

import pytest

from ferry_core.tables.table import KeyRange, Selector, Table
from tests.faults.interleavings import POINTS, RACES, TABLES, Race
from tests.support.engine_in_process import EngineInProcess, stalled
from tests.support.servers import Pair

pytestmark = pytest.mark.slow

Chosen = Callable[[Table, Selector], bool]


def _chunk(table: Table, selector: Selector) -> bool:
    return table.source.name in ("t", "words") and isinstance(selector, KeyRange)


def _last_chunk(table: Table, selector: Selector) -> bool:
    return _chunk(table, selector) and isinstance(selector, KeyRange) and selector.hi is None


def _batch(_: Table, selector: Selector) -> bool:
    return not isinstance(selector, KeyRange)


def _happens(pair: Pair, schema: str, race: Race) -> None:
    for transaction in race.transactions:
        parts = [part.strip() for part in transaction.split(";")]
        around = [] if parts[0].startswith("XA") else ["COMMIT"]
        begin = [] if not around or "TEMPORARY" in parts[0] else ["BEGIN"]
        settings = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'"
        pair.source.execute(settings, f"USE `{schema}`", *begin, *parts, *around)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("race", RACES)
def test_race(pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch, race: str, point: str) -> None:
    if pair.family not in RACES[race].families:
        pytest.skip("not on this family")
    pair.source.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'", f"USE `{schema}`", *TABLES)
    with EngineInProcess(pair, schema) as run:
        if point == "started":
            run.engine.start_streaming()
            assert run.make_readable()
            _happens(pair, schema, RACES[race])
            run.engine.start_copying()
        else:
            _at(run, monkeypatch, point, RACES[race])
        run.quiet()
        run.equal()


def _at(run: EngineInProcess, monkeypatch: pytest.MonkeyPatch, point: str, race: Race) -> None:
    chosen: dict[str, Chosen] = {"chunk": _chunk, "last chunk": _last_chunk, "batch": _batch}
    if point == "batch":
        run.go()
        run.quiet()
    with stalled(monkeypatch, chosen[point]) as stall:
        if point == "batch":
            run.pair.source.execute(f"UPDATE `{run.schema}`.t SET v = v + 100 WHERE id IN (1, 9)")
        else:
            run.go()
        stall.wait()
        _happens(run.pair, run.schema, race)
        run.streamed()
        stall.release()
