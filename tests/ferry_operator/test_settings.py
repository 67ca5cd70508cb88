"""Settings, the folder's name, and what kopf is given to log in with."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kubernetes.aio import client

from ferry_operator.kube import access_of
from ferry_operator.settings import Settings, SettingsError

ROOT = Path(__file__).parents[2]


def test_settings() -> None:
    given = {"FERRY_OPERATOR_NAMESPACE": "ferry", "FERRY_IMAGE": "i:1", "FERRY_WATCH_NAMESPACES": "a, b"}
    settings = Settings.of(given | {"FERRY_MAX_RUNNING": "3"})
    assert settings.watch_namespaces == ("a", "b")
    assert settings.max_running == 3
    with pytest.raises(SettingsError, match="FERRY_IMAGE"):
        Settings.of({"FERRY_OPERATOR_NAMESPACE": "ferry"})
    for name, value, told in (
        ("COPIER_TEMPLATE", '{"podSecurity": 1}', "FERRY_COPIER_TEMPLATE: podSecurity: "),
        ("COPIER_TEMPLATE", "{", "FERRY_COPIER_TEMPLATE: it: "),
        ("LOG_LEVEL", "loud", "FERRY_LOG_LEVEL=loud: must be one of debug, info"),
    ):
        with pytest.raises(SettingsError, match=told):
            Settings.of(given | {f"FERRY_{name}": value})
    with pytest.raises(SettingsError, match="FERRY_MAX_RUNNING=-1"):
        Settings.of(given | {"FERRY_MAX_RUNNING": "-1"})


def test_the_folder_does_not_hide_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    line = "import collections, operator, json; print(json.dumps(operator.itemgetter(0)([7])))"
    done = subprocess.run([sys.executable, "-S", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == 7


@pytest.mark.parametrize("prefix", ["Bearer", "bearer"])
def test_kopf_gets_the_bare_token_from_a_kubeconfig_and_in_a_pod(prefix: str) -> None:
    found = client.Configuration(host="https://api.example")
    found.api_key["BearerToken"] = f"{prefix} secret"
    assert access_of(found).token == "secret"
