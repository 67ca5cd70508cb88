"""What is not verified of one table: the whole table, or the keys that changed since. ``verify.unproven`` guards it."""

from dataclasses import dataclass, field

from ferry_core.binlog.sink import KeyDecoder, RowKey


@dataclass
class UnprovenTable:
    """``whole``: nothing is verified, because no pass has begun or too many keys changed to be listed."""

    whole: bool = True
    keys: dict[RowKey, int] = field(default_factory=dict)  # raw key -> number of its newest event
    decode: KeyDecoder | None = None
    bytes: int = 0
    rebuilt: bool = False
    """The source's table was rebuilt, repaired or altered: rows that are gone there may be on the target only."""
    restarted: bool = False
    """The source was restarted since rows were copied: it may have lost some of them in a crash."""

    def clear(self, *, whole: bool) -> None:
        self.whole = whole
        self.keys = {}
        self.bytes = 0
