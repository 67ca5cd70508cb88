"""Answers of one server that several checks need, each queried once. Made by ``context``."""

from collections.abc import Collection, Sequence
from functools import cached_property

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.listings import rows_of
from ferry_core.mysql.session import Session
from ferry_core.preflight.grants import Grants
from ferry_core.tables.table import TableName

SHOWING_DEFINITIONS = ("SELECT", "SHOW VIEW", "TRIGGER")
"""Privileges that show views, triggers, routines and foreign keys with their texts."""


def decoded(value: bytes | None) -> str:
    """A text column; NULL becomes the empty string."""
    return (value or b"").decode("utf-8", "replace")


class ServerFacts:
    """What a server is, and what the account may do there."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.address = session.endpoint.address
        self.mariadb = session.flavor is Flavor.MARIADB

    @property
    def where(self) -> str:
        """The server's name in messages."""
        return self._session.endpoint.where

    @cached_property
    def variables(self) -> dict[str, str]:
        """Every global variable, by its name in lower case."""
        rows = self._session.query("SHOW GLOBAL VARIABLES")
        return {decoded(name).lower(): decoded(value) for name, value in rows}

    def variable(self, name: str, absent: str = "") -> str:
        return self.variables.get(name, absent)

    def is_on(self, name: str) -> bool:
        return self.variable(name).upper() in ("ON", "1", "YES")

    def number(self, name: str, absent: int = 0) -> int:
        text = self.variable(name)
        return int(float(text)) if text else absent

    @property
    def version(self) -> tuple[int, ...]:
        """Major, minor and patch."""
        return self._session.version.number

    @property
    def version_text(self) -> str:
        return str(self._session.version)

    @cached_property
    def account(self) -> str:
        """The account that the server authenticated, in the form of GRANT."""
        user, _, host = self._session.text("SELECT CURRENT_USER()").rpartition("@")
        return "@".join("`" + part.replace("`", "``") + "`" for part in (user, host))

    @cached_property
    def grants(self) -> Grants:
        lines = [decoded(row[0]) for row in self._session.query("SHOW GRANTS")]
        return Grants(lines, wildcards=not self.is_on("partial_revokes"), fold=self.folds)

    @property
    def sees_definitions(self) -> bool:
        """Whether the account is shown the texts of all views, triggers and routines of the server."""
        return all(self.grants.in_every_schema(privilege) for privilege in SHOWING_DEFINITIONS)

    @property
    def folds(self) -> bool:
        """Whether table and schema names are compared in lower case."""
        return self.number("lower_case_table_names") != 0

    def folded(self, name: TableName) -> TableName:
        return TableName(name.schema.lower(), name.name.lower()) if self.folds else name

    def existing(self, names: Collection[TableName]) -> Sequence[TableName]:
        """Visible tables and views, including all of ``names`` that exist, in the server's spelling."""
        rows = rows_of(self._session, names, "TABLES", "TABLE_TYPE")
        return [TableName(decoded(schema), decoded(name)) for schema, name, _ in rows]
