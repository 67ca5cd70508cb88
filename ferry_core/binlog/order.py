"""Detects transactions that a MariaDB source numbered out of order, after which a dump cannot be requested by GTID.

Without gtid_strict_mode a session may log a number equal to or lower than an earlier one (``gtid_seq_no``, a replicated
server that was reset). The source looks a position up by these numbers: it refuses a position above its last number,
and otherwise may start in a file after transactions that were never read. This run also knows the place of what it has
read (``Counters.end``), so a reconnect requests that place. A new run has only the position. Used by ``transactions``
and ``streamer``.
"""

import struct
from typing import TYPE_CHECKING

from ferry_core.binlog.source_errors import StreamLost, gtids_out_of_order
from ferry_core.mysql.file_position import FilePosition, numbered
from ferry_core.mysql.gtid import MariaDbGtids

if TYPE_CHECKING:
    from ferry_core.binlog.counters import Counters
    from ferry_core.mysql.endpoint import Endpoint

_COUNT = (1 << 28) - 1


def note(counters: "Counters", domain: int, server_id: int, sequence: int) -> None:
    """A transaction begins. If several servers write to one domain, the source keeps the order by itself."""
    position = counters.processed.position
    assert isinstance(position, MariaDbGtids)
    last = position.domains.get(domain)
    if last is not None and last.server_id == server_id and sequence <= last.sequence:
        counters.out_of_order = position


def refuse_skipped(counters: "Counters", data: bytes) -> None:
    """The first file of a dump begins. Raises StreamLost if transactions before it were never read."""
    position, last = counters.processed.position, counters.processed.last_read
    if counters.out_of_order == position:
        return  # requested by place
    if last is None or not isinstance(position, MariaDbGtids) or numbered(counters.file) <= numbered(last.file):
        return
    for domain, server_id, sequence in _listed(data):
        known = position.domains.get(domain)
        if known is not None and known.server_id == server_id and sequence < known.sequence:
            counters.out_of_order = position
            counters.newest = (last.file, last.begun) if last.begun else None  # an earlier file is sent again
            raise StreamLost(
                "order", f"the source begins in {counters.file}, which is after the position that was read"
            )


def place_to_begin(counters: "Counters", endpoint: "Endpoint") -> FilePosition | None:
    """The place to request the dump from; None: by GTID. Raises DataError if a place is needed and unknown."""
    position = counters.processed.position
    if counters.out_of_order is None or counters.out_of_order != position:
        return None  # a higher number was logged since
    if counters.end is None:
        raise gtids_out_of_order(endpoint, position)
    return counters.end


def _listed(data: bytes) -> list[tuple[int, int, int]]:
    """Domain, server id and sequence of what was logged before a file, from its Gtid_list event."""
    count = int.from_bytes(data[20:24], "little") & _COUNT
    return list(struct.iter_unpack("<IIQ", data[24 : 24 + 16 * count]))
