"""The process before the operator starts: its log, and an invalid environment."""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import kopf
import pytest

from ferry_operator import __main__ as program
from tests.support.servers import free_port


def test_a_log_record_of_kopf_is_one_line_of_json() -> None:
    record = logging.LogRecord("kopf.objects", logging.ERROR, "", 0, "it failed", None, None)
    said = {"settings": kopf.OperatorSettings(), "k8s_skip": True, "k8s_ref": {"kind": "Ferry", "name": "orders"}}
    record.__dict__.update(said)
    line = json.loads(program.formatter().format(record))
    assert line.pop("time")
    assert line == {
        "level": "ERROR",
        "logger": "kopf.objects",
        "event": "kopf.objects",
        "message": "it failed",
        "k8s_ref": {"kind": "Ferry", "name": "orders"},
    }


def test_an_incomplete_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.argv", ["ferry-operator"])
    monkeypatch.delenv("FERRY_IMAGE", raising=False)
    monkeypatch.setenv("FERRY_OPERATOR_NAMESPACE", "ferry")
    assert program.main() == 64
    assert caplog.messages == ["the environment variable FERRY_IMAGE is missing: the chart sets it"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_operator_while_it_waits_for_its_needs(number: signal.Signals, tmp_path: Path) -> None:
    """As process 1 without a handler it would ignore the signal, and a rollout would wait for the grace period of
    30 s.
    """
    nobody, port = free_port(), free_port()
    config = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{nobody}"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "current-context": "c",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    said = {"OPERATOR_NAMESPACE": "ferry", "IMAGE": "i:1", "LISTEN": "127.0.0.1", "PORT": str(port)}
    environment = os.environ | {f"FERRY_{name}": value for name, value in said.items()}
    with subprocess.Popen(
        [sys.executable, "-m", "ferry_operator"],
        env=environment | {"KUBECONFIG": str(tmp_path / "kubeconfig")},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            assert any("waiting: 0 Unreachable" in line for line in process.stderr)
            process.send_signal(number)
            assert process.wait(120) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()
