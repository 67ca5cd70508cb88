"""``ferry abort -f`` and ``ferry cleanup -f``, which need no running copier. Called by ``verbs``."""

from collections.abc import Sequence
from pathlib import Path

from ferry_core.api.report import Outcome
from ferry_core.cli.inputs import state_path
from ferry_core.manifest import LoadedFerry, load
from ferry_core.run.options import RunOptions


def abort(files: Sequence[Path], secrets_dir: Path | None, state: Path | None) -> Outcome:
    """Abort; returns what was done."""
    from ferry_core.admin import offline

    return offline.abort(*_loaded(files, secrets_dir, state))


def cleanup(files: Sequence[Path], secrets_dir: Path | None, state: Path | None) -> Outcome:
    """Clean up; returns what was done."""
    from ferry_core.admin import offline

    return offline.cleanup(*_loaded(files, secrets_dir, state))


def _loaded(files: Sequence[Path], secrets_dir: Path | None, state: Path | None) -> tuple[LoadedFerry, RunOptions]:
    loaded = load(files, secrets_dir, to_run=False)
    return loaded, RunOptions(state_path=state_path(loaded.ferry, state))
