"""Gathers what the gates of a cutover ask for. Called by ``coordinator``; ``decisions`` judges it."""

import time

from ferry_core.cutover.gates import MissingGate
from ferry_core.cutover.window import outside_window
from ferry_core.intent.desired_state import DesiredState
from ferry_core.report.status_reporter import StatusReporter
from ferry_core.run import decisions
from ferry_core.run.started import Started


def missing_gates(run: Started, reporter: StatusReporter, wanted: DesiredState, *, paused: bool) -> list[MissingGate]:
    """The gates that a cutover attempt would not pass now."""
    lag, cutover = reporter.lag(), wanted.directive.cutover
    run.caught_up.max_lag = cutover.max_lag
    facts = decisions.Facts(
        lag=lag,
        caught_up=run.caught_up.look(lag),
        lag_message=reporter.lag_unknown_because or run.caught_up.missing(lag),
        lag_too_new=run.caught_up.too_new,
        copied=run.operations.all_copied,
        proven=run.operations.proven,
        paused=paused,
        too_slow=run.operations.too_slow(float(cutover.deadline)),
        outside_window=outside_window(cutover, time.time()),
    )
    return decisions.missing_gates(facts)
