"""A row on the target whose only use is that changing it makes a commit, which the throttle times.

It is the Ferry's second row in the table of holders, under a name of its own: no transaction that moves rows locks it.
"""

from ferry_core.consistency.own_tables import HOLDER
from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session


def probe_id(uid: str) -> str:
    """The row's key, which is no Ferry's uid."""
    return f"commit/{uid}"[:64]


def change_probe(session: Session, uid: str) -> None:
    """In the transaction whose commit is timed."""
    session.execute(
        f"INSERT INTO {HOLDER} (ferry_uid, epoch, process, state) VALUES ({string(probe_id(uid))}, 0, '', '')"
        " ON DUPLICATE KEY UPDATE epoch = epoch + 1"
    )
