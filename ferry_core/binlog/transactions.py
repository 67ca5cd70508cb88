"""Turns events into sink calls: which transaction an event belongs to, and which selected rows it changed.

The state is at most one transaction; ``follow`` is the hot loop. ``streamer`` makes a new object at every connect, in
its thread, so that an interrupted transaction begins again. The only I/O is reading the frames.
"""

import re
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Generic

from ferry_core.binlog import compressed, events, files, order, unresumable
from ferry_core.binlog.checksums import Checksums
from ferry_core.binlog.counters import Counters
from ferry_core.binlog.elsewhere import Elsewhere
from ferry_core.binlog.events import EventSource, unreadable
from ferry_core.binlog.followed import FollowedTables, LetsGo, M
from ferry_core.binlog.group import Group
from ferry_core.binlog.key_decoder import key_decoder
from ferry_core.binlog.last_read import LastRead, further
from ferry_core.binlog.late_rows import LateRows
from ferry_core.binlog.selected import Selected, Tracked
from ferry_core.binlog.sink import Altered, ChangeSink, Place, StreamMark
from ferry_core.errors import DataError
from ferry_core.mysql.file_position import DUMPABLE, FilePosition
from ferry_core.mysql.gtid import GtidSet, MariaDbGtids, Position
from ferry_core.schema.alterations import Alteration
from ferry_core.schema.statements import NOTHING, StatementEffect, StatementKind
from ferry_core.tables.table import ALL_ROWS_RAW, TableName

_NO_TABLE = b"\xff\xff\xff\x00\x00\x00"  # table id of a row event that only marks the end of a statement
_NOWHERE = bytes(4)  # in place of an offset: an event that is not in the file
_PERHAPS_DDL = frozenset(
    {StatementKind.NONE, StatementKind.BEGIN, StatementKind.TABLE_FROM_QUERY, StatementKind.SCHEMA_CHANGE}
)
"""MySQL's CREATE TABLE ... SELECT begins a transaction."""
_DUMMY = re.compile(r"# Dummy event replacing event type \d+ *")  # MariaDB sends it in place of an unreadable event


