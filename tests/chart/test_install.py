"""Installs, upgrades and uninstalls the chart on a kube-apiserver with the real helm, and checks who owns the CRD."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hack.chart import CHART, binary
from tests.ferry_operator.conftest import Cluster
from tests.support.kube_api import CRD, KubeApi
from tests.support.operator_thread import OperatorThread
from tests.support.waits import wait_until

pytestmark = pytest.mark.slow

Object = dict[str, Any]
NAME = "ferries.mysqlferry.io"
HOME = "ferry-system"
TAKE = "--take-ownership"


class Installer:
    """A person with helm and kubectl, in front of a cluster that has never seen a Ferry."""

    def __init__(self, api: KubeApi) -> None:
        self.api = api

    def helm(self, *arguments: str | Path) -> str:
        done = self._run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments: str | Path) -> str:
        done = self._run(*arguments)
        assert done.returncode != 0, "it was not refused"
        return done.stderr

    def _run(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        line = [binary(), f"--kubeconfig={self.api.kubeconfig}", f"--namespace={HOME}", *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)

    def get(self, kind: str, *where: str) -> list[Object]:
        listed = json.loads(self.api.kubectl("get", kind, *where, "--output=json").stdout)
        items: list[Object] = listed["items"]
        return items

    def crd(self) -> Object | None:
        return next((each for each in self.get("crd") if each["metadata"]["name"] == NAME), None)

    def environment(self) -> dict[str, str]:
        """Of the operator, as far as values set it."""
        (deployment,) = self.get("deployment", f"--namespace={HOME}")
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        return {each["name"]: each.get("value", "") for each in container["env"]}


@pytest.fixture(scope="module")
def empty_api() -> Iterator[KubeApi]:
    api = KubeApi()
    try:
        api.start()
        api.kubectl("create", "namespace", HOME)
        yield api
    finally:
        api.stop()


@pytest.fixture
def installer(empty_api: KubeApi) -> Iterator[Installer]:
    installer = Installer(empty_api)
    yield installer
    for release in json.loads(installer.helm("list", "--output=json")):
        installer.helm("uninstall", release["name"])
    empty_api.kubectl("delete", "crd", NAME, "--ignore-not-found")
    wait_until(lambda: installer.crd() is None)


@pytest.fixture
def newer_chart(tmp_path: Path) -> Path:
    """The chart of a later version, with a different CRD."""
    chart = tmp_path / "ferry"
    shutil.copytree(CHART, chart)
    path = chart / "files" / "crds" / "ferries.yaml"
    path.write_text(path.read_text().replace("One move of selected tables", "Some move of selected tables"))
    return chart


def description(crd: Object | None) -> str:
    assert crd is not None
    return str(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"])


def apply_ferry(installer: Installer) -> Cluster:
    cluster = Cluster(installer.api, "default")
    wait_until(lambda: installer.api.kubectl("get", "ferries", check=False).returncode == 0)
    cluster.apply("orders")
    return cluster


def test_install_upgrade_and_uninstall_keep_the_ferries(installer: Installer, newer_chart: Path) -> None:
    said = installer.helm("install", "ferry", CHART)
    assert "kubectl get ferries -w" in said
    assert f"belongs to this release, {HOME}/ferry" in said
    cluster = apply_ferry(installer)

    installer.helm("upgrade", "ferry", newer_chart, "--set=maxRunning=5")
    assert installer.environment()["FERRY_MAX_RUNNING"] == "5"
    assert description(installer.crd()).startswith("Some move"), "an upgrade brings the newer CRD"

    assert NAME in installer.helm("uninstall", "ferry"), "helm says what it has kept"
    assert installer.get("deployment", f"--namespace={HOME}") == []
    assert not [each for each in installer.get("clusterrole") if "ferry" in each["metadata"]["name"]]
    assert cluster.ferry("orders") is not None

    installer.helm("install", "ferry", CHART)
    assert cluster.ferry("orders") is not None
    assert description(installer.crd()).startswith("One move")


def test_a_kept_crd_belongs_to_the_release_that_created_it(installer: Installer) -> None:
    installer.helm("install", "ferry", CHART)
    installer.helm("uninstall", "ferry")
    assert 'must equal "other": current value is "ferry"' in installer.refused("install", "other", CHART)
    installer.helm("install", "other", CHART, TAKE)


def test_a_second_release_leaves_the_crd_to_the_first(installer: Installer) -> None:
    installer.helm("install", "ferry", CHART, "--set=watchNamespaces={default}")
    installer.helm("install", "other", CHART, "--set=watchNamespaces={kube-public}", "--set=crds.enabled=false")
    installer.helm("uninstall", "other")
    assert installer.crd() is not None


@pytest.mark.parametrize("how", ["--server-side", "--server-side=false"])
def test_a_crd_that_kubectl_has_applied_is_refused_until_ownership_is_taken(
    installer: Installer, newer_chart: Path, how: str
) -> None:
    installer.api.kubectl("apply", how, "-f", str(CRD))
    cluster = apply_ferry(installer)
    refused = installer.refused("install", "ferry", CHART)
    assert f'CustomResourceDefinition "{NAME}"' in refused
    assert "invalid ownership metadata" in refused
    installer.helm("install", "ferry", CHART, TAKE)
    # The fields are still kubectl's, too.
    assert "conflict" in installer.refused("upgrade", "ferry", newer_chart)
    installer.helm("upgrade", "ferry", newer_chart, "--force-conflicts")
    assert description(installer.crd()).startswith("Some move")
    assert cluster.ferry("orders") is not None


def test_a_crd_that_somebody_else_installs_is_left_alone(installer: Installer) -> None:
    installer.api.kubectl("apply", "--server-side", "-f", str(CRD))
    installer.helm("install", "ferry", CHART, "--set=crds.enabled=false")
    installer.helm("uninstall", "ferry")
    assert installer.crd() is not None


def test_a_crd_that_is_not_kept_is_deleted_with_all_ferries(installer: Installer) -> None:
    said = installer.helm("install", "ferry", CHART, "--set=crds.keep=false")
    assert "DELETES ALL FERRIES" in said
    apply_ferry(installer)
    installer.helm("uninstall", "ferry")
    wait_until(lambda: installer.crd() is None)


def test_an_operator_started_before_its_crd_serves_once_it_is_installed(
    installer: Installer, caplog: pytest.LogCaptureFixture
) -> None:
    with OperatorThread(installer.api.kubeconfig, "default"):
        line = f"waiting: the CustomResourceDefinition {NAME} is not installed yet"
        wait_until(lambda: any(each.getMessage() == line for each in caplog.records))
        installer.helm("install", "ferry", CHART)
        cluster = apply_ferry(installer)
        wait_until(lambda: cluster.pod("orders-copier"))
        installer.api.kubectl("delete", "pod", "orders-copier", "--now")
        cluster.merge("orders", {"metadata": {"annotations": {"mysqlferry.io/skip-cleanup": "true"}}})
        cluster.delete("orders")
        wait_until(lambda: cluster.ferry("orders") is None)
