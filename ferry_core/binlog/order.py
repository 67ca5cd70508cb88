"""Where a MariaDB source numbers its transactions out of order: may a dump still be asked for by GTID?

Without gtid_strict_mode a session may write a number that is lower than one before, or the same (``gtid_seq_no``, a
replicated server that was reset). A source finds the place of a position by these numbers: it refuses one that is above
its last, or begins in a file behind transactions that were not read. What this run has read up to is known by its place
too (``Counters.end``), so a reconnect asks for that place; a new run only has the position. Asked by ``transactions``
and ``streamer``.
"""

import struct
from typing import TYPE_CHECKING

from ferry_core.binlog.last_read import numbered
from ferry_core.binlog.source_errors import StreamLost, gtids_out_of_order
from ferry_core.mysql.gtid import MariaDbGtids

if TYPE_CHECKING:
    from ferry_core.binlog.counters import Counters
    from ferry_core.mysql.endpoint import Endpoint

_COUNT = (1 << 28) - 1


def note(counters: "Counters", domain: int, server_id: int, sequence: int) -> None:
    """A transaction begins. Of several servers that write to one domain the source keeps the order by itself."""
    position = counters.processed.position
    assert isinstance(position, MariaDbGtids)
    last = position.domains.get(domain)
    if last is not None and last.server_id == server_id and sequence <= last.sequence:
        counters.out_of_order = position


def refuse_skipped(counters: "Counters", data: bytes) -> None:
    """The first file of a dump begins: StreamLost if transactions before it were never read."""
    position, last = counters.processed.position, counters.processed.last_read
    if counters.out_of_order == position:
        return  # asked for by place
    if last is None or not isinstance(position, MariaDbGtids) or numbered(counters.file) <= numbered(last.file):
        return
    for domain, server_id, sequence in _listed(data):
        known = position.domains.get(domain)
        if known is not None and known.server_id == server_id and sequence < known.sequence:
            counters.out_of_order = position
            counters.newest = (last.file, last.begun) if last.begun else None  # an earlier file comes again
            raise StreamLost("order", f"the source begins in {counters.file}, which is behind what was read")


def place_to_begin(counters: "Counters", endpoint: "Endpoint") -> tuple[str, int] | None:
    """Where to ask for the dump; None: by GTID. DataError where only the place would do and is not known."""
    position = counters.processed.position
    if counters.out_of_order is None or counters.out_of_order != position:
        return None  # a higher number has come since
    if counters.end is None:
        raise gtids_out_of_order(endpoint, position)
    return counters.end


def _listed(data: bytes) -> list[tuple[int, int, int]]:
    """The domain, server id and number of what was logged before a file, of its Gtid_list event."""
    count = int.from_bytes(data[20:24], "little") & _COUNT
    return list(struct.iter_unpack("<IIQ", data[24 : 24 + 16 * count]))
