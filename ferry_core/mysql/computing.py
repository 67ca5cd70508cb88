"""Server settings, besides the row itself, that determine the values of generated columns. Used by
``workers.connections``.

An application's sessions mostly use the source's global values. The target's sessions use the same values, so that the
target computes what the source did. Nothing records under which settings a row was really written.
"""

from collections.abc import Sequence

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Session
from ferry_core.mysql.settings import SQL_MODE

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
    if source.flavor is not target.flavor:
        modes = _of_other_family(modes, target.flavor)
    settings = {name: value if value.isdigit() else f"'{value}'" for name, value in found.items() if name in known}
    return settings | {"sql_mode": f"'{','.join([SQL_MODE, *modes])}'"}


def _of_other_family(modes: Sequence[str], target: Flavor) -> list[str]:
    """MySQL rounds fractions of seconds unless it is to truncate them; MariaDB does the opposite."""
    cuts = "TIME_TRUNCATE_FRACTIONAL" in modes if target is Flavor.MARIADB else "TIME_ROUND_FRACTIONAL" not in modes
    there = {(Flavor.MARIADB, False): ["TIME_ROUND_FRACTIONAL"], (Flavor.MYSQL, True): ["TIME_TRUNCATE_FRACTIONAL"]}
    return [mode for mode in modes if not mode.startswith("TIME_")] + there.get((target, cuts), [])


def _globals(session: Session) -> dict[str, str]:
    names = ", ".join(f"'{name}'" for name in (*SETTINGS, "sql_mode"))
    rows = session.query(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
    return {(name or b"").decode(): (value or b"").decode() for name, value in rows}
