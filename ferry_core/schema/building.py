"""The one place that creates tables and constraints on a target, exactly as the source's definition says.

A definition that a server refuses today may have been accepted once, under a lax sql_mode or with innodb_strict_mode
off. So a refused statement is repeated without strict mode, and ``likeness`` then checks whether the result equals the
source's. Used by ``create`` and ``foreign_keys``, and by preflight, which tries everything beforehand in the same way.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

_STRICT = ("STRICT_ALL_TABLES", "STRICT_TRANS_TABLES")
_ADDED = ("NO_DIR_IN_CREATE", "NO_ENGINE_SUBSTITUTION")
"""The directory of the source's table files means nothing to another server, and an engine must not be replaced."""

_NEEDED = {
    # A definition's strings are utf8mb4 text, but a target session's literals are binary.
    "character_set_connection": "utf8mb4",
    # Otherwise a TIMESTAMP NOT NULL gets DEFAULT and ON UPDATE CURRENT_TIMESTAMP.
    "explicit_defaults_for_timestamp": "ON",
    # The source has checked its rows; without the check the server adds a constraint in place.
    "foreign_key_checks": "0",
}
_WISHED = {
    "restrict_fk_on_non_standard_key": "OFF",
    "sql_require_primary_key": "OFF",
    "sql_generate_invisible_primary_key": "OFF",
    "character_set_collations": "''",
}
"""Some versions lack these and some accounts may not set them: set where possible."""
_LAX = {"innodb_strict_mode": "OFF"}

Build = Callable[[str], None]
"""Runs one statement. Raises the server's error from the strict try."""


@contextmanager
def as_written(session: Session, settings: Mapping[str, str] | None = None) -> Iterator[Build]:
    """Yields a function that runs DDL on ``session``, whose settings are restored afterwards.

    ``settings`` are the source's settings, for sessions that do not belong to a run and so lack them.
    """
    settings = dict(settings or {})
    modes = settings.pop("sql_mode", session.text("SELECT @@SESSION.sql_mode")).strip("'").split(",")
    strict = list(dict.fromkeys([*filter(None, modes), *_ADDED]))
    lax = {"sql_mode": _quoted([mode for mode in strict if mode not in _STRICT])}

    def build(statement: str) -> None:
        try:
            session.execute(statement)
        except DataError as refused:
            try:
                with _set(session, lax, _LAX):
                    session.execute(statement)
            except DataError:
                raise refused from refused.__cause__

    with _set(session, {**settings, **_NEEDED, "sql_mode": _quoted(strict)}, _WISHED):
        yield build


def _quoted(words: Sequence[str]) -> str:
    return f"'{','.join(words)}'"


@contextmanager
def _set(session: Session, needed: Mapping[str, str], wished: Mapping[str, str]) -> Iterator[None]:
    """Set session variables temporarily."""
    before = _values(session, [*needed, *wished])
    changed = []
    for name in [*needed, *(name for name in wished if name in before)]:
        try:
            session.execute(f"SET SESSION {name} = {needed.get(name) or wished[name]}")
        except ConfigError as error:
            if name in needed or error.reason != Reason.MISSING_PRIVILEGE:
                raise
        else:
            changed.append(name)
    try:
        yield
    finally:
        for name in changed:
            value = before[name]
            session.execute(f"SET SESSION {name} = {value if value.isdigit() else _quoted([value])}")


def _values(session: Session, names: Sequence[str]) -> dict[str, str]:
    listed = ", ".join(f"'{name}'" for name in names)
    rows = session.query(f"SHOW SESSION VARIABLES WHERE variable_name IN ({listed})")
    return {(name or b"").decode(): (value or b"").decode() for name, value in rows}
