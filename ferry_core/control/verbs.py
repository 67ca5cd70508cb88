"""What the ControlServer can ask of a run. ``run.ferry.Ferry`` implements it; tests have other implementations."""

from collections.abc import Sequence
from typing import Protocol

from ferry_core.api.control import Settings
from ferry_core.api.directive import Directive
from ferry_core.api.safety_override import SafetyOverride
from ferry_core.report.progress import Progress


class Verbs(Protocol):
    """Any thread may call these at any time. A FerryError refuses the call, with reason and message for the caller."""

    @property
    def progress(self) -> Progress:
        """The run's one snapshot."""

    @property
    def name(self) -> str:
        """Namespace and name of the Ferry."""

    @property
    def wanted(self) -> Directive:
        """Everything that is wanted now, verbs included."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def set_throttle(self, max_rows_per_second: int | None) -> None: ...

    def set_settings(self, settings: Settings) -> None: ...

    def cutover(self) -> None: ...

    def withdraw(self) -> None: ...

    def verify(self, tables: Sequence[str]) -> int:
        """Ask for a verification pass of these tables, or of all; gives the request's number."""

    def abort(self) -> None: ...

    def stop(self) -> None: ...

    def check(self, directive: Directive) -> None:
        """Refuse a directive that could only be applied in part."""

    def directive(self, directive: Directive) -> None: ...

    def override(self, override: SafetyOverride) -> None:
        """Apply what a refused directive pauses, withdraws or aborts."""
