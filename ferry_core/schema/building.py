"""The one place that makes tables and constraints on a target: as the source's definition says, whatever is set there.

What a server refuses today it may have taken once, under a lax sql_mode or with innodb_strict_mode off. So a statement
that is refused is tried again without strictness; ``likeness`` then tells whether what came of it is what the source
has. Called by ``create`` and ``foreign_keys``, and by preflight, which tries everything beforehand by the same means.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

_STRICT = ("STRICT_ALL_TABLES", "STRICT_TRANS_TABLES")
_ADDED = ("NO_DIR_IN_CREATE", "NO_ENGINE_SUBSTITUTION")
"""Where the source keeps a table's files means nothing to another server, and an engine is not to be swapped."""

_NEEDED = {
    # A definition's strings are utf8mb4 text, a target session's literals are binary.
    "character_set_connection": "utf8mb4",
    # Else a TIMESTAMP NOT NULL gets DEFAULT and ON UPDATE CURRENT_TIMESTAMP.
    "explicit_defaults_for_timestamp": "ON",
    # The source has checked its rows, and without that the server adds a constraint in place.
    "foreign_key_checks": "0",
}
_WISHED = {
    "restrict_fk_on_non_standard_key": "OFF",
    "sql_require_primary_key": "OFF",
    "sql_generate_invisible_primary_key": "OFF",
    "character_set_collations": "''",
}
"""Unknown to some versions, not allowed to every account: set where that works."""
_LAX = {"innodb_strict_mode": "OFF"}

Build = Callable[[str], None]
"""Runs one statement; raises what the server said to the strict try."""


@contextmanager
def as_written(session: Session, settings: Mapping[str, str] | None = None) -> Iterator[Build]:
    """Gives the way to run DDL on ``session``; its settings are as before afterwards.

    ``settings`` are those that a session of a run has from the source, for sessions that are not of a run.
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
    """Session variables for a while."""
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
