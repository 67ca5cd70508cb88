"""The session variables of our connections, so that no global default of a server matters. Set by ``session``."""

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.version import ServerVersion

SQL_MODE = "NO_AUTO_VALUE_ON_ZERO,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,ALLOW_INVALID_DATES"
"""Strict, so that a value that does not fit is an error. Zero dates and days that do not exist are allowed, because
sources contain them: without the last mode MySQL would not even compare a key with '2024-02-31'.
"""
SHOW_INVISIBLE_KEYS = "show_gipk_in_create_table_and_information_schema"


def session_settings(version: ServerVersion, *, binary: bool, target: bool) -> dict[str, str]:
    """``binary``: literals are bytes; otherwise text in utf8mb4. ``target``: the session may write rows."""
    settings = {
        "autocommit": "1",
        "time_zone": "'+00:00'",
        "sql_mode": f"'{SQL_MODE}'",
        "character_set_client": "utf8mb4",
        "character_set_connection": "binary" if binary else "utf8mb4",
        "character_set_results": "binary",
        "group_concat_max_len": str(1 << 30),
        "lc_messages": "'en_US'",  # LOAD DATA's counts are parsed from its message
        "lock_wait_timeout": "30",
        "innodb_lock_wait_timeout": "20",
        "net_write_timeout": "120",
        "net_read_timeout": "30" if target else "120",
        # A dead copier's target session must not hold its locks for the default 8 hours.
        "wait_timeout": "60" if target else "600",
        # Limits that administrators set for people would truncate catalogue answers and refuse our statements.
        "sql_select_limit": str((1 << 64) - 1),
        "sql_big_selects": "1",
        "sql_safe_updates": "0",
        "completion_type": "'NO_CHAIN'",
        "sql_auto_is_null": "0",
        # SHOW CREATE TABLE is read as text.
        "sql_quote_show_create": "1",
        # Settings that functions in a row filter depend on.
        "lc_time_names": "'en_US'",
        "default_week_format": "0",
    }
    if target:
        settings["foreign_key_checks"] = "0"
        settings["unique_checks"] = "1"
    if version.flavor is Flavor.MYSQL:
        # With the default 8 MB, a tuple IN of 20,000 keys becomes a table scan (warning 3170).
        settings["range_optimizer_max_mem_size"] = "0"
        settings["transaction_isolation"] = "'READ-COMMITTED'"
        settings["transaction_read_only"] = "0"
        if version.statistics_expire:
            settings["information_schema_stats_expiry"] = "0"
        settings["max_execution_time"] = "0"
        # A generated invisible primary key is a key like any other, and the only one of its table.
        settings["sql_auto_is_null"] += f" /*!80030 , SESSION {SHOW_INVISIBLE_KEYS} = ON */"
    else:
        settings["tx_isolation"] = "'READ-COMMITTED'"
        settings["tx_read_only"] = "0"
        settings["max_statement_time"] = "0"
        settings["idle_transaction_timeout"] = "0"
        settings["idle_readonly_transaction_timeout"] = "0"
        settings["idle_write_transaction_timeout"] = "0"
        # Rows may be older than a constraint, or written by a session that did not check any.
        settings["check_constraint_checks"] = "0"
        # Otherwise an IN list of 1000 becomes a join that reads the whole table.
        settings["in_predicate_conversion_threshold"] = "0"
    return settings
