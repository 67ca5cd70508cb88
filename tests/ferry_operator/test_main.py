"""What the process does before it is an operator: its log, and the environment that it cannot use."""

import json
import logging

import kopf
import pytest

from ferry_operator import __main__ as program


def test_what_kopf_says_of_a_ferry_is_one_line_of_json() -> None:
    record = logging.LogRecord("kopf.objects", logging.ERROR, "", 0, "it failed", None, None)
    said = {"settings": kopf.OperatorSettings(), "k8s_skip": True, "k8s_ref": {"kind": "Ferry", "name": "orders"}}
    record.__dict__.update(said)
    line = json.loads(program.formatter().format(record))
    assert line.pop("asctime")
    assert line == {
        "levelname": "ERROR",
        "name": "kopf.objects",
        "message": "it failed",
        "k8s_ref": {"kind": "Ferry", "name": "orders"},
    }


def test_an_environment_that_the_chart_did_not_set(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("FERRY_IMAGE", raising=False)
    monkeypatch.setenv("FERRY_OPERATOR_NAMESPACE", "ferry")
    assert program.main() == 64
    assert caplog.messages == ["the environment variable FERRY_IMAGE is missing: the chart sets it"]
