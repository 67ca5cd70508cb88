"""The helper tables that Ferries keep on a target, one row per Ferry.

Created by ``fence`` when a run takes its epoch. The lease row names the tables that a Ferry claims, and says of each
whether rows of this Ferry may be in it.
"""

import json
import re
from collections.abc import Collection
from typing import NamedTuple

from ferry_core.mysql.literals import string
from ferry_core.tables.table import TableName

SCHEMA = "mysql_ferry"
LEASE = TableName(SCHEMA, "lease")
CHECKPOINT = TableName(SCHEMA, "checkpoint")
HOLDER = TableName(SCHEMA, "holder")

DDL = (
    f"CREATE DATABASE IF NOT EXISTS `{SCHEMA}` DEFAULT CHARACTER SET utf8mb4",
    f"""CREATE TABLE IF NOT EXISTS {LEASE} (
        ferry_uid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        name VARCHAR(320) NOT NULL,
        epoch BIGINT UNSIGNED NOT NULL,
        phase VARCHAR(32) NOT NULL,
        source_id VARCHAR(64) NOT NULL,
        tables LONGTEXT NOT NULL,
        sessions INT NOT NULL,
        cutover LONGTEXT NOT NULL,
        updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
    ) ENGINE=InnoDB""",
    f"""CREATE TABLE IF NOT EXISTS {HOLDER} (
        ferry_uid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        epoch BIGINT UNSIGNED NOT NULL,
        process VARCHAR(320) NOT NULL,
        state TEXT NOT NULL,
        began_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
        since TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
    ) ENGINE=InnoDB""",
    f"""CREATE TABLE IF NOT EXISTS {CHECKPOINT} (
        ferry_uid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        epoch BIGINT UNSIGNED NOT NULL,
        format INT NOT NULL,
        body LONGTEXT NOT NULL,
        updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
    ) ENGINE=InnoDB""",
)
OWN_COLUMNS = {
    table: frozenset(re.findall(r"^ {8}(\w+) ", text, re.MULTILINE))
    for table, text in zip((LEASE, HOLDER, CHECKPOINT), DDL[1:], strict=True)
}
"""The columns of each table. A schema of that name may be somebody else's."""

CLAIMED = "Claimed"
"""Of a lease, or of one table in it: the Ferry has not written there, so rows in it belong to somebody else."""
_WRITTEN = "Written"


def tables_text(tables: Collection[str], unwritten: Collection[str]) -> str:
    """Render the lease's ``tables``. Earlier versions, which stored a list, iterate over the names."""
    return json.dumps({name: CLAIMED if name in unwritten else _WRITTEN for name in sorted(tables)})


class Claims(NamedTuple):
    """The tables that a lease claims."""

    tables: list[str]
    unwritten: frozenset[str]
    """Those that its Ferry has certainly not written to."""
    by_table: bool
    """False: an earlier version wrote this, perhaps one that does not change the phase when it writes rows."""


def parse_tables(text: str, phase: str) -> Claims:
    """Read what ``tables_text`` or an earlier version has written."""
    known = json.loads(text or "[]")
    if isinstance(known, dict):
        return Claims(list(known), frozenset(name for name, state in known.items() if state == CLAIMED), by_table=True)
    return Claims(known, frozenset(known if phase == CLAIMED else ()), by_table=False)


def completed_by_hand(ferry_uid: str) -> str:
    """The statement by which a person records a cutover on a target that has lost that record."""
    return f"UPDATE {LEASE} SET phase = 'Completed' WHERE ferry_uid = {_readable(ferry_uid)}"


def removed_by_hand(ferry_uid: str) -> str:
    """The statement by which a person removes a Ferry's records from a target."""
    return f"DELETE FROM {LEASE} WHERE ferry_uid = {_readable(ferry_uid)}"


def aborted_by_hand(ferry_uid: str) -> str:
    """The statement by which a person ends a Ferry once nothing of its cutover attempt is left to undo."""
    return _over_by_hand(ferry_uid, "Aborted")


def resumed_by_hand(ferry_uid: str) -> str:
    """The same for a Ferry that is to go on."""
    return _over_by_hand(ferry_uid, "Streaming")


def _over_by_hand(ferry_uid: str, phase: str) -> str:
    """It changes nothing if the cutover was recorded meanwhile."""
    where = f"ferry_uid = {_readable(ferry_uid)} AND phase = 'CuttingOver'"
    return f"UPDATE {LEASE} SET phase = '{phase}', cutover = '{{}}' WHERE {where}"


def _readable(text: str) -> str:
    """A literal in the usual form, unless some server would read it as another text."""
    return f"'{text}'" if re.fullmatch(r"[\w.-]+", text, re.ASCII) else string(text)
