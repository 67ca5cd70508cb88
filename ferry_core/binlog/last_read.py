"""The last place in the source's binlog that a run has read. A reconnect or a resume must find it again, or is refused.

A position only counts transactions. A source that lost the end of its binlog in a crash assigns the same numbers to
other transactions, which a position cannot detect but this can. Made by ``transactions``, kept in the checkpoint,
compared by ``history``.
"""

import json
from hashlib import blake2b
from typing import NamedTuple

from ferry_core.mysql.file_position import DUMPABLE, numbered


class LastRead(NamedTuple):
    """A transaction, identified by its place and its bytes.

    Without a ``digest`` it is only a place up to which the file was written.
    """

    file: str
    begun: int  # creation time of this file, from its format description; 0: not known yet
    offset: int  # of the transaction's first event, or of the place itself
    tail: int = 0  # of its last event; 0: not known
    digest: str = ""  # of both events with their checksums: the same bytes in the file and on every connection
    gtid: str = ""
    newest: str = ""
    """The newest file of the source at that time. After a restart the source writes only to later ones."""
    newest_begun: int = 0  # creation time of that file; 0: not known

    def __str__(self) -> str:
        return json.dumps(self)

    @classmethod
    def parse(cls, text: str) -> "LastRead":
        """Parse the text from ``str``."""
        return cls(*json.loads(text))

    @property
    def outgrown(self) -> bool:
        """Whether its transaction ended beyond 4 GiB, and so everything that follows it in its file."""
        return self.digest != "" and not self.tail

    def with_file(self, file: str, begun: int) -> "LastRead":
        """The same place, after the source has started ``file``."""
        if file == self.file:
            return self if self.begun else self._replace(begun=begun)
        later = numbered(file) > numbered(self.newest or self.file)
        return self._replace(newest=file, newest_begun=begun) if later else self

    @classmethod
    def of_transaction(
        cls, file: tuple[str, int], places: tuple[int, int], ends: tuple[bytes, bytes], gtid: str
    ) -> "LastRead":
        """Made from a transaction's first and last event, as ``frames`` returns them, and the places of both."""
        if places[1] >= DUMPABLE:
            return cls(*file, places[0], 0, digest_of(ends[0]), gtid)
        return cls(*file, *places, digest_of(*ends), gtid)


def digest_of(*events: bytes) -> str:
    """The first event contains the transaction's id and time; the last one is its commit."""
    return blake2b(b"".join(event[1:] for event in events), digest_size=16).hexdigest()


def further(known: LastRead | None, read: LastRead) -> LastRead:
    """The later of two places: a resume reads some events again, and these are not the furthest place. A transaction
    that begins where the file ended before is later than that end.
    """
    if known is None:
        return read
    before, now = numbered(known.file), numbered(read.file)
    beyond = (now, read.offset, read.digest != "") > (before, known.offset, known.digest != "")
    return read if beyond or before[0] != now[0] else known
