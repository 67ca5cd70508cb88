"""Server settings, besides the row itself, that determine the values of generated columns. Used by
``workers.connections``.

An application's sessions mostly use the source's global values. The target's sessions use the same values, so that the
target computes what the source did. Nothing records under which settings a row was really written.
"""

from ferry_core.mysql.session import SQL_MODE, Session

SETTINGS = ("lc_time_names", "div_precision_increment", "block_encryption_mode", "default_regex_flags")
"""Each is used if both servers have it: an older one computes as if a new setting had its default.

Time zones are left out: rows are transferred in UTC, which no clock change makes ambiguous.
"""
MODES = ("NO_UNSIGNED_SUBTRACTION", "TIME_TRUNCATE_FRACTIONAL", "TIME_ROUND_FRACTIONAL")
"""Parts of sql_mode that affect results, not whether a value is refused. PAD_CHAR_TO_FULL_LENGTH is left out: with it
every CHAR would be read as another value.
"""


def computing_settings(source: Session, target: Session) -> dict[str, str]:
    """Session settings for the target, in the form of ``SET``."""
    found, known = _globals(source), _globals(target)
    modes = [mode for mode in found.pop("sql_mode", "").split(",") if mode in MODES]
    settings = {name: value if value.isdigit() else f"'{value}'" for name, value in found.items() if name in known}
    return settings | {"sql_mode": f"'{','.join([SQL_MODE, *modes])}'"}


def _globals(session: Session) -> dict[str, str]:
    names = ", ".join(f"'{name}'" for name in (*SETTINGS, "sql_mode"))
    rows = session.query(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
    return {(name or b"").decode(): (value or b"").decode() for name, value in rows}
