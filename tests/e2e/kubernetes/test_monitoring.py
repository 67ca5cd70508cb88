"""Every panel of the dashboards shows data, and the alerts see a real run, scraped as the chart's PodMonitors say."""

import json
import time
from pathlib import Path

from hack.chart import ROOT, render
from hack.dashboards.draw import picture
from hack.dashboards.panels import DETAIL_PANELS, FLEET_PANELS
from tests.e2e.kubernetes.conftest import MakeFerry
from tests.support.cluster_ferry import FERRY
from tests.support.prometheus import prometheus
from tests.support.whole_cluster import OPERATOR_NAMESPACE

LIMITS = {"maxThreadsRunning": {"source": 1000, "target": 1000}, "maxCommitLatency": "1m", "maxReplicaLag": "1h"}
"""Never reached, but their values are shown."""


def test_every_panel_shows_a_real_run(make_ferry: MakeFerry, tmp_path: Path) -> None:
    ferry = make_ferry(rows=20_000, replicas=1)
    monitors = [each for each in render("--set=metrics.podMonitor.enabled=true") if each["kind"] == "PodMonitor"]
    for monitor in monitors:
        monitor["metadata"]["namespace"] = OPERATOR_NAMESPACE
    panels = {
        (row, panel.title, expression): expression.replace("$namespace", ferry.namespace).replace("$ferry", FERRY)
        for rows in (FLEET_PANELS, DETAIL_PANELS)
        for row, shown in rows.items()
        for panel in shown
        for expression, _ in panel.queries
    }
    began = time.time()
    with prometheus(monitors, tmp_path) as server, ferry.writers():
        ferry.create(throttle=LIMITS | {"maxRowsPerSecond": 2000}, cutover={"watchFor": "10m"})
        seen: set[tuple[str, str, str]] = set()

        def look() -> bool:
            pods = ferry.cluster.kubectl("get", "pods", "--all-namespaces", "-o", "json").stdout
            server.discover(json.loads(pods)["items"])
            seen.update(place for place, expression in panels.items() if place not in seen and server.query(expression))
            return seen == panels.keys()

        def errors() -> bool:
            """It goes on after each. Again until one is scraped: its process may end before that."""
            if not server.query(f'ferry_mysql_errors_total{{namespace="{ferry.namespace}"}}'):
                ferry.end_a_write()
            look()
            return any(title == "Errors" for _, title, _ in seen)

        ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
        ferry.wait_until(errors, "errors of the target")
        ferry.wait_until(lambda: look() or ferry.current_status.get("stage") == "ReadyForCutover", "copied", 600)
        assert server.query(f'ALERTS{{namespace="{ferry.namespace}", alertstate="firing"}}') == []
        ferry.cut_over()
        ferry.wait_until(look, lambda: f"data in {sorted(panels.keys() - seen)}")
        copiers = server.query(f'ferry_copy_progress_ratio{{namespace="{ferry.namespace}", ferry="{FERRY}"}}')
        assert len(copiers) == 1

        def history(expression: str) -> list[dict[str, object]]:
            own = expression.replace("$namespace", ferry.namespace).replace("$ferry", FERRY)
            return server.history(own, time.time() - began)

        ferry.wait_until(lambda: all(map(history, panels.values())), "a scrape after the cutover")
        drawn = ROOT / "build" / "dashboards"
        drawn.mkdir(parents=True, exist_ok=True)
        for name, rows in (("fleet", FLEET_PANELS), ("detail", DETAIL_PANELS)):
            shown = picture(f"mysql-ferry / {name.capitalize()}", rows, history)
            (drawn / f"{name}.svg").write_text(shown.replace(ferry.namespace, "shop"))
