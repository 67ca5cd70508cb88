"""Compares what is not a table: views, routines, triggers and events, by SHOW CREATE. ``trial.py`` calls it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.servers import Server

_NAMES = {
    "VIEW": "SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s",
    "PROCEDURE": "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s "
    "AND ROUTINE_TYPE = 'PROCEDURE'",
    "FUNCTION": "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s "
    "AND ROUTINE_TYPE = 'FUNCTION'",
    "TRIGGER": "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s",
    "EVENT": "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s",
}
_CREATED = {"TRIGGER": -1}
"""Columns of SHOW CREATE to leave out at the end: when the trigger was created."""


def objects(server: "Server", schema: str) -> dict[str, tuple[object, ...]]:
    """``VIEW name`` and the like, and what SHOW CREATE says."""
    found = {}
    for kind, names in _NAMES.items():
        for (name,) in server.query(names, (schema,)):
            shown = server.query(f"SHOW CREATE {kind} `{schema}`.`{name}`")[0]
            found[f"{kind} {name}"] = shown[: _CREATED.get(kind)]
    return found


def assert_equal_objects(source: "Server", target: "Server", schema: str) -> int:
    """Returns how many there are."""
    expected, found = objects(source, schema), objects(target, schema)
    assert expected.keys() == found.keys(), (
        f"missing on the target: {sorted(expected.keys() - found.keys())}; "
        f"only there: {sorted(found.keys() - expected.keys())}"
    )
    for name, shown in expected.items():
        assert shown == found[name], f"{name} differs: {shown} {found[name]}"
    return len(expected)
