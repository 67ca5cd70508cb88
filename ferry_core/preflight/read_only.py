"""Interprets a read-only source when the target records no attempt of this Ferry that made it read-only.

Either somebody else did, or this Ferry was cut over and the target has lost the record: it was restored from an older
backup, checkpoint and lease together. Then applications may use the target, and only the source's read_only keeps a run
from overwriting what they wrote. Used by the check for it, and by ``ferry abort`` and ``ferry cleanup``.
"""

import time

from ferry_core.consistency.own_tables import completed_by_hand
from ferry_core.mysql.last_set import last_set
from ferry_core.mysql.session import Session


def found_read_only(source: Session, name: str = "read_only") -> str:
    """``name`` is the stricter one of the variables that are on."""
    found = f"{source.endpoint.role} {source.endpoint.address} has {name}=ON already"
    known = last_set(source)
    if known is None or not known.when:
        return found
    when = time.strftime("%F %T UTC", time.gmtime(known.when))
    return f"{found} (set by the account {known.account} at {when})"


def perhaps_cut_over(target: str, ferry_uid: str) -> str:
    """For a Ferry that has copied rows there."""
    return (
        f"This Ferry has copied rows to target {target}, which has no record of a cutover. If it was cut over, and "
        f"the target was then restored from an earlier backup or replaced by another server, applications may write "
        f"there, and this Ferry would overwrite their changes: do not allow writes on the source, run on the target: "
        f"{completed_by_hand(ferry_uid)}; and compare the tables with the source, since rows may be lost. "
        "If it was not cut over"
    )
