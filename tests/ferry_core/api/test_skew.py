"""An operator and a copier of different versions: an upgrade restarts the operator and keeps the copier running."""

import json

import pytest
from pydantic import ValidationError

from ferry_core.api.directive import Directive
from ferry_core.api.report import Report


def test_an_older_operator_reads_the_report_of_a_newer_copier() -> None:
    said = {
        "revision": 7,
        "stage": "Copying",
        "phase": "Copying",
        "mood": "good",
        "progress": {"tablesTotal": 3, "sheep": 5},
        "conditions": [
            {
                "type": "Dreaming",
                "status": "True",
                "reason": "Sheep",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
                "depth": 2,
            }
        ],
    }
    report = Report.model_validate_json(json.dumps(said))
    assert report.progress.tables_total == 3
    assert report.conditions[0].type == "Dreaming"
    assert "mood" not in report.model_dump()


def test_a_directive_without_defaults_is_accepted_by_an_older_copier() -> None:
    assert json.loads(Directive(generation=3).as_json()) == {"generation": 3}
    asked = {"generation": 4, "paused": True, "throttle": {"maxRowsPerSecond": 5}}
    directive = Directive.model_validate_json(json.dumps(asked))
    assert json.loads(directive.as_json()) == asked
    assert Directive.model_validate_json(directive.as_json()) == directive


def test_a_directive_with_an_unknown_field_is_refused() -> None:
    """The user put it into the spec and expects it to take effect."""
    with pytest.raises(ValidationError, match="mood"):
        Directive.model_validate_json('{"generation": 1, "mood": "good"}')
