"""The tables that Ferries keep about themselves on a target, one row a Ferry. Made by ``fence``, as a run takes it."""

import re

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


def completed_by_hand(ferry_uid: str) -> str:
    """The statement by which a person tells a target that has lost the record of a cutover of it."""
    return f"UPDATE {LEASE} SET phase = 'Completed' WHERE ferry_uid = {_readable(ferry_uid)}"


def removed_by_hand(ferry_uid: str) -> str:
    """The statement by which a person makes a target forget a Ferry."""
    return f"DELETE FROM {LEASE} WHERE ferry_uid = {_readable(ferry_uid)}"


def aborted_by_hand(ferry_uid: str) -> str:
    """The statement by which a person ends a Ferry of whose cutover attempt nothing has to be undone any more."""
    return f"UPDATE {LEASE} SET phase = 'Aborted', cutover = '{{}}' WHERE ferry_uid = {_readable(ferry_uid)}"


def _readable(text: str) -> str:
    """A literal as people write it, unless some server would read another text in it."""
    return f"'{text}'" if re.fullmatch(r"[\w.-]+", text, re.ASCII) else string(text)
