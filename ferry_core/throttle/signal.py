"""What every signal has in common, and the signals that compare a probe's answer with a limit of the spec.

``replica_lag``, ``threads_running``, ``commit_latency`` and ``query`` say what to ask and how to write it; ``Throttle``
evaluates all signals. A verdict's reason is ``<signal> <observed> <op> <threshold>``, for people only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ferry_core.api.spec import Throttle as Settings
from ferry_core.throttle.hysteresis import Hysteresis
from ferry_core.throttle.probe import Probe, Reading


class Verdict(NamedTuple):
    """``reason`` is empty while the first answer is awaited: nothing moves, but that is not worth a report."""

    holds: bool
    reason: str


FREE = Verdict(False, "")


class Signal(Protocol):
    """Several signals may have the same name, for example one for each replica."""

    @property
    def name(self) -> str: ...

    def apply(self, settings: Settings) -> None:
        """Use these settings from now on."""

    def verdict(self, now: float) -> Verdict: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Kind:
    """A signal's name, where its limit stands in the spec, and how a value is written."""

    name: str
    limit: Callable[[Settings], float | None]
    written: Callable[[float], str]
    question: Callable[[Settings], str] = lambda _settings: ""
    """What the probe is asked for, if the spec says that."""


class Limited:
    """A ``Signal``: one probe against one limit. Used in the coordinator's thread; ``reading`` in any."""

    def __init__(self, kind: Kind, probe: Probe, where: str = "") -> None:
        """``where`` names the server in the reason, if there may be several."""
        self._kind = kind
        self._probe = probe
        self.where = where
        self._hysteresis: Hysteresis | None = None

    @property
    def name(self) -> str:
        return self._kind.name

    def apply(self, settings: Settings) -> None:
        limit = self._kind.limit(settings)
        self._probe.want(None if limit is None else self._kind.question(settings))
        if limit is None:
            self._hysteresis = None
        elif self._hysteresis is None:
            self._hysteresis = Hysteresis(limit)
        else:
            self._hysteresis.limit = limit

    def verdict(self, now: float) -> Verdict:
        hysteresis = self._hysteresis
        if hysteresis is None:
            return FREE
        reading = self._probe.reading()
        if reading.value is None and not reading.why:
            return Verdict(True, "")
        return Verdict(True, self._reason(reading)) if hysteresis.observe(reading.value, now) else FREE

    def value(self) -> float | None:
        """The last answer, for metrics; None: unknown, or not asked for."""
        return self._probe.reading().value if self._hysteresis is not None else None

    def load(self) -> float | None:
        """The last answer as a share of the limit; an unknown one is all of it. None: no limit."""
        if self._hysteresis is None:
            return None
        reading = self._probe.reading()
        return 1.0 if reading.value is None else reading.value / self._hysteresis.limit

    def _reason(self, reading: Reading) -> str:
        assert self._hysteresis is not None
        limit, written = self._hysteresis.limit, self._kind.written
        at = f" ({self.where})" if self.where else ""
        if reading.value is None:
            details = f"{self.where}: {reading.why}" if self.where else reading.why
            return f"{self.name} unknown > {written(limit)} ({details})"
        if reading.value > limit:
            return f"{self.name} {written(reading.value)} > {written(limit)}{at}"
        return f"{self.name} {written(reading.value)} <= {written(limit)}{at}, until it stays there"

    def close(self) -> None:
        self._probe.close()
