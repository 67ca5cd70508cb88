"""The operator's metrics: its own counters, and a Collector over the present Ferries.

A Ferry's series are made at each scrape, so those of a deleted Ferry vanish. Called by ``app``, ``reconciler`` and
``health``.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from ferry_core.api.report import Phase, Stage
from ferry_operator.names import Object

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from ferry_operator.kube import ApiRequest

PHASES = tuple(phase.value for phase in (*Stage, *Phase))
_STATES = ("True", "False", "Unknown")
_FERRY = ("namespace", "ferry")


class Metrics:
    """Counters of one operator, in a registry of its own."""

    def __init__(self, ferries: Callable[[], Iterable[Object]]) -> None:
        self.registry = CollectorRegistry()
        self._rounds = Counter(
            "ferry_operator_reconcile", "Rounds of observe, decide, act.", ["result"], registry=self.registry
        )
        self._errors = Counter(
            "ferry_operator_reconcile_errors", "Rounds that failed, by reason.", ["reason"], registry=self.registry
        )
        self._seconds = Histogram(
            "ferry_operator_reconcile_duration_seconds", "How long a round took.", registry=self.registry
        )
        self._requests = Counter(
            "ferry_operator_kube_requests",
            "Requests to kube-apiserver, kopf's too; a watch counts once, when it begins; code 0: no answer.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self.lag = Gauge("ferry_operator_event_loop_lag_seconds", "How late the event loop is.", registry=self.registry)
        for result in ("ok", "error"):
            self._rounds.labels(result)
        build = InfoMetricFamily("ferry_operator_build", "Version.", {"version": version("mysql-ferry")})
        self.registry.register(_Fixed(build))
        self._ferries = ferries

    def reconciled(self, seconds: float) -> None:
        self._rounds.labels("ok").inc()
        self._seconds.observe(seconds)

    def failed(self, reason: str) -> None:
        self._rounds.labels("error").inc()
        self._errors.labels(reason).inc()

    def count_request(self, request: "ApiRequest") -> None:
        self._requests.labels(request.verb, request.resource, str(request.code)).inc()

    def snapshot(self) -> Callable[[], bytes]:
        """Called in the event loop; the function that it returns makes the text, in any thread."""
        theirs = CollectorRegistry()
        theirs.register(FerryCollector([*self._ferries()]))
        return lambda: generate_latest(self.registry) + generate_latest(theirs)


class _Fixed(Collector):
    def __init__(self, metric: "Metric") -> None:
        self._metric = metric

    def collect(self) -> Iterator["Metric"]:
        yield self._metric


class FerryCollector(Collector):
    """The series of every Ferry."""

    def __init__(self, ferries: Iterable[Object]) -> None:
        self._ferries = ferries

    def collect(self) -> Iterator["Metric"]:
        info = InfoMetricFamily("ferry", "Source and target.", labels=_FERRY)
        phase = GaugeMetricFamily(
            "ferry_status_phase", "1 for the present phase, 0 for the others.", labels=(*_FERRY, "phase")
        )
        condition = GaugeMetricFamily(
            "ferry_status_condition", "1 for the present status, 0 for the others.", labels=(*_FERRY, "type", "status")
        )
        single = {
            "ferry_spec_paused": GaugeMetricFamily("ferry_spec_paused", "spec.paused.", labels=_FERRY),
            "ferry_created_timestamp_seconds": GaugeMetricFamily(
                "ferry_created_timestamp_seconds", "When it was created.", labels=_FERRY
            ),
            "ferry_completed_timestamp_seconds": GaugeMetricFamily(
                "ferry_completed_timestamp_seconds", "When it was completed or aborted.", labels=_FERRY
            ),
            "ferry_metadata_generation": GaugeMetricFamily(
                "ferry_metadata_generation", "Changes of its spec.", labels=_FERRY
            ),
            "ferry_status_observed_generation": GaugeMetricFamily(
                "ferry_status_observed_generation", "The newest one that status is about.", labels=_FERRY
            ),
        }
        restarts = CounterMetricFamily("ferry_copier_restarts", "Restarts of its copier's container.", labels=_FERRY)
        began = time.perf_counter()
        for ferry in self._ferries:
            if not ferry:  # being deleted, and not observed yet
                continue
            spec, status = ferry["spec"], ferry.get("status") or {}
            key = (ferry["metadata"]["namespace"], ferry["metadata"]["name"])
            info.add_metric(key, {"source": spec["source"]["host"], "target": spec["target"]["host"]})
            for each in PHASES:
                phase.add_metric((*key, each), float(status.get("phase", "Pending") == each))
            for each in status.get("conditions", ()):
                for state in _STATES:
                    condition.add_metric((*key, each["type"], state), float(each["status"] == state))
            for name, value in _numbers(ferry["metadata"], spec, status):
                single[name].add_metric(key, value)
            restarts.add_metric(key, float(status.get("copier", {}).get("restarts", 0)))
        yield from (info, phase, condition, *single.values(), restarts)
        yield GaugeMetricFamily(
            "ferry_operator_collect_seconds", "How long this took.", value=time.perf_counter() - began
        )


def _numbers(meta: Object, spec: Object, status: Object) -> Iterator[tuple[str, float]]:
    yield "ferry_spec_paused", float(spec.get("paused", False))
    yield "ferry_created_timestamp_seconds", datetime.fromisoformat(meta["creationTimestamp"]).timestamp()
    ended = status.get("completionTime")
    if ended is not None:
        yield "ferry_completed_timestamp_seconds", datetime.fromisoformat(ended).timestamp()
    yield "ferry_metadata_generation", meta["generation"]
    yield "ferry_status_observed_generation", status.get("observedGeneration", 0)
