"""Privileges of accounts on schemas and tables, as GRANT statements. Used by ``sight``.

Servers show those of other accounts only to an account that may read the schema ``mysql``. Privileges on routines and
on the whole server are not among them.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from ferry_core.mysql.literals import identifier, string
from ferry_core.mysql.session import Session
from ferry_core.preflight.facts import decoded


class Granted(NamedTuple):
    """What one account may do on a schema (``table`` is empty) or on one of its tables."""

    account: str  # as the server quotes it
    schema: str  # may be a pattern
    table: str
    privileges: tuple[str, ...]
    grantable: bool

    def statement(self, renamed: Mapping[str, str]) -> str:
        """GRANT ... for the target, where schemas may have other names."""
        schema = identifier(renamed.get(self.schema, self.schema))
        scope = f"{schema}.{identifier(self.table) if self.table else '*'}"
        suffix = " WITH GRANT OPTION" if self.grantable else ""
        return f"GRANT {', '.join(self.privileges)} ON {scope} TO {self.account}{suffix}"


def grants_on(session: Session, schemas: Collection[str]) -> Iterator[Granted]:
    """Of all accounts, in order of their names."""
    matching = " OR ".join(f"{string(schema)} LIKE TABLE_SCHEMA" for schema in schemas)
    if not matching:
        return
    names = "GROUP_CONCAT(CONCAT('`', REPLACE(COLUMN_NAME, '`', '``'), '`') SEPARATOR ', ')"
    column = f"CONCAT(PRIVILEGE_TYPE, ' (', {names}, ')')"
    shown = "GRANTEE, TABLE_SCHEMA"
    rows = session.query(
        f"SELECT {shown}, '', IS_GRANTABLE, PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES WHERE {matching}"
        f" UNION ALL SELECT {shown}, TABLE_NAME, IS_GRANTABLE, PRIVILEGE_TYPE"
        f" FROM information_schema.TABLE_PRIVILEGES WHERE {matching}"
        f" UNION ALL SELECT {shown}, TABLE_NAME, IS_GRANTABLE, {column}"
        f" FROM information_schema.COLUMN_PRIVILEGES WHERE {matching}"
        " GROUP BY GRANTEE, TABLE_SCHEMA, TABLE_NAME, IS_GRANTABLE, PRIVILEGE_TYPE"
    )
    found = sorted(tuple(map(decoded, row)) for row in rows)
    for (account, schema, table, grantable), alike in groupby(found, key=lambda row: row[:4]):
        yield Granted(account, schema, table, tuple(row[4] for row in alike), grantable == "YES")
