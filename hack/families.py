"""The two server families of the test bed, their releases, and the flags with which tests start them.

Standard library only, because it runs before anything is installed. Used by ``hack/releases.py`` and
``hack/servers.py``.
"""

from collections.abc import Mapping
from enum import StrEnum

PASSWORD = "ferry-test"  # noqa: S105 - of throwaway servers that listen on loopback
Flags = Mapping[str, str | int | bool | None]

_COMMON_FLAGS: dict[str, str | int | bool | None] = {
    "bind_address": "127.0.0.1",
    "log_bin": "binlog",
    "binlog_format": "ROW",
    "binlog_row_image": "FULL",
    "local_infile": True,
    "max_allowed_packet": "64M",
    "innodb_buffer_pool_size": "256M",
    # Native I/O takes 2,305 of the 65,536 requests the kernel allows (fs.aio-max-nr): a 29th server does not start.
    "innodb_use_native_aio": False,
    # These servers are temporary, so it does not matter what a power cut would lose.
    "innodb_flush_log_at_trx_commit": 2,
    "sync_binlog": 0,
}


class Family(StrEnum):
    """Which server. The value is the word used in fixtures, folders and environment variables."""

    MYSQL = "mysql"
    MARIADB = "mariadb"


class Release(StrEnum):
    """Which release of a family, by the word that ``hack/servers.py install`` takes."""

    MYSQL_5_7 = "mysql-5.7.22"
    MYSQL_8_0_15 = "mysql-8.0.15"
    MYSQL_8_0_33 = "mysql-8.0.33"
    MYSQL_9_7 = "mysql-9.7"
    MARIADB_10_5 = "mariadb-10.5"
    MARIADB_10_11 = "mariadb-10.11"
    MARIADB_11_4 = "mariadb-11.4"
    MARIADB_11_8 = "mariadb-11.8"

    @property
    def family(self) -> Family:
        return Family(self.partition("-")[0])

    @property
    def number(self) -> tuple[int, ...]:
        return tuple(map(int, self.partition("-")[2].split(".")))

    @classmethod
    def of(cls, family: Family) -> "Release":
        """The release that is meant where a test names only the family."""
        return cls.MYSQL_9_7 if family is Family.MYSQL else cls.MARIADB_10_11


def default_flags(release: Release, server_id: int) -> dict[str, str | int | bool | None]:
    """Flags of a source or target, unless a test sets others."""
    flags = _COMMON_FLAGS | {"server_id": server_id}
    if release.family is Family.MARIADB:
        return flags | {"gtid_domain_id": 0, "gtid_strict_mode": True, "innodb_log_file_size": "128M"}
    flags |= {"gtid_mode": True, "enforce_gtid_consistency": True, "secure_file_priv": "NULL"}
    flags |= {"mysqlx": False} if release.number >= (8,) else {"skip_name_resolve": True}
    return flags | (
        {"innodb_redo_log_capacity": "512M"} if release.number >= (8, 0, 30) else {"innodb_log_file_size": "128M"}
    )


def render_flag(name: str, value: str | int | bool) -> str:
    """One command line flag. For log_bin, False becomes --skip-log-bin, because OFF would be a file name."""
    if name == "log_bin" and isinstance(value, bool):
        return "--log-bin" if value else "--skip-log-bin"
    if isinstance(value, bool):
        value = "ON" if value else "OFF"
    option = name.replace("_", "-")
    return f"--{option}={value}" if value != "" else f"--{option}"
