"""The transaction that a stream is in. ``transactions`` has one at most."""

from ferry_core.binlog.sink import StreamMark


class Group:
    """``first``: its first event, which ``begins`` at that offset in the file. ``seen``: a mark that includes it."""

    __slots__ = ("begins", "begun", "committed_at", "first", "gtid", "idle", "inside", "seen", "xid")

    def __init__(self, first: bytes, begins: int, gtid: str, seen: StreamMark, committed_at: float | None) -> None:
        self.first = first
        self.begins = begins
        self.gtid = gtid
        self.seen = seen
        self.committed_at = committed_at
        self.xid: str | None = None
        self.begun = self.idle = False  # whether the sink knows of it; its statement changes nothing
        self.inside = False  # begun by BEGIN or similar; otherwise its first statement is the whole transaction

    def commit_time(self, last: bytes) -> float:
        """MariaDB logs whole seconds: use the end of that second, since its begin would look like up to 1 s of lag."""
        return self.committed_at or int.from_bytes(last[1:5], "little") + 1.0
