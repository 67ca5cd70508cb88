"""Which of the two families a server is. Called by whoever must speak differently to them."""

from enum import Enum


class Flavor(Enum):
    """A server's family; decided once, at connect, from ``@@version``."""

    MYSQL = "MySQL"
    MARIADB = "MariaDB"

    @classmethod
    def of_version(cls, version: str) -> "Flavor":
        """``version`` as ``SELECT VERSION()`` gives it, for example ``10.11.14-MariaDB-log``."""
        return cls.MARIADB if "mariadb" in version.lower() else cls.MYSQL
