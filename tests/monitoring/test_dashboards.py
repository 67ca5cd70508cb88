"""The dashboards equal the output of hack/dashboards, are complete, and read only documented metrics."""

import json
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.chart import ROOT
from hack.dashboards.make import files
from hack.dashboards.panels import DETAIL_PANELS, FLEET_PANELS, Panel
from tests.support.prometheus import program

PANELS = [panel for rows in (FLEET_PANELS, DETAIL_PANELS) for panels in rows.values() for panel in panels]
QUERIES = [expression for panel in PANELS for expression, _ in panel.queries]


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_the_file_is_up_to_date(path: Path) -> None:
    assert path.read_text() == files()[path], "run .venv/bin/python -m hack.dashboards.make"


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_panels_have_ids_and_places_of_their_own(path: Path) -> None:
    board: dict[str, Any] = json.loads(path.read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert sorted(set(ids)) == sorted(ids)
    places = [panel["gridPos"] for panel in board["panels"]]
    for one, other in pairwise(sorted(places, key=lambda place: (place["y"], place["x"]))):
        assert other["y"] >= one["y"] + one["h"] or other["x"] >= one["x"] + one["w"]
    assert all(place["x"] + place["w"] <= 24 for place in places)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_each_panel_says_what_it_shows(panel: Panel) -> None:
    assert panel.description.endswith(".")


def test_every_query_is_valid(tmp_path: Path) -> None:
    """promtool checks expressions as recording rules."""
    rules = [{"record": f"query{number}", "expr": expression} for number, expression in enumerate(QUERIES)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    ended = subprocess.run([program("promtool"), "check", "rules", file], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{len(QUERIES)} rules found" in ended.stdout


def test_every_metric_is_documented() -> None:
    documented = set(re.findall(r"^\| `(ferry_\w+)", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    read = {re.sub(r"_bucket$", "", name) for query in QUERIES for name in re.findall(r"\bferry_\w+", query)}
    assert read <= documented, read - documented
