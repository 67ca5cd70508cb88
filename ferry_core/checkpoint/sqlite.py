"""The checkpoint in a local SQLite file: the default of ``ferry run``, and of ``store: Volume``."""

import os
import sqlite3
from pathlib import Path

from ferry_core.checkpoint.state import RunState
from ferry_core.checkpoint.store import parse
from ferry_core.errors import ConfigError, Fenced, ResourceExhausted

_TABLE = """CREATE TABLE IF NOT EXISTS ferry_state (
    id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL, format INTEGER NOT NULL, body TEXT NOT NULL)"""
# SQLite's own are no sign of something else: ANALYZE makes one.
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name"
_SAVE = """INSERT INTO ferry_state (id, epoch, format, body) VALUES (1, :epoch, :format, :body)
    ON CONFLICT (id) DO UPDATE SET epoch = :epoch, format = :format, body = :body WHERE ferry_state.epoch <= :epoch"""


class SqliteStore:
    """One file, one row. A file that is no state of ours is refused, never overwritten; none is made before a save."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        if path.exists():
            self._open()
        elif not os.access(path.parent, os.W_OK | os.X_OK):
            raise self._unusable(sqlite3.OperationalError("its folder does not exist or is not ours to write"))

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            try:
                # Two runs may have the file open at once: the epoch decides, SQLite's own lock orders the writes.
                database = sqlite3.connect(self._path, timeout=10, isolation_level=None, check_same_thread=False)
                foreign = [name for (name,) in database.execute(_TABLES) if name != "ferry_state"]
                if not foreign:
                    database.execute("PRAGMA synchronous = FULL")
                    database.execute(_TABLE)
            except sqlite3.DatabaseError as error:
                raise self._unusable(error) from error
            if foreign:
                database.close()
                raise self._corrupt(f"it holds tables of something else: {', '.join(foreign[:5])}")
            self._database = database
        return self._database

    def _unusable(self, error: sqlite3.Error) -> ConfigError:
        if isinstance(error, sqlite3.OperationalError):
            return ConfigError(
                "StateUnusable", f"cannot open state file {self._path}: {error}; check path and permissions"
            )
        return self._corrupt(str(error))

    def _corrupt(self, problem: str) -> ConfigError:
        return ConfigError(
            "StateCorrupt",
            f"{self._path} is no intact state file of a Ferry ({problem}); give another --state, restore it, or remove "
            "it and start with --restart: rows already copied by this Ferry are then deleted and copied again",
        )

    def load(self) -> RunState | None:
        if self._database is None:
            return None
        try:
            row = self._database.execute("SELECT format, body FROM ferry_state").fetchone()
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        if row is None:
            return None
        form, body = row
        if not isinstance(form, int) or not isinstance(body, str):
            raise self._corrupt("its row is not what a run writes")
        return parse(body, form, self.describe())

    def save(self, state: RunState, epoch: int) -> None:
        values = {"epoch": epoch, "format": state.format, "body": state.model_dump_json()}
        try:
            changed = self._open().execute(_SAVE, values).rowcount
        except sqlite3.OperationalError as error:
            raise ResourceExhausted("StateNotWritten", f"cannot write state file {self._path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        if changed == 0:
            raise Fenced("NewerRun", f"a newer run of this Ferry wrote {self._path}; this run stops")

    def describe(self) -> str:
        return f"state file {self._path.absolute()}"

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
