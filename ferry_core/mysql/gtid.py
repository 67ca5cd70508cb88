"""Stream positions of both families: immutable sets of global transaction ids, parsed, compared and rendered. MySQL
without GTIDs has a ``FilePosition`` instead.

A checkpoint stores ``str(position)``. Visibility (R1) and positions (R5) call ``contains``. The streamer adds one id
per transaction. mysql-replication's GtidSet is mutable, has no tags (MySQL 8.3+) and raises on overlap.
"""

import re
import struct
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ferry_core.mysql.file_position import FilePosition
from ferry_core.mysql.flavor import Flavor

if TYPE_CHECKING:
    from ferry_core.mysql.session import Session

Interval = tuple[int, int]
"""First and last transaction number, both included."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}")
_INTERVAL = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_TAGGED_FORMAT = 1
_LARGEST = (1 << 63) - 2


def _merged(intervals: list[Interval]) -> tuple[Interval, ...]:
    """Sorted, without overlapping or adjacent intervals."""
    result: list[Interval] = []
    for first, last in sorted(intervals):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return tuple(result)


def _parse_interval(text: str, whole: str) -> Interval:
    match = _INTERVAL.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} in GTID set {whole!r} is not an interval")
    first = int(match[1])
    last = int(match[2] or first)
    if not 1 <= first <= last <= _LARGEST:
        raise ValueError(f"interval {text!r} in GTID set {whole!r} is out of range")
    return first, last


@dataclass(frozen=True, eq=False)
class GtidSet:
    """MySQL: for each source id (``uuid`` or ``uuid:tag``) the transaction numbers, as sorted disjoint intervals."""

    intervals: Mapping[str, tuple[Interval, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "GtidSet":
        """``uuid:1-5:7:tag:1-3, uuid:9``, as ``@@gtid_executed`` renders it. White space is ignored."""
        found: dict[str, list[Interval]] = {}
        for part in "".join(text.lower().split()).split(","):
            if not part:
                continue
            uuid, *rest = part.split(":")
            if not _UUID.fullmatch(uuid) or not rest:
                raise ValueError(f"{part!r} in GTID set {text!r} does not begin with a UUID and a number")
            source = uuid
            for item in rest:
                if _TAG.fullmatch(item):
                    source = f"{uuid}:{item}"
                else:
                    found.setdefault(source, []).append(_parse_interval(item, text))
        return cls({source: _merged(found[source]) for source in sorted(found)})

    def __str__(self) -> str:
        return ",".join(
            source + "".join(f":{a}" if a == b else f":{a}-{b}" for a, b in ranges)
            for source, ranges in self.intervals.items()
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GtidSet) and dict(self.intervals) == dict(other.intervals)

    def __hash__(self) -> int:
        return hash(frozenset(self.intervals.items()))

    def contains(self, other: "Position") -> bool:
        """Whether this set has every transaction of ``other``."""
        if not isinstance(other, GtidSet):
            raise TypeError(f"a MySQL position cannot contain {other!r}")
        return all(
            self._holds(self.intervals.get(source, ()), first, last)
            for source, ranges in other.intervals.items()
            for first, last in ranges
        )

    def has(self, source: str, number: int) -> bool:
        """Whether the one transaction is in the set."""
        return self._holds(self.intervals.get(source, ()), number, number)

    @staticmethod
    def _holds(mine: tuple[Interval, ...], first: int, last: int) -> bool:
        at = bisect_right(mine, (first, _LARGEST + 1)) - 1
        return at >= 0 and mine[at][1] >= last

    def add(self, source: str, number: int) -> "GtidSet":
        """The set with one more transaction. The common case, the next number of a source, needs no sorting."""
        mine = self.intervals.get(source, ())
        if mine and mine[-1][1] == number - 1:
            grown = (*mine[:-1], (mine[-1][0], number))
        elif self._holds(mine, number, number):
            return self
        else:
            grown = _merged([*mine, (number, number)])
        if source in self.intervals:
            return GtidSet({**self.intervals, source: grown})
        return self.union(GtidSet({source: grown}))

    def union(self, other: "Position") -> "GtidSet":
        """Every transaction of either."""
        if not isinstance(other, GtidSet):
            raise TypeError(f"a MySQL position cannot be joined with {other!r}")
        sources = sorted({*self.intervals, *other.intervals})
        return GtidSet(
            {s: _merged([*self.intervals.get(s, ()), *other.intervals.get(s, ())]) for s in sources},
        )

    def encode(self) -> bytes:
        """In the form of COM_BINLOG_DUMP_GTID and PREVIOUS_GTIDS.

        Uses the tagged form only if there is a tag (MySQL 8.3+).
        """
        tagged = any(":" in source for source in self.intervals)
        count = len(self.intervals)
        parts = [struct.pack("<Q", _TAGGED_FORMAT << 56 | count << 8 | _TAGGED_FORMAT if tagged else count)]
        for source, ranges in self.intervals.items():
            uuid, _, tag = source.partition(":")
            parts.append(bytes.fromhex(uuid.replace("-", "")))
            if tagged:
                # A variable-length integer: below 128 it is one byte, shifted left by its length marker.
                parts.append(bytes([len(tag) << 1]) + tag.encode())
            parts.append(struct.pack("<Q", len(ranges)))
            parts.extend(struct.pack("<QQ", first, last + 1) for first, last in ranges)
        return b"".join(parts)


class MariaDbGtid(NamedTuple):
    """The last transaction of one domain."""

    server_id: int
    sequence: int


@dataclass(frozen=True, eq=False)
class MariaDbGtids:
    """MariaDB: the last transaction of each domain; everything before it in that domain is included."""

    domains: Mapping[int, MariaDbGtid] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "MariaDbGtids":
        """``domain-server-sequence``, comma separated, as ``@@gtid_binlog_pos`` renders it."""
        found: dict[int, MariaDbGtid] = {}
        for part in "".join(text.split()).split(","):
            if not part:
                continue
            match = re.fullmatch(r"([0-9]+)-([0-9]+)-([0-9]+)", part)
            if not match:
                raise ValueError(f"{part!r} in GTID position {text!r} is not domain-server-sequence")
            domain, server_id, sequence = map(int, match.groups())
            if max(domain, server_id) >= 1 << 32 or sequence >= 1 << 64:
                raise ValueError(f"{part!r} in GTID position {text!r} is out of range")
            if domain not in found or found[domain].sequence < sequence:
                found[domain] = MariaDbGtid(server_id, sequence)
        return cls({domain: found[domain] for domain in sorted(found)})

    def __str__(self) -> str:
        return ",".join(f"{domain}-{last.server_id}-{last.sequence}" for domain, last in self.domains.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MariaDbGtids) and dict(self.domains) == dict(other.domains)

    def __hash__(self) -> int:
        return hash(frozenset(self.domains.items()))

    def contains(self, other: "Position") -> bool:
        """Whether ``other`` is at or before this position in every one of its domains."""
        if not isinstance(other, MariaDbGtids):
            raise TypeError(f"a MariaDB position cannot contain {other!r}")
        return all(
            domain in self.domains and self.domains[domain].sequence >= theirs.sequence
            for domain, theirs in other.domains.items()
        )

    def add(self, domain: int, server_id: int, sequence: int) -> "MariaDbGtids":
        """The position after one more transaction. An older one of its domain changes nothing."""
        mine = self.domains.get(domain)
        if mine is not None and mine.sequence >= sequence:
            return self
        changed = {**self.domains, domain: MariaDbGtid(server_id, sequence)}
        return MariaDbGtids(changed if mine else {key: changed[key] for key in sorted(changed)})

    def union(self, other: "Position") -> "MariaDbGtids":
        """The later position in every domain."""
        if not isinstance(other, MariaDbGtids):
            raise TypeError(f"a MariaDB position cannot be joined with {other!r}")
        result = self
        for domain, last in other.domains.items():
            result = result.add(domain, *last)
        return result


Position = GtidSet | MariaDbGtids | FilePosition


def parse_position(flavor: Flavor, text: str) -> Position:
    """Parse a position from ``str`` or from a server of ``flavor``. Raises ValueError."""
    if flavor is Flavor.MARIADB:
        return MariaDbGtids.parse(text)
    return FilePosition.of(text) or GtidSet.parse(text)


def source_position(session: "Session") -> Position:
    """Everything committed and visible (MySQL) or in the binlog (MariaDB) now.

    Does not use SHOW MASTER STATUS, which hangs on MariaDB while a commit is stalled.
    """
    if session.flavor is Flavor.MYSQL:
        return GtidSet.parse(session.text("SELECT @@GLOBAL.gtid_executed"))
    return MariaDbGtids.parse(session.text("SELECT @@GLOBAL.gtid_binlog_pos"))
