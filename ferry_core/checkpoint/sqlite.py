"""The checkpoint in a local SQLite file: the default of ``ferry run``, and of ``store: Volume``."""

import sqlite3
from pathlib import Path

from ferry_core.checkpoint.state import RunState
from ferry_core.checkpoint.store import parse
from ferry_core.errors import ConfigError, Fenced, ResourceExhausted

_TABLE = """CREATE TABLE IF NOT EXISTS ferry_state (
    id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL, format INTEGER NOT NULL, body TEXT NOT NULL)"""
_SAVE = """INSERT INTO ferry_state (id, epoch, format, body) VALUES (1, :epoch, :format, :body)
    ON CONFLICT (id) DO UPDATE SET epoch = :epoch, format = :format, body = :body WHERE ferry_state.epoch <= :epoch"""


class SqliteStore:
    """One file, one row. A file that is no state of ours is refused, never overwritten."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            # Two runs may have the file open at once: the epoch decides, SQLite's own lock orders the writes.
            self._database = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute(_TABLE)
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: sqlite3.Error) -> ConfigError:
        if isinstance(error, sqlite3.OperationalError):
            return ConfigError(
                "StateUnusable", f"cannot open state file {self._path}: {error}; check path and permissions"
            )
        return ConfigError(
            "StateCorrupt",
            f"{self._path} is no intact state file of a Ferry ({error}); give another --state, restore it, or remove "
            "it to start over: rows already copied by this Ferry are then deleted and copied again",
        )

    def load(self) -> RunState | None:
        try:
            row = self._database.execute("SELECT format, body FROM ferry_state").fetchone()
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        return None if row is None else parse(row[1], row[0], self.describe())

    def save(self, state: RunState, epoch: int) -> None:
        values = {"epoch": epoch, "format": state.format, "body": state.model_dump_json()}
        try:
            changed = self._database.execute(_SAVE, values).rowcount
        except sqlite3.OperationalError as error:
            raise ResourceExhausted("StateNotWritten", f"cannot write state file {self._path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        if changed == 0:
            raise Fenced("NewerRun", f"a newer run of this Ferry wrote {self._path}; this run stops")

    def describe(self) -> str:
        return f"state file {self._path}"

    def close(self) -> None:
        self._database.close()
