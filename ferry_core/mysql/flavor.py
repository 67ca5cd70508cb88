"""The family of a server: MySQL or MariaDB. Used wherever the two need different statements."""

from enum import Enum


class Flavor(Enum):
    """A server's family, decided once at connect from ``@@version``."""

    MYSQL = "MySQL"
    MARIADB = "MariaDB"

    @classmethod
    def of_version(cls, version: str) -> "Flavor":
        """``version`` as returned by ``SELECT VERSION()``, for example ``10.11.14-MariaDB-log``."""
        return cls.MARIADB if "mariadb" in version.lower() else cls.MYSQL
