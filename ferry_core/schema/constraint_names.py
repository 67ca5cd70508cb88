"""Names of constraints, which must be unique in a schema: where two schemas become one, a name may be taken.

Used by ``create`` and ``foreign_keys``.
"""

from collections.abc import Iterable

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.listings import listed
from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session
from ferry_core.tables.table import TableName


class ConstraintNames:
    """Those of one kind on the target, read once for each schema."""

    def __init__(self, target: Session, kind: str) -> None:
        """``kind`` as in information_schema: FOREIGN KEY or CHECK."""
        self._target = target
        self._kind = kind
        self._owners: dict[str, dict[str, str]] = {}

    def taken(self, table: TableName) -> frozenset[str]:
        """Names that constraints of other tables have, in lower case."""
        return frozenset(name for name, owner in self.owners(table.schema).items() if owner != table.name)

    def take(self, table: TableName, names: Iterable[str]) -> None:
        """The table has, or is about to get, constraints of these names; those of other tables stay theirs."""
        for name in names:
            self.owners(table.schema).setdefault(name.lower(), table.name)

    def owners(self, schema: str) -> dict[str, str]:
        """All names in lower case, with their tables."""
        if schema not in self._owners:
            self._owners[schema] = _owners(self._target, schema, self._kind)
        return self._owners[schema]


def _owners(session: Session, schema: str, kind: str) -> dict[str, str]:
    if kind == "CHECK" and session.flavor is not Flavor.MYSQL:
        return {}  # on MariaDB names are unique per table
    rows = listed(
        session,
        "SELECT constraint_name, table_name FROM information_schema.table_constraints"
        f" WHERE constraint_type = {string(kind)} AND constraint_schema = {string(schema)}",
    )
    return {(name or b"").decode().lower(): (owner or b"").decode() for name, owner in rows}