class Transactions(Generic[M]):
    """Reports the events of one connection to a sink."""

    def __init__(
        self,
        tables: FollowedTables[M],
        sink: ChangeSink[M],
        counters: Counters,
        *,
        checksums: bool,
        folds: bool,
        altered: Callable[[Altered[M]], str] | None = None,
        elsewhere: Elsewhere | None = None,
        late: LateRows[M] | None = None,
        lets_go: LetsGo[M] | None = None,
    ) -> None:
        """``altered`` compares a table with its earlier definition after DDL and returns the difference in words."""
        self._altered = altered
        self._elsewhere = elsewhere
        self._late = late or LateRows[M]()
        self._lets_go = lets_go
        self._selected = Selected(tables, counters.processed, folds=folds)
        self._sink = sink
        self._counters = counters
        self._checksums = Checksums(counters, present=checksums)
        self._listed = False  # whether a Gtid_list event has arrived
        self._group: Group | None = None
        self._maps: dict[bytes, Tracked[M] | None] = {}
        self._event = b""  # the last event as in the file, perhaps compressed
        self._handlers = self._handler_table()

    def _handler_table(self) -> dict[int, Callable[[bytes, int], None]]:
        return {
            events.QUERY: self._query,
            events.EXECUTE_LOAD_QUERY: self._query,
            events.STOP: self._nothing,
            events.GTID_LIST: self._gtid_list,
            events.ROTATE: self._rotate,
            events.FORMAT_DESCRIPTION: self._format,
            events.XID: self._commit,
            events.TABLE_MAP: self._table_map,
            events.INCIDENT: self._incident,
            events.HEARTBEAT: self._heartbeat,
            events.HEARTBEAT_V2: self._heartbeat,
            events.GTID: self._gtid,
            events.TAGGED_GTID: self._gtid,
            events.ANONYMOUS_GTID: self._anonymous,
            events.XA_PREPARE: self._xa_prepare,
            events.TRANSACTION_PAYLOAD: self._compressed,
            events.MARIADB_GTID: self._mariadb_gtid,
            events.MARIADB_QUERY_COMPRESSED: self._compressed_event,
            **dict.fromkeys(events.MARIADB_ROWS_COMPRESSED, self._compressed_event),
            **dict.fromkeys(events.HARMLESS, self._nothing),
        }

    def follow(self, source: EventSource) -> None:
        """Run until ``source`` or the sink raises. An event of an unselected table costs only its checksum."""
        counters, counts = self._counters, self._counters.events
        next_event, checked, now = source.next_event, self._checksums.checked, time.monotonic
        while True:
            data = next_event()
            counters.last_event = now()
            counters.bytes += len(data)
            kind = data[5]
            counts[kind] += 1
            end = checked(data, kind)
            self._event = data
            self._apply(data, kind, end)
            if kind != events.ROTATE and data[14:18] != _NOWHERE:
                counters.offset = counters.end_of(data)

    def _apply(self, data: bytes, kind: int, end: int) -> None:
        if kind in events.ROWS:
            tracked = self._maps.get(data[20:26])
            if tracked is not None:
                self._rows(tracked, kind, data, end)
            elif data[20:26] not in self._maps and data[20:26] != _NO_TABLE:
                raise unreadable("a row event without its table map")
        elif (handler := self._handlers.get(kind)) is not None:
            handler(data, end)
        else:
            self._unknown(data, kind)

    # Rows

    def _rows(self, tracked: Tracked[M], kind: int, data: bytes, end: int) -> None:
        group = self._group
        if group is None:
            raise unreadable("a row event outside of a transaction")
        keys = tracked.keys(kind, data, end)
        counters = self._counters
        counters.caught_up = False
        self._begin(group)
        counters.in_sink = True
        self._sink.changed(tracked.followed, keys, tracked.decode)
        for child, references in tracked.references(kind, data, end):
            self._sink.referenced(child, references)
        counters.in_sink = False
        counters.row_changes += len(keys)
        if self._late.listening and keys:
            self._late.saw(tracked.followed, keys, tracked.filter_values(kind, data, end))

    def _begin(self, group: Group) -> None:
        if not group.begun:
            self._sink.begin(self._counters.processed, group.seen, group.xid)
            group.begun = True

    def _table_map(self, data: bytes, end: int) -> None:
        self._maps[data[20:26]] = self._selected.tracked(data, end, self._counters.processed.position)

    def _compressed_event(self, data: bytes, end: int) -> None:
        if data[5] == events.MARIADB_QUERY_COMPRESSED or self._maps.get(data[20:26]) is not None:
            self._unpacked(compressed.plain(data, end))

    def _compressed(self, data: bytes, end: int) -> None:
        for event in compressed.transaction(data, end):
            self._unpacked(event)

    def _unpacked(self, data: bytes) -> None:
        """Handle an event that was contained in another one and has no checksum of its own."""
        self._counters.events[data[5]] += 1
        self._apply(data, data[5], len(data))

    # Transactions

    def _open(
        self, first: bytes, gtid: str, position: Position, committed_at: float | None, place: Place | None = None
    ) -> Group:
        if self._group is not None:
            raise unreadable("a transaction that begins before the last one has ended")
        seen = StreamMark(self._counters.processed.sequence + 1, position, place)
        self._group = Group(first, self._counters.begin_of(first), gtid, seen, committed_at)
        return self._group

    def _between(self, alone: Callable[[], StreamMark]) -> None:
        """Between transactions. ``alone`` is a mark that contains only the next transaction."""
        processed = self._counters.processed
        if self._selected.changed(processed):
            self._maps.clear()
        if self._selected.late:
            self._selected.skip(alone(), processed)

    def _gtid(self, data: bytes, end: int) -> None:
        self._counters.skipped()
        parse = events.parse_gtid if data[5] == events.GTID else events.parse_tagged_gtid
        source, number, committed_at = parse(data, end)
        position = self._counters.processed.position
        if isinstance(position, FilePosition):
            self._placed(data, committed_at)
            return
        if not isinstance(position, GtidSet):
            raise unreadable("a GTID of MySQL in a MariaDB's binlog")
        self._between(lambda: StreamMark(0, GtidSet({source: ((number, number),)})))
        self._open(data, f"{source}:{number}", position.add(source, number), committed_at)

    def _mariadb_gtid(self, data: bytes, end: int) -> None:
        self._counters.skipped()
        begun = events.parse_mariadb_gtid(data, end)
        position = self._counters.processed.position
        if not isinstance(position, MariaDbGtids):
            raise unreadable("a GTID of MariaDB in a MySQL's binlog")
        server_id = int.from_bytes(data[6:10], "little")
        file = self._counters.file
        place = len(file), file, self._counters.end_of(data)
        gtid = f"{begun.domain}-{server_id}-{begun.sequence}"
        order.note(self._counters, begun.domain, server_id, begun.sequence)
        self._between(lambda: StreamMark(0, MariaDbGtids().add(begun.domain, server_id, begun.sequence), place))
        group = self._open(data, gtid, position.add(begun.domain, server_id, begun.sequence), None, place)
        group.xid, group.inside, group.idle = begun.prepared_xid, not begun.standalone, begun.alters_nothing

    def _anonymous(self, data: bytes, end: int) -> None:
        if not isinstance(self._counters.processed.position, FilePosition):
            raise unresumable.anonymous()
        self._placed(data, events.parse_gtid(data, end).committed_at)

    def _placed(self, data: bytes, committed_at: float | None) -> None:
        """A transaction of a source whose positions are places, with or without a GTID. Its mark is inside it."""
        place = FilePosition(self._counters.file, self._counters.end_of(data))
        self._between(lambda: StreamMark(0, place))
        self._open(data, str(place), place, committed_at)

    def _commit(self, data: bytes, _end: int) -> None:
        group = self._group
        if group is None:
            raise unreadable("the end of a transaction that has not begun")
        self._group = None
        counters = self._counters
        committed_at = group.commit_time(data)
        processed = self._whole(group)
        if group.begun:
            self._sink.end(processed, committed_at)
        else:
            self._sink.alive(processed, committed_at)
        if self._late.listening:
            self._late.settled()
        counters.processed = processed
        counters.last_commit = committed_at
        counters.caught_up = False
        counters.transactions += 1

    def _whole(self, group: Group) -> StreamMark:
        """The mark of a complete transaction, with its place and bytes."""
        counters = self._counters
        known, newest = counters.processed.last_read, counters.newest
        if newest is not None and group.begins < DUMPABLE:
            places = group.begins, counters.begin_of(self._event)
            known = further(known, LastRead.of_transaction(newest, places, (group.first, self._event), group.gtid))
        counters.end = FilePosition(counters.file, counters.end_of(self._event)).dumpable()
        position = group.seen.position
        if isinstance(position, FilePosition):
            position = counters.end or counters.processed.position
        return replace(group.seen, position=position, last_read=known)

    def _decide(self, data: bytes, xid: str, *, committed: bool) -> None:
        """XA COMMIT or XA ROLLBACK: in the binlog a transaction of its own, without rows."""
        group = self._group
        if group is None or group.begun:
            raise unreadable("an XA decision inside of another transaction")
        self._group = None
        counters, processed = self._counters, self._whole(group)
        self._sink.decided(xid, committed, counters.processed, processed)
        if self._late.listening:
            self._late.settled()
        counters.processed = processed
        counters.last_commit = group.commit_time(data)
        counters.caught_up = False
        counters.transactions += 1

    def _xa_prepare(self, data: bytes, end: int) -> None:
        prepared = events.parse_xa_prepare(data, end)
        group = self._group
        if group is None or (group.xid is not None and group.xid != prepared.xid):
            raise unreadable(f"XA PREPARE of {prepared.xid} outside of its transaction")
        if group.begun and group.xid is None:
            raise unreadable(f"XA PREPARE of {prepared.xid} whose rows came without its XID")
        before = self._counters.processed
        self._commit(data, end)
        if prepared.one_phase:
            self._sink.decided(prepared.xid, True, before, self._counters.processed)
            if self._late.listening:
                self._late.settled()

    def _query(self, data: bytes, end: int) -> None:
        statement, group = events.parse_query(data, end, data[5]), self._group
        text = statement.text
        effect = self._selected.effect_of(statement)
        if text != "BEGIN" and effect.kind in _PERHAPS_DDL:
            self._counters.definitions += 1
            if self._elsewhere is not None and (earlier := self._elsewhere.doubtful(text)):
                raise unresumable.statement(earlier, StatementKind.STATEMENT_DML, ())
        effect = NOTHING if group is not None and group.idle else effect
        if effect.kind is StatementKind.TABLE_FROM_QUERY:
            mariadb = isinstance(self._counters.processed.position, MariaDbGtids)
            effect = StatementEffect(StatementKind.STATEMENT_DML) if mariadb else NOTHING
        if effect.kind in (StatementKind.SCHEMA_CHANGE, StatementKind.STATEMENT_DML):
            effect = self._harmless(effect, statement)
        match effect.kind:
            case StatementKind.BEGIN | StatementKind.XA_START if group is not None:
                group.inside = True
                group.xid = group.xid or effect.xid
            case StatementKind.XA_COMMIT | StatementKind.XA_ROLLBACK:
                assert effect.xid is not None
                self._decide(data, effect.xid, committed=effect.kind is StatementKind.XA_COMMIT)
            case StatementKind.COMMIT | StatementKind.ROLLBACK:
                self._commit(data, end)
            case StatementKind.NONE if group is not None and not group.inside and not _DUMMY.fullmatch(text):
                self._commit(data, end)  # usually DDL of other tables

    def _harmless(self, effect: StatementEffect, statement: events.Statement) -> StatementEffect:
        """Return if the statement changed no selected table in a way that the run does not follow; otherwise raise."""
        if effect.kind is StatementKind.STATEMENT_DML:
            if not self._selected.spared(effect, statement, self._elsewhere):
                raise unresumable.statement(statement.text, effect.kind, effect.tables)
            return NOTHING
        group, different = self._group, ""
        if group is not None and effect.alteration is Alteration.REMOVES:
            self._removed(group, effect, statement)
            return NOTHING
        if group is not None and self._altered is not None and effect.alteration is not Alteration.CHANGES:
            alone = effect.alteration is Alteration.COMPARE
            for name in sorted(effect.tables):
                altered = Altered(self._selected.named(name), group.seen, statement.text, alone)
                different = self._altered(altered)
                if different:
                    break
            else:
                return NOTHING
        error = unresumable.statement(statement.text, effect.kind, effect.tables, different)
        self._leave(error, effect.tables)
        return NOTHING

    def _leave(self, error: DataError, tables: Collection[TableName]) -> None:
        """Go on without these tables if they are copied again meanwhile; otherwise raise."""
        left = [self._selected.named(name) for name in sorted(tables)]
        if self._group is None or self._lets_go is None or not self._lets_go(left, error):
            raise error

    def _removed(self, group: Group, effect: StatementEffect, statement: events.Statement) -> None:
        """Rows are gone without events. A table that is copied whole is read again, so it needs none."""
        changed = [self._selected.named(name) for name in sorted(effect.tables)]
        if not all(one.table.whole for one in changed):
            self._leave(unresumable.removal(statement.text, effect.tables), effect.tables)
            return
        self._begin(group)
        self._counters.in_sink = True
        for one in changed:
            self._sink.changed(one, [ALL_ROWS_RAW], key_decoder((), ()))
        self._counters.in_sink = False

    # The stream itself

    def _heartbeat(self, data: bytes, _end: int) -> None:
        """MySQL also sends heartbeats while it skips a part of the binlog that we already have, long before its end.

        So one means "caught up" only at the end of the last event or at the place of the previous heartbeat.
        """
        counters = self._counters
        place = counters.end_of_heartbeat(data)
        if self._group is None and self._selected.changed(counters.processed):
            self._maps.clear()
        counters.caught_up = self._group is None and place == counters.offset
        if counters.caught_up and place < DUMPABLE:
            files.reached_end(counters, place)
        self._sink.alive(counters.processed, None)

    def _rotate(self, data: bytes, end: int) -> None:
        # In this order: a reader of the new file's name must not combine it with the offset in the old file.
        file, offset = events.parse_rotate(data, end)
        self._counters.offset, self._counters.least = offset, files.first_offset(self._counters, file, offset)
        self._counters.file = file

    def _format(self, data: bytes, _end: int) -> None:
        """A new file begins. ``created``: the source was restarted, so a transaction cut off by its crash is void."""
        self._maps.clear()
        files.refuse_begun_anew(self._counters, int.from_bytes(data[1:5], "little"))
        if (known := self._counters.processed.last_read) is not None and self._counters.newest is not None:
            known = known.with_file(*self._counters.newest)
            self._counters.processed = replace(self._counters.processed, last_read=known)
        if self._group is not None and events.parse_format(data).created:
            self._group = None
        if self._group is None:
            files.enter(self._counters)

    def _gtid_list(self, data: bytes, _end: int) -> None:
        if not self._listed:
            self._listed = True
            order.refuse_skipped(self._counters, data)

    def _nothing(self, data: bytes, end: int) -> None:
        """Nothing to do: neither a row nor a statement."""

    def _incident(self, _data: bytes, _end: int) -> None:
        raise unresumable.incident(self._counters.file)

    def _unknown(self, data: bytes, kind: int) -> None:
        if not int.from_bytes(data[18:20], "little") & events.IGNORABLE_FLAG:
            raise unresumable.unknown_event(self._counters.file, kind)
