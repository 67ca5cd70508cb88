"""Stores directives on disk: a restarted copier continues as it was last told, except for permissions.

A paused copier that died must not move rows when it comes back, even while the operator is down. The permission to cut
over is never stored and must be given again. Used by ``cli.copier``.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from ferry_core.api.control import Settings
from ferry_core.api.directive import TOLD, Directive
from ferry_core.api.safety_override import SafetyOverride
from ferry_core.api.spec import Ferry
from ferry_core.control.verbs import Verbs
from ferry_core.report.progress import Progress

log = logging.getLogger(__name__)


class DirectiveStore:
    """One file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, directive: Directive) -> None:
        """Write the file atomically."""
        partial = self._path.with_suffix(".partial")
        partial.write_text(directive.model_dump_json(by_alias=True, exclude_none=True), "utf-8")
        partial.replace(self._path)

    def read(self) -> Directive | None:
        try:
            return Directive.model_validate_json(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, ValidationError) as error:
            log.warning("%s cannot be read, using the manifest: %s", self._path, error)
            return None

    def applied_to(self, ferry: Ferry) -> Ferry:
        """The Ferry with the stored directive applied and without any permission."""
        spec, last = ferry.spec, self.read()
        if last is not None:
            spec = spec.model_copy(update={name: getattr(last, name) for name in TOLD})
        return ferry.model_copy(update={"spec": spec.model_copy(update={"cutover": spec.cutover.held()})})


class StoringVerbs:
    """``Verbs`` that store each directive before it takes effect. ``initial`` is what the run began with."""

    def __init__(self, verbs: Verbs, kept: DirectiveStore, initial: Directive) -> None:
        self._verbs = verbs
        self._kept = kept
        self._current = initial
        self._newest = 0

    @property
    def progress(self) -> Progress:
        return self._verbs.progress

    @property
    def name(self) -> str:
        return self._verbs.name

    @property
    def wanted(self) -> Directive:
        return self._verbs.wanted

    def pause(self) -> None:
        self._verbs.pause()

    def resume(self) -> None:
        self._verbs.resume()

    def set_throttle(self, max_rows_per_second: int | None) -> None:
        self._verbs.set_throttle(max_rows_per_second)

    def set_settings(self, settings: Settings) -> None:
        self._verbs.set_settings(settings)

    def withdraw(self) -> None:
        self._verbs.withdraw()

    def cutover(self) -> None:
        self._verbs.cutover()

    def verify(self, tables: Sequence[str]) -> int:
        return self._verbs.verify(tables)

    def abort(self) -> None:
        self._verbs.abort()

    def stop(self) -> None:
        self._verbs.stop()

    def check(self, directive: Directive) -> None:
        self._verbs.check(directive)

    def directive(self, directive: Directive) -> None:
        """The run would ignore a directive older than the current one, so it must not be stored either."""
        self._keep(directive, directive.generation)
        self._verbs.directive(directive)

    def override(self, override: SafetyOverride) -> None:
        """Applied even if it cannot be stored."""
        try:
            self._keep(override.applied_to(self._current), override.generation)
        except OSError as error:
            log.warning("%s; a restarted copier will not know it", error)
        self._verbs.override(override)

    def _keep(self, directive: Directive, generation: int) -> None:
        acknowledged = self._verbs.progress.report().copier.acknowledged_generation or 0
        if generation >= max(acknowledged, self._newest):
            self._kept.write(directive)
            self._current, self._newest = directive, generation
