"""The application of a round: which kinds of writes ``tests/support/writers.py`` knows."""

KINDS = (
    "insert",
    "update",
    "delete",
    "key move",
    "unique swap",
    "several tables",
    "rollback",
    "xa",
    "xa decided elsewhere",
    "xa rollback",
)
