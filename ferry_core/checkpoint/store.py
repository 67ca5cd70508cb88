"""The interface of a checkpoint store, and the checks that every store must make.

Used in the coordinator's thread only.
"""

from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError

from ferry_core.checkpoint.formats import converted
from ferry_core.checkpoint.state import FORMAT, RunState
from ferry_core.errors import ConfigError
from ferry_core.reasons import Reason

_ANY = TypeAdapter(dict[str, Any])


class CheckpointStore(Protocol):
    """Writes carry the run's epoch.

    After the first write of a newer run, writes of an older run are refused (Fenced).
    """

    def load(self) -> RunState | None:
        """The stored state, or None."""

    def save(self, state: RunState, epoch: int) -> None:
        """Store durably. Raises Fenced, or a RetriableError of the store."""

    def describe(self) -> str:
        """Where the state is, for messages."""

    def close(self) -> None:
        """Close files and connections."""


def parse(body: str, form: int, where: str) -> RunState:
    """Parse the state in ``body``. A newer format or a damaged body raises one clear ConfigError."""
    if form > FORMAT:
        raise ConfigError(
            Reason.STATE_TOO_NEW,
            f"{where} has checkpoint format {form}, this version knows up to {FORMAT}; use the version that wrote it",
        )
    try:
        return RunState.model_validate(converted(_ANY.validate_json(body), form, where))
    except ValidationError as error:
        raise ConfigError(
            Reason.STATE_CORRUPT,
            f"{where} is damaged ({error.error_count()} faults, first: {error.errors()[0]['msg']}); restore it from a "
            "backup, or remove it and start with --restart: rows already copied by this Ferry are then deleted and "
            "copied again",
        ) from error
