"""What a case of the replication model explores: its bounds, the faults that may happen, and the rules.

Every default of a rule is what ``ferry_core`` does. ``mutants`` change one of them each.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

Keys = tuple[int, ...]


@dataclass(frozen=True)
class Config:
    """Bounds first, then faults, then rules."""

    keys: int = 2
    values: str = "ab"
    """Values of the UNIQUE column; empty: the table has none."""
    classes: Keys = ()
    """Collation class of each key: keys of one class are equal on the server. Empty: all differ."""
    chunks: tuple[Keys, ...] = ()
    """Ranges of keys. Empty: the last key, and all others."""
    initial: tuple[str, ...] = ()
    """Rows at the start: the unique value of each key, '-' for no row. Empty: all that are possible."""
    transactions: int = 2
    row_filter: bool = False
    xa: bool = False
    """One transaction may be XA; it may be prepared before the stream starts."""
    ddl: bool = False
    """Transactions may be DDL that changes values without row events."""
    whole: bool = False
    """The table has no key and is copied whole."""
    verify: bool = False
    """Rows are compared after the copy and after each restart; quiet means that all are proven."""
    store: Literal["target", "file"] = "target"

    faults: int = 0
    crash: bool = True
    """A fault may be a kill of the copier ..."""
    forget: bool = False
    """... or one that also loses the checkpoint ..."""
    lost: bool = False
    """... a lost target connection ..."""
    recopy: bool = False
    """... a Recopy of the table ..."""
    source_loses: bool = False
    """... a restart of the source that loses the tail of its binlog, with its rows ..."""
    target_loses: bool = False
    """... a restart of the target that loses its last commits ..."""
    xa_dropped: bool = False
    """... a crash of the source that removes a prepared transaction whose XA PREPARE is in the binlog ..."""
    other_server: bool = False
    """... or a connection that leads to another server for a moment."""

    r1_flush: bool = True
    r1_start: bool = True
    r1_end: bool = True
    """Before the first chunk: once more, up to the end of the binlog."""
    locking_reads: bool = False
    """The other R1: reads wait for locks, row by row."""
    track_first: bool = True
    xa_recover: bool = True
    xa_after_r1: bool = True
    xa_gone_is_visible: bool = True
    """Of the servers: an XID leaves XA RECOVER no sooner than its rows are visible."""
    xa_drop_visible: bool = True
    """Only an XA transaction whose PREPARE is visible can be found dropped."""
    emptied: Literal["first", "never", "after record"] = "first"
    resume_waits: Literal["all", "r1", "none"] = "all"
    gate: Literal["table", "rows", "none"] = "table"
    generations: bool = True
    keep_in_flight: bool = True
    """R4: a key that changes while it is in flight waits for the next generation."""
    forget_at: Literal["commit", "take"] = "commit"
    """R4: when a key stops holding the checkpoint back."""
    lag: bool = True
    xa_position: Literal["prepare", "commit", "none"] = "prepare"
    delete_first: bool = True
    moved_keys: Literal["both", "new", "old"] = "both"
    fence: bool = True
    fence_store: bool = True
    end_lost: bool = True
    """A lost connection is proven ended before the retry."""
    recopy_order: Literal["record first", "rows first"] = "record first"
    recopy_drains: bool = True
    skip_unread: bool = False
    history: bool = True
    """A resumed stream must find the last transaction read again."""
    marks: bool = True
    """A state in a file is used only if the target has its mark."""
    proofs_end: bool = True
    """No proof outlives a restart."""
    identity: bool = True
    """Every connection asks for the server's name before it is used."""
    compare_after_start: bool = True
    """Definitions are compared once the start of the stream is known."""
    compare_digest: bool = True
    """A resume compares definitions with the checkpoint's."""
    alone: bool = True
    """A comparison proves nothing about one of two statements."""
    hold: bool = True
    """The checkpoint stays before a compared statement until the stream has reached the end of the comparison."""
    whole_after_first: bool = True
    """No later copy of a whole table begins before its first one is done."""
    whole_dirty: bool = True
    """The checkpoint marks a changed whole table as not copied ..."""
    whole_position_first: bool = True
    """... and reads the position before it looks for changed tables."""

    def but(self, **changes: Any) -> "Config":
        return replace(self, **changes)

    @property
    def ranges(self) -> tuple[Keys, ...]:
        every = tuple(range(self.keys))
        return (every,) if self.whole else self.chunks or (every[:-1], every[-1:])

    @property
    def absolute(self) -> bool:
        """Whether the model keeps what lies before the checkpoint: a server may lose it, or must find it again."""
        return self.source_loses or self.target_loses or self.ddl or self.whole
