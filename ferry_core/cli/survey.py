"""What is on a server: its version, and its schemas with their sizes. Asked by ``ferry init``."""

from collections.abc import Sequence
from dataclasses import dataclass

from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Purpose, Session

_SCHEMAS = """
SELECT TABLE_SCHEMA, COUNT(*), COALESCE(SUM(TABLE_ROWS), 0), COALESCE(SUM(DATA_LENGTH), 0)
FROM information_schema.TABLES
WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')
AND TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')
AND TABLE_SCHEMA NOT LIKE 'mysql\\\\_ferry%'
GROUP BY TABLE_SCHEMA ORDER BY TABLE_SCHEMA"""


@dataclass(frozen=True)
class SchemaSize:
    """One schema, as far as the account may see it."""

    name: str
    tables: int
    rows: int
    size: int


@dataclass(frozen=True)
class Surveyed:
    """One server."""

    version: str
    schemas: Sequence[SchemaSize]


def survey(endpoint: Endpoint) -> Surveyed:
    """Raises FerryError if the server cannot be asked."""
    with Session(endpoint, Purpose.CONTROL) as session:
        version = session.text("SELECT VERSION()")
        rows = session.query(_SCHEMAS)
    return Surveyed(version, [SchemaSize(_text(row[0]), *(int(_text(value)) for value in row[1:])) for row in rows])


def _text(value: bytes | None) -> str:
    return (value or b"").decode()
