"""The source: its transactions, what a read sees, prepared XA transactions, DDL, and a crash that loses its tail.

An event can be read before its rows are visible, and rows become visible in any order. Until then the transaction holds
locks on its keys and on old and new unique values; so does a prepared one, which may lie before the stream's start and
may not be in XA RECOVER yet. Gap locks are not modelled: without them more can happen, not less.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations

from tests.model.config import Config, Keys
from tests.model.state import (
    TODO,
    Event,
    Found,
    Hidden,
    Label,
    Prepared,
    Progress,
    Row,
    Rows,
    Run,
    Scan,
    State,
    Step,
    Stored,
    Writes,
    put,
    without,
)

Transaction = tuple[Label, Writes]


class Source:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._keys = tuple(range(config.keys))
        self._classes = config.classes or self._keys
        self._unique = bool(config.values)

    # -- the beginning --------------------------------------------------------------------------------------------

    def begins(self) -> Iterator[Step]:
        config = self._config
        for text in config.initial or self._every_initial():
            rows: Rows = tuple(None if one == "-" else Row(one if self._unique else "", 0, 1) for one in text)
            stored = Stored(0, (0,) * len(config.ranges))
            replica = rows if config.other_server else ()
            state = State(0, rows, (), (), (), (None,) * config.keys, stored, config.faults, (), None, replica=replica)
            yield ("rows", text), state
            if config.xa:
                for name, writes in self._transactions(rows, set(), set(), 1):
                    prepared = (Prepared(-1, writes, 1, listed=False),)
                    yield ("rows", text, "and XA prepared:", *name), state._replace(prepared=prepared)

    def _every_initial(self) -> Iterator[str]:
        for count in range(self._config.keys + 1):
            for present in combinations(self._keys, count):
                if self._unique and count > len(self._config.values):
                    continue
                if len({self._classes[key] for key in present}) < count:
                    continue
                values = iter(self._config.values if self._unique else "x" * count)
                yield "".join(next(values) if key in present else "-" for key in self._keys)

    # -- transactions ---------------------------------------------------------------------------------------------

    def _transactions(self, rows: Rows, locked: set[int], values: set[str], version: int) -> Iterator[Transaction]:
        """Every legal one over rows and unique values that nobody has locked."""
        live = [key for key in self._keys if rows[key] and key not in locked]
        if self._unique:
            used = {row.unique for row in rows if row} | values
            fresh = [value for value in self._config.values if value not in used]
            live = [key for key in live if self._row(rows, key).unique not in values]
        else:
            fresh = [""]
        yield from self._inserts(rows, locked, fresh, version)
        for key in live:
            yield from self._changes(rows, locked, fresh, key, version)
        if self._unique:
            yield from self._exchanges(rows, live, version)

    @staticmethod
    def _row(rows: Rows, key: int) -> Row:
        row = rows[key]
        assert row is not None
        return row

    def _taken(self, rows: Rows, locked: set[int]) -> set[int]:
        return {self._classes[key] for key in self._keys if rows[key] or key in locked}

    def _inserts(self, rows: Rows, locked: set[int], fresh: list[str], version: int) -> Iterator[Transaction]:
        taken = self._taken(rows, locked)
        for key in self._keys:
            if not rows[key] and key not in locked and self._classes[key] not in taken:
                for value in fresh:
                    yield ("insert", key, value), ((key, Row(value, version, 1)),)

    def _changes(self, rows: Rows, locked: set[int], fresh: list[str], key: int, version: int) -> Iterator[Transaction]:
        value, _, selected = self._row(rows, key)
        yield ("delete", key), ((key, None),)
        for other in fresh:
            yield ("update", key, other), ((key, Row(other, version, selected)),)
        if self._unique and not fresh:
            yield ("update", key), ((key, Row(value, version, selected)),)
        if self._config.row_filter:
            yield ("filter", key, 1 - selected), ((key, Row(value, version, 1 - selected)),)
        taken = self._taken(rows, locked)
        for to in self._keys:
            if (
                not rows[to]
                and to not in locked
                and (self._classes[to] not in taken or self._classes[to] == self._classes[key])
            ):
                yield ("move", key, to), ((key, None), (to, Row(value, version, selected)))

    def _exchanges(self, rows: Rows, live: list[int], version: int) -> Iterator[Transaction]:
        """Unique values that change hands: two rows swap them, or one is deleted and the other gets its value."""
        for one in live:
            for two in live:
                a, b = self._row(rows, one), self._row(rows, two)
                if one < two:
                    yield (
                        ("swap", one, two),
                        ((one, Row(b.unique, version, a.selected)), (two, Row(a.unique, version, b.selected))),
                    )
                if one != two:
                    yield ("steal", one, two), ((one, None), (two, Row(a.unique, version, b.selected)))

    def _event_keys(self, name: Label, writes: Writes) -> Keys:
        if self._config.whole:
            return (0,)
        if name[0] == "move" and self._config.moved_keys != "both":
            return (writes[self._config.moved_keys == "new"][0],)
        return tuple(sorted(key for key, _ in writes))

    # -- steps ----------------------------------------------------------------------------------------------------

    def steps(self, state: State) -> Iterator[Step]:
        if state.txs < self._config.transactions:
            yield from self._commits(state)
            if self._config.ddl and not state.hidden and not state.prepared:
                yield from self._ddl(state)
        for at, hidden in enumerate(state.hidden):
            rows = _written(state.rows, hidden.writes)
            keys = [key for key, _ in hidden.writes]
            yield ("visible", keys), state._replace(rows=rows, hidden=without(state.hidden, at))
        for at, prepared in enumerate(state.prepared):
            yield from self._decisions(state, at, prepared)

    def _commits(self, state: State) -> Iterator[Step]:
        locked, values = self._locks(state)
        tx, pos = state.txs + 1, len(state.log)
        may_prepare = (
            self._config.xa
            and not state.prepared
            and not any(hidden.xid for hidden in state.hidden)
            and not any(event.kind == "P" for event in state.log)
        )
        for name, writes in self._transactions(state.rows, locked, values, tx):
            keys = self._event_keys(name, writes)
            event = self._event(state, Event("T", keys, 0), writes)
            yield (
                ("commit", *name),
                state._replace(txs=tx, hidden=(*state.hidden, Hidden(pos, writes, 0)), log=(*state.log, event)),
            )
            if may_prepare:
                prepared = (*state.prepared, Prepared(pos, writes, tx + 1, listed=False))
                log = (*state.log, Event("P", keys, tx + 1))
                yield ("xa prepare", *name), state._replace(txs=tx, prepared=prepared, log=log)

    def _event(self, state: State, event: Event, writes: Writes) -> Event:
        """With what a crash needs to take it back."""
        if not self._config.source_loses:
            return event
        undo = tuple((key, state.rows[key]) for key, _ in writes)
        return event._replace(tx=state.txs + 1, undo=undo)

    def _locks(self, state: State) -> tuple[set[int], set[str]]:
        keys: set[int] = set()
        values: set[str] = set()
        for writes in [one.writes for one in state.hidden] + [one.writes for one in state.prepared]:
            for key, row in writes:
                keys.add(key)
                before = state.rows[key]
                values.update(each.unique for each in (row, before) if each)
        if self._config.locking_reads and state.run:
            for progress in _progresses(state.run):
                if isinstance(progress, Scan):
                    keys.update(key for key, _ in progress.rows)
        return keys, values

    def _ddl(self, state: State) -> Iterator[Step]:
        """Changes values without row events: MODIFY to another type, or back. Or changes nothing."""
        tx = state.txs + 1
        log = (*state.log, Event("D", (), 0, tx))
        rows = tuple(row and row._replace(version=tx) for row in state.rows)
        name = "alter back" if state.shape else "alter"
        yield (name,), state._replace(txs=tx, rows=rows, log=log, shape=1 - state.shape)
        yield ("alter without effect",), state._replace(txs=tx, log=log)

    def _decisions(self, state: State, at: int, prepared: Prepared) -> Iterator[Step]:
        rest = without(state.prepared, at)
        xid = prepared.xid
        if not prepared.listed:
            listed = put(state.prepared, at, prepared._replace(listed=True))
            yield ("xa listed", xid), state._replace(prepared=listed)
            return
        hidden = (*state.hidden, Hidden(len(state.log), prepared.writes, xid))
        committed = (*state.log, Event("C", (), xid))
        yield ("xa commit", xid), state._replace(hidden=hidden, prepared=rest, log=committed)
        yield ("xa rollback", xid), state._replace(prepared=rest, log=(*state.log, Event("R", (), xid)))

    # -- what the copier asks -------------------------------------------------------------------------------------

    def visible_below(self, state: State, pos: int) -> bool:
        return all(hidden.pos >= pos for hidden in state.hidden) and all(
            prepared.listed or prepared.pos >= pos for prepared in state.prepared
        )

    def listed(self, state: State) -> Keys:
        """XA RECOVER. An XID stays in it until its rows are visible."""
        stalled = [one.xid for one in state.hidden if one.xid and self._config.xa_gone_is_visible]
        return tuple(sorted([one.xid for one in state.prepared if one.listed] + stalled))

    def read(self, state: State, keys: Keys, progress: Progress = TODO) -> Found | Scan | None:
        """The rows of these keys; a Scan if a locking read is not at its end; None if it has to wait."""
        classes = {self._classes[key] for key in keys}
        wanted = [key for key in self._keys if self._classes[key] in classes]
        if not self._config.locking_reads:
            return self._found(state, state.rows, wanted)
        scan = progress if isinstance(progress, Scan) else Scan(0, ())
        key = wanted[scan.keys]
        if self._is_locked(state, key):
            return None
        rows = scan.rows + self._found(state, state.rows, [key])
        return Scan(scan.keys + 1, rows) if scan.keys + 1 < len(wanted) else rows

    def read_elsewhere(self, state: State, keys: Keys) -> Found:
        """From the other server that the address leads to for a moment."""
        return self._found(state, state.replica, list(keys))

    def _found(self, state: State, rows: Rows, keys: list[int]) -> Found:
        found = tuple((key, row) for key in keys if (row := rows[key]) and row.selected)
        if self._config.ddl and state.run and state.run.definition != state.shape:
            return tuple((key, row._replace(version=-1)) for key, row in found)
        return found

    def _is_locked(self, state: State, key: int) -> bool:
        locking: Iterable[Hidden | Prepared] = (*state.hidden, *state.prepared)
        same = self._classes[key]
        return any(self._classes[other] == same for one in locking for other, _ in one.writes)

    # -- crashes --------------------------------------------------------------------------------------------------

    def lose_tail(self, state: State) -> Iterator[Step]:
        """A crash: what stays in the binlog is committed, the rest is gone from binlog and table."""
        for cut in range(len(state.log) + 1):
            rows = state.rows
            unseen = {hidden.pos for hidden in state.hidden}
            for pos in reversed(range(cut, len(state.log))):
                if pos not in unseen:
                    rows = _written(rows, state.log[pos].undo)
            for hidden in state.hidden:
                if hidden.pos < cut:
                    rows = _written(rows, hidden.writes)
            lost = len(state.log) - cut
            yield (
                ("SOURCE RESTARTS, lost from its binlog:", lost),
                state._replace(rows=rows, hidden=(), log=state.log[:cut]),
            )

    def drop_xa(self, state: State) -> Iterator[Step]:
        for at, prepared in enumerate(state.prepared):
            if prepared.listed:
                yield (
                    ("SOURCE RESTARTS without prepared XA", prepared.xid),
                    state._replace(prepared=without(state.prepared, at)),
                )


def _written(rows: Rows, writes: Writes) -> Rows:
    changed = list(rows)
    for key, row in writes:
        changed[key] = row
    return tuple(changed)


def _progresses(run: Run) -> Iterator[Progress]:
    yield from run.chunks
    for generation in run.generations:
        for batch in generation.batches:
            yield batch.progress
