"""What the engine's threads tell of their work. Made by the run, called by ``engine``."""

from collections.abc import Callable
from dataclasses import dataclass

from ferry_core.changes.flusher import FlushResult
from ferry_core.errors import FerryError
from ferry_core.moves.move import TableMove
from ferry_core.rows.copier import CopyResult


@dataclass(frozen=True)
class EngineEvents:
    """Callbacks for what the threads did. All are called from many threads."""

    chunk: Callable[[TableMove, CopyResult], None]
    keys: Callable[[TableMove, CopyResult], None]
    flush: Callable[[FlushResult], None]
    error: Callable[[FerryError], None]
    judge: Callable[[TableMove, CopyResult], None] = lambda _move, _result: None
    """Raises DataError for rows that must be refused.

    Called before a chunk counts as done, so that a resume checks again.
    """
    chunk_retried: Callable[[], None] = lambda: None
