"""By which of a server's global settings generated columns are computed, beside the row.

An application's sessions mostly have the source's global ones. The target's sessions take them over, so that it
computes what the source did; which settings a row was really written under is nowhere kept. Called by
``workers.connections``.
"""

from ferry_core.mysql.session import SQL_MODE, Session

SETTINGS = ("lc_time_names", "div_precision_increment", "block_encryption_mode", "default_regex_flags")
"""Of those that a server has. Time zones are left out: rows travel in UTC, which no clock change makes ambiguous."""
MODES = ("NO_UNSIGNED_SUBTRACTION", "TIME_TRUNCATE_FRACTIONAL", "TIME_ROUND_FRACTIONAL")
"""Parts of sql_mode that decide results and not whether a value is refused. PAD_CHAR_TO_FULL_LENGTH is left out: under
it every CHAR would read as another value."""


def computing_settings(source: Session) -> dict[str, str]:
    """Session settings for the target, as ``SET`` takes them."""
    names = ", ".join(f"'{name}'" for name in (*SETTINGS, "sql_mode"))
    rows = source.query(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
    found = {(name or b"").decode(): (value or b"").decode() for name, value in rows}
    modes = [mode for mode in found.pop("sql_mode", "").split(",") if mode in MODES]
    settings = {name: value if value.isdigit() else f"'{value}'" for name, value in found.items()}
    return settings | {"sql_mode": f"'{','.join([SQL_MODE, *modes])}'"}
