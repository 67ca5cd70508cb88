"""What a scrape of the operator would show. Used by the tests of its metrics and of its rounds."""

from prometheus_client.parser import text_string_to_metric_families

from ferry_operator.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(metrics.snapshot()().decode())
    return {(s.name, tuple(sorted(s.labels.values()))): s.value for family in families for s in family.samples}
