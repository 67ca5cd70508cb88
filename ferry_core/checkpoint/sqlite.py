"""The checkpoint in a local SQLite file: the default of ``ferry run``, and used for ``store: Volume``."""

import contextlib
import logging
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from ferry_core.checkpoint.state import RunState
from ferry_core.checkpoint.store import parse
from ferry_core.errors import ConfigError, Fenced, ResourceExhausted
from ferry_core.reasons import Reason
from ferry_core.text import shortlist

log = logging.getLogger(__name__)

_TABLE = """CREATE TABLE IF NOT EXISTS ferry_state (
    id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL, format INTEGER NOT NULL, body TEXT NOT NULL)"""
# SQLite's own tables do not make a file foreign: ANALYZE creates one.
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name"
_EARLIER = """CREATE TABLE IF NOT EXISTS ferry_earlier (
    number INTEGER PRIMARY KEY, format INTEGER NOT NULL, body TEXT NOT NULL)"""
# Earlier states. After a target has lost rows, the states that described them are replaced by others. Old states are
# thinned out, about 60 of a million remain: a number with n zero bits at its end is kept for 4 * 2^n further states.
_FORGET = "DELETE FROM ferry_earlier WHERE number > :number OR :number - number > 4 * (number & -number)"
_KEEP = "INSERT OR REPLACE INTO ferry_earlier VALUES (:number, :format, :body)"
_OURS = ("ferry_earlier", "ferry_state")
_SAVE = """INSERT INTO ferry_state (id, epoch, format, body) VALUES (1, :epoch, :format, :body)
    ON CONFLICT (id) DO UPDATE SET epoch = :epoch, format = :format, body = :body WHERE ferry_state.epoch <= :epoch"""


class SqliteStore:
    """One file with one row.

    A file that is not a state of ours is refused and never overwritten. ``save`` creates the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        if path.exists():
            self._open()
        elif not os.access(path.parent, os.W_OK | os.X_OK):
            raise self._unusable(sqlite3.OperationalError("its folder does not exist or is not writable"))

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            try:
                # It holds keys of rows: for its owner alone. SQLite's journal gets the same mode.
                os.close(os.open(self._path, os.O_RDONLY | os.O_CREAT, 0o600))
                # Two runs may open the file at once: the epoch decides, SQLite's own lock serializes the writes.
                database = sqlite3.connect(self._path, timeout=10, isolation_level=None, check_same_thread=False)
                foreign = [name for (name,) in database.execute(_TABLES) if name not in _OURS]
                if not foreign:
                    database.execute("PRAGMA synchronous = FULL")
                    database.execute(_TABLE)
            except OSError as error:
                raise self._unusable(sqlite3.OperationalError(error.strerror)) from error
            except sqlite3.DatabaseError as error:
                raise self._unusable(error) from error
            if foreign:
                database.close()
                raise self._corrupt(f"it holds tables of another program: {shortlist(foreign, 5)}")
            self._keep_from_others()
            self._database = database
        return self._database

    def _keep_from_others(self) -> None:
        """A copy, or a file of an earlier version, may be open to every login of the machine."""
        mode = stat.S_IMODE(self._path.stat().st_mode)
        if mode & stat.S_IRWXO:
            try:
                self._path.chmod(mode & ~stat.S_IRWXO)
            except OSError as error:
                log.warning(
                    "state file %s holds keys of rows, and every login of this machine may open it: %s; chmod 600 it",
                    self._path,
                    error.strerror,
                )

    def _unusable(self, error: sqlite3.Error) -> ConfigError:
        if isinstance(error, sqlite3.OperationalError):
            return ConfigError(
                Reason.STATE_UNUSABLE, f"cannot open state file {self._path}: {error}; check path and permissions"
            )
        return self._corrupt(str(error))

    def _corrupt(self, problem: str) -> ConfigError:
        return ConfigError(
            Reason.STATE_CORRUPT,
            f"{self._path} is not an intact state file of a Ferry ({problem}); give another --state, restore it, or "
            "remove it and start with --restart: rows already copied by this Ferry are then deleted and copied again",
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
            raise self._corrupt("its row was not written by a run")
        return parse(body, form, self.describe())

    def save(self, state: RunState, epoch: int) -> None:
        values = {"epoch": epoch, "format": state.format, "body": state.model_dump_json(), "number": state.number}
        try:
            database = self._open()
            with _transaction(database):
                changed = database.execute(_SAVE, values).rowcount
                if changed and state.run is not None:
                    database.execute(_EARLIER)  # not before: a file that is refused stays unchanged
                    database.execute(_KEEP, values)
                    database.execute(_FORGET, values)
        except sqlite3.OperationalError as error:
            raise ResourceExhausted(
                Reason.STATE_NOT_WRITTEN, f"cannot write state file {self._path}: {error}"
            ) from error
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        if changed == 0:
            raise Fenced(Reason.NEWER_RUN, f"a newer run of this Ferry wrote {self._path}; this run stops")

    def earlier(self) -> Iterator[RunState]:
        """Earlier states, newest first. The older they are, the fewer are left."""
        if self._database is not None and ("ferry_earlier",) in self._database.execute(_TABLES).fetchall():
            found = self._database.execute("SELECT format, body FROM ferry_earlier ORDER BY number DESC").fetchall()
            yield from (parse(body, form, self.describe()) for form, body in found)

    def describe(self) -> str:
        return f"state file {self._path.absolute()}"

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.rollback()
        raise
    database.execute("COMMIT")
