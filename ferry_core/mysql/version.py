"""What a server's version has, lacks, or calls by another name: the one place that compares version numbers.

Every session learns its server's version before it makes any setting. The sections are of the manuals of MySQL and
MariaDB: the page of the statement, variable or table, unless another is given.
"""

import re
from collections.abc import Mapping
from functools import cached_property

from ferry_core.mysql.flavor import Flavor

OLDEST_SOURCE = {Flavor.MYSQL: (5, 7, 22), Flavor.MARIADB: (10, 5)}
OLDEST_TARGET = {Flavor.MYSQL: (8, 0), Flavor.MARIADB: (10, 5)}
"""Older servers are refused by preflight. MySQL has JSON_STORAGE_SIZE, by which changed JSON is found, since 5.7.22."""

OLDEST_SOURCE_ACROSS = {Flavor.MYSQL: (8, 0, 33), Flavor.MARIADB: (10, 5)}
OLDEST_TARGET_ACROSS = {Flavor.MYSQL: (8, 0, 33), Flavor.MARIADB: (10, 11)}
"""Of moves between the families: older ones are not tested."""

REMOVED_SQL_MODES = frozenset(
    {
        *("DB2", "MAXDB", "MSSQL", "MYSQL323", "MYSQL40", "ORACLE", "POSTGRESQL", "NO_AUTO_CREATE_USER"),
        *("NO_FIELD_OPTIONS", "NO_KEY_OPTIONS", "NO_TABLE_OPTIONS"),
    }
)
"""Of MySQL, in 8.0.11 ("What Is New in MySQL 8.0"): 5.7 stores them with routines, triggers and events."""


class ServerVersion:
    """Of one server, from its ``SELECT VERSION()``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.flavor = Flavor.of_version(text)
        # MariaDB before 11 may begin with 5.5.5-, for replicas that are older than it.
        found = re.match(r"(?:5\.5\.5-)?(\d+)\.(\d+)(?:\.(\d+))?", text)
        self.number = tuple(int(part or 0) for part in found.groups()) if found else (0, 0, 0)

    def __str__(self) -> str:
        return f"{self.flavor.value} {self.text}"

    def _since(self, *, mysql: tuple[int, ...], mariadb: tuple[int, ...]) -> bool:
        return self.number >= (mysql if self.flavor is Flavor.MYSQL else mariadb)

    @property
    def before_8(self) -> bool:
        """MySQL 5.7, the only one before 8.0 that is supported. The properties below say what it lacks."""
        return not self._since(mysql=(8, 0), mariadb=(0,))

    @cached_property
    def dynamic_privileges(self) -> bool:
        """Whether MySQL has XA_RECOVER_ADMIN and the parts of SUPER: "Static Versus Dynamic Privileges" (8.0)."""
        return self.flavor is Flavor.MYSQL and not self.before_8

    @cached_property
    def routine_privilege(self) -> tuple[str, str]:
        """The privilege that shows the text of others' routines, and where: SHOW CREATE PROCEDURE. SHOW_ROUTINE is new
        in MySQL 8.0.20.
        """
        if self.flavor is Flavor.MARIADB or self.before_8:
            return "SELECT", "mysql.proc"
        return ("SHOW_ROUTINE" if self.number >= (8, 0, 20) else "SELECT"), "*.*"

    @cached_property
    def records_setter(self) -> bool:
        """Whether it tells who has set a variable: performance_schema.variables_info (MySQL 8.0)."""
        return self.flavor is Flavor.MYSQL and not self.before_8

    @cached_property
    def shows_members(self) -> bool:
        """Whether members of ENUM and SET can be read exactly: WITH RECURSIVE (MySQL 8.0.1), TYPE OF (MariaDB)."""
        return not self.before_8

    @cached_property
    def unprinted_collations(self) -> Mapping[str, str]:
        """Collations that SHOW CREATE TABLE omits and that newer servers do not complete alike: utf8mb4 without one is
        utf8mb4_0900_ai_ci since MySQL 8.0.1 ("Character Sets and Collations in MySQL").
        """
        return {"utf8mb4": "utf8mb4_general_ci"} if self.before_8 else {}

    @cached_property
    def removed_sql_modes(self) -> frozenset[str]:
        """Those that later releases do not have."""
        return REMOVED_SQL_MODES if self.before_8 else frozenset()

    @cached_property
    def hidden_index(self) -> str:
        """Condition on information_schema.statistics for indexes that the optimizer ignores: "Invisible Indexes" (MySQL
        8.0.0), "Ignored Indexes" (MariaDB 10.6).
        """
        if not self._since(mysql=(8, 0), mariadb=(10, 6)):
            return "FALSE"
        return "is_visible = 'NO'" if self.flavor is Flavor.MYSQL else "ignored = 'YES'"

    @cached_property
    def index_expression(self) -> str:
        """The column of information_schema.statistics for the expression of a functional index: MySQL 8.0.13."""
        return "EXPRESSION" if self._since(mysql=(8, 0, 13), mariadb=(1000,)) else "''"

    @cached_property
    def lists_checks(self) -> bool:
        """Whether it has CHECK constraints and information_schema.CHECK_CONSTRAINTS: MySQL 8.0.16, MariaDB 10.2.22."""
        return self._since(mysql=(8, 0, 16), mariadb=(10, 2, 22))

    @cached_property
    def statistics_expire(self) -> bool:
        """Whether information_schema answers from old statistics unless information_schema_stats_expiry is 0."""
        return self._since(mysql=(8, 0, 3), mariadb=(1000,))

    @cached_property
    def binlog_status(self) -> str:
        """SHOW BINARY LOG STATUS is new in MySQL 8.2, SHOW BINLOG STATUS in MariaDB 10.5.2."""
        if self.flavor is Flavor.MARIADB:
            return "SHOW BINLOG STATUS"
        return "SHOW BINARY LOG STATUS" if self.number >= (8, 2) else "SHOW MASTER STATUS"

    @cached_property
    def replicas(self) -> str:
        """The statement that lists connected replicas: SHOW REPLICAS is new in MySQL 8.0.22."""
        return "SHOW REPLICAS" if self._since(mysql=(8, 0, 22), mariadb=(1000,)) else "SHOW SLAVE HOSTS"

    @cached_property
    def replica_status(self) -> str:
        """The statement that lists the channels from which it replicates: SHOW REPLICA STATUS, new in MySQL 8.0.22."""
        if self.flavor is Flavor.MARIADB:
            return "SHOW ALL SLAVES STATUS"
        return "SHOW REPLICA STATUS" if self.number >= (8, 0, 22) else "SHOW SLAVE STATUS"

    @cached_property
    def select_may_lock(self) -> bool:
        """Whether the privilege SELECT is enough for reads with locks: "Locking Reads". MySQL before 8.0.22 also wants
        UPDATE, DELETE or LOCK TABLES.
        """
        return self._since(mysql=(8, 0, 22), mariadb=(0,))

    @cached_property
    def retention_variable(self) -> str:
        """The variable that sets it."""
        return "binlog_expire_logs_seconds" if self._since(mysql=(8, 0, 1), mariadb=(10, 6, 1)) else "expire_logs_days"

    @cached_property
    def retention_seconds(self) -> str:
        """How long binlogs are kept, as an expression: binlog_expire_logs_seconds is new in MySQL 8.0.1; MariaDB, which
        has it since 10.6.1, sets expire_logs_days along.
        """
        if self._since(mysql=(8, 0, 1), mariadb=(1000,)):
            return "@@GLOBAL.binlog_expire_logs_seconds"
        return "@@GLOBAL.expire_logs_days * 86400"
