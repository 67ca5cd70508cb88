"""The last place of the source's binlog that a run has read: what a reconnect and a resume find again, or refuse.

A position only counts transactions. A source that lost the tail of its binlog in a crash gives the same numbers to
other transactions, and a position cannot tell them apart; this can. Made by ``transactions``, kept in the checkpoint,
compared by ``history``.
"""

import json
from hashlib import blake2b
from typing import NamedTuple


class LastRead(NamedTuple):
    """A transaction by its place and its bytes; without a ``digest`` only a place up to which the file was written."""

    file: str
    begun: int  # when the source began this file, as its format description says; 0: not known yet
    offset: int  # of the transaction's first event, or the place itself
    tail: int = 0  # of its last event; 0: not known
    digest: str = ""  # of both events, with their checksums: the same bytes in the file and on every connection
    gtid: str = ""
    newest: str = ""
    """The newest file that the source had when this was so: after a restart it writes into later ones only."""

    def __str__(self) -> str:
        return json.dumps(self)

    @classmethod
    def parse(cls, text: str) -> "LastRead":
        """What ``str`` rendered."""
        return cls(*json.loads(text))

    def with_file(self, file: str, begun: int) -> "LastRead":
        """The same, once the source has begun ``file``."""
        if file == self.file:
            return self if self.begun else self._replace(begun=begun)
        later = numbered(file) > numbered(self.newest or self.file)
        return self._replace(newest=file) if later else self

    @classmethod
    def of_transaction(cls, file: str, begun: int, first: bytes, last: bytes, gtid: str) -> "LastRead":
        """By its first and last event, as ``frames`` gives them."""
        offset, tail = _start(first), _start(last)
        if tail <= offset:
            # In a file that has outgrown the header's 4 bytes the last event has no place that could be asked for.
            return cls(file, begun, offset, 0, digest_of(first), gtid)
        return cls(file, begun, offset, tail, digest_of(first, last), gtid)


def digest_of(*events: bytes) -> str:
    """The first event of a transaction names it, and when it was written; the last one is its commit."""
    return blake2b(b"".join(event[1:] for event in events), digest_size=16).hexdigest()


def end_of(file: str, first: bytes, last: bytes) -> tuple[str, int] | None:
    """Where a transaction ended, by its first and last event; None if its file has outgrown the header's 4 bytes."""
    begins, end = (int.from_bytes(event[14:18], "little") for event in (first, last))
    return (file, end) if end > begins else None


def further(known: LastRead | None, read: LastRead) -> LastRead:
    """The later place: what a resume reads a second time is not the end of what it has read.

    A transaction that begins where the file ended before is later than that place.
    """
    if known is None:
        return read
    before, now = numbered(known.file), numbered(read.file)
    beyond = (now, read.offset, read.digest != "") > (before, known.offset, known.digest != "")
    return read if beyond or before[0] != now[0] else known


def numbered(file: str) -> tuple[str, int, str]:
    """A binlog file's base name, and what orders the files that have it."""
    base, _, number = file.rpartition(".")
    return base, len(number), number


def _start(event: bytes) -> int:
    """Where an event begins in its file: its header says where it ends."""
    return int.from_bytes(event[14:18], "little") - (len(event) - 1)
