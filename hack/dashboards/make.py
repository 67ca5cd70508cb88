"""Generates the Grafana dashboards in deploy/monitoring/dashboards: ``.venv/bin/python -m hack.dashboards.make``.

Grafana's own SDK produces the JSON, so that an error in it fails here and not in a user's Grafana. tests/monitoring
checks that the files are up to date.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    GridPos,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from hack.dashboards.panels import DETAIL_PANELS, FLEET_PANELS, Kind, Panel

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "monitoring" / "dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH, HEIGHT = 24, 7
FLEET, DETAIL = "mysql-ferry-fleet", "mysql-ferry-detail"
Builder = Any
"""The SDK's panel builders have no base class with their common methods."""

DRAWN: dict[Kind, Callable[[], Builder]] = {
    Kind.LINES: timeseries.Panel,
    Kind.NUMBER: stat.Panel,
    Kind.STATES: statetimeline.Panel,
    Kind.TABLE: table.Panel,
}


def built(uid: str, title: str, description: str, rows: dict[str, list[Panel]]) -> dashboard.Dashboard:
    """One dashboard with its panels from left to right and top to bottom."""
    board = (
        dashboard.Dashboard(title).uid(uid).description(description).tags(["mysql-ferry"]).refresh("30s")
        .time("now-3h", "now").timezone("browser").readonly()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )  # fmt: skip
    top, number = 0, 0
    for name, panels in rows.items():
        number += 1
        board.with_row(dashboard.Row(name).id(number).grid_pos(GridPos(h=1, w=WIDTH, x=0, y=top)))
        top, left = top + 1, 0
        for panel in panels:
            if left + panel.width > WIDTH:
                top, left = top + HEIGHT, 0
            number += 1
            board.with_panel(drawn(panel, GridPos(h=HEIGHT, w=panel.width, x=left, y=top)).id(number))
            left += panel.width
        top += HEIGHT
    return board


def drawn(panel: Panel, place: GridPos) -> Builder:
    made = DRAWN[panel.kind]().title(panel.title).description(panel.description).datasource(SOURCE).grid_pos(place)
    made = made.unit(panel.unit)
    for number, (expression, legend) in enumerate(panel.queries):
        query = prometheus.Dataquery().expr(expression).ref_id(chr(ord("A") + number)).datasource(SOURCE)
        if legend:
            query = query.legend_format(legend)
        if panel.kind is Kind.TABLE:
            query = query.instant().format(PromQueryFormat.TABLE)
        made = made.with_target(query)
    if panel.kind is Kind.TABLE:
        _one_row_a_ferry(made)
    colors = zip(("yellow", "red"), panel.limits or (), strict=False)
    steps = [Threshold(color="green", value=None), *(Threshold(color=color, value=at) for color, at in colors)]
    return made.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))


def _one_row_a_ferry(made: Builder) -> None:
    """The results of all queries side by side; each row links to the Ferry's details."""
    made.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    made.with_transformation(DataTransformerConfig(id_val="organize", options={"excludeByName": {"Time": True}}))
    variables = "var-namespace=${__data.fields.namespace}&var-ferry=${__data.fields.ferry}"
    made.data_links([dashboard.DashboardLink("Details").url(f"/d/{DETAIL}?{variables}")])


def linked(board: dashboard.Dashboard, title: str, uid: str) -> dashboard.Dashboard:
    return board.links([dashboard.DashboardLink(title).type(DashboardLinkType.LINK).url(f"/d/{uid}").keep_time(True)])


def fleet() -> dashboard.Dashboard:
    board = built(FLEET, "mysql-ferry: Fleet", "All Ferries of a cluster.", FLEET_PANELS)
    return linked(board, "Details", DETAIL)


def detail() -> dashboard.Dashboard:
    board = built(DETAIL, "mysql-ferry: Detail", "One Ferry.", DETAIL_PANELS)
    for name, label, query in (
        ("namespace", "Namespace", "label_values(ferry_info, namespace)"),
        ("ferry", "Ferry", 'label_values(ferry_info{namespace="$namespace"}, ferry)'),
    ):
        variable = dashboard.QueryVariable(name).label(label).datasource(SOURCE).query(query)
        board.with_variable(variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED))
    return linked(board, "Fleet", FLEET)


def files() -> dict[Path, str]:
    """The content of the files."""
    boards = {"fleet": fleet(), "detail": detail()}
    return {
        FOLDER / f"{name}.json": JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"
        for name, board in boards.items()
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in files().items():
        path.write_text(text)
