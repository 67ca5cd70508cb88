"""Which tables people asked to compare again, as one immutable value.

Part of ``desired_state``. The verification's thread compares its number with the one that it has answered.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PassRequests:
    """Requests are numbered from 1 in each process."""

    newest: int = 0
    of_all: int = 0
    """The newest request for all tables."""
    of_tables: Mapping[str, int] = field(default_factory=dict)
    """The newest request that names a table, by table."""

    def asked(self, tables: Collection[str]) -> "PassRequests":
        """With one more request; no names mean all tables."""
        number = self.newest + 1
        if not tables:
            return PassRequests(number, number, {})
        return PassRequests(number, self.of_all, {**self.of_tables, **dict.fromkeys(tables, number)})

    def names(self, table: str, answered: int) -> bool:
        """Whether a request after number ``answered`` is for this table."""
        return max(self.of_all, self.of_tables.get(table, 0)) > answered
