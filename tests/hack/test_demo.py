"""The commands that a newcomer types first work, leave nothing behind, and change nothing that belongs to others."""

import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hack.demo import mysql_image, place, run, traces
from hack.demo.place import Place
from hack.demo.traces import CRD, SHOP, SYSTEM, Traces
from hack.installing import Unavailable
from hack.kubernetes import cluster as clusters

ROOT = Path(__file__).parents[2]
MARKED = {"labels": {"app.kubernetes.io/created-by": "mysql-ferry-demo", "kubernetes.io/metadata.name": "any"}}
BY_HELM = {
    "annotations": {"meta.helm.sh/release-name": "ferry", "meta.helm.sh/release-namespace": "ferry-system"},
    "labels": {"app.kubernetes.io/managed-by": "Helm"},
}


def start(script: str, *arguments: str, **given: str) -> "subprocess.Popen[str]":
    """A target of the Makefile, on an existing cluster or on the demo's own."""
    others = {name: value for name, value in os.environ.items() if name not in ("KUBECONFIG", "IMAGE", "MYSQL_IMAGE")}
    line = [sys.executable, str(ROOT / "hack/demo" / script), *arguments]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=others | given)


def call(script: str, *arguments: str, **given: str) -> tuple[int, str]:
    """The same to its end: exit code and complete output."""
    with start(script, *arguments, **given) as process:
        said, _ = process.communicate()
    return process.returncode, said


# -- on a real cluster ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[int, str]]:
    """`make demo`, once it has ended; its cluster is still there."""
    name = f"demo-{os.getpid()}"
    try:
        yield call("run.py", "--cluster", name)
    finally:
        assert call("down.py", "--cluster", name) == (0, "the demo's cluster has ended\n")
        assert clusters.find(name) is None


@pytest.mark.slow
def test_the_demo_ends_with_both_servers_equal(demo: tuple[int, str]) -> None:
    code, said = demo
    assert code == 0, said
    assert "both sides are equal: 2 tables" in said
    assert "until the source refused to write" in said
    print("\n".join(said.splitlines()[-6:]))


@pytest.mark.slow
def test_every_command_is_printed_as_a_user_would_type_it(demo: tuple[int, str]) -> None:
    typed = [line.removeprefix("$ ") for line in demo[1].splitlines() if line.startswith("$ ")]
    patches = [shlex.split(line)[-1] for line in typed if line.startswith("kubectl patch ferry orders ")]
    assert [json.loads(patch)["spec"] for patch in patches] == [
        {"paused": True},
        {"paused": False, "throttle": {"maxRowsPerSecond": None}},
        {"cutover": {"approved": True}},
    ]
    wanted = (
        "export KUBECONFIG=/",
        "helm upgrade --install ferry deploy/helm/ferry --namespace=ferry-system ",
        "kubectl apply --filename build/demo/databases.yaml",
        "kubectl apply --filename hack/demo/ferry.yaml",
        "kubectl get ferry orders --namespace=shop --watch &",
        "kubectl wait ferry orders --namespace=shop --for=condition=Succeeded ",
    )
    for words in wanted:
        assert any(line.startswith(words) for line in typed), words


@pytest.mark.slow
def test_on_an_existing_cluster_only_the_demos_objects_are_changed(demo: tuple[int, str]) -> None:
    kubeconfig = re.findall(r"export KUBECONFIG=(\S+)", demo[1])[0]
    given = {"KUBECONFIG": kubeconfig, "IMAGE": place.IMAGE, "MYSQL_IMAGE": mysql_image.NAME}

    def kubectl(*words: str) -> str:
        line = [str(clusters.kubectl_path()), f"--kubeconfig={kubeconfig}", *words]
        return subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    with start("run.py", **given) as again:
        assert again.stdout is not None
        said = list(itertools.takewhile("pod/target created\n".__ne__, again.stdout))
        again.send_signal(signal.SIGINT)
    assert again.returncode == 130, "".join(said)
    assert {f"$ kubectl delete {SHOP} --timeout=180s\n", f"{SHOP} created\n"} < set(said)
    code, last = call("down.py", **given)
    assert (code, last.splitlines()[-1]) == (0, "what the demo made is gone"), last
    assert kubectl("get", SYSTEM, SHOP, CRD, "--ignore-not-found") == ""
    kubectl("create", "namespace", "shop")
    refusal = f"not on this cluster: {SHOP} is there already, and no `make demo` has made it; nothing was changed\n"
    assert call("run.py", **given) == (1, refusal)
    left = f"what the demo made is gone\n{SHOP} stays: no `make demo` has made it\n"
    assert call("down.py", **given) == (0, left)
    assert kubectl("get", SYSTEM, SHOP, CRD, "--ignore-not-found", "--output=name") == SHOP


# -- without one ----------------------------------------------------------------------------------------------------


def objects(**found: dict[str, Any]) -> list[dict[str, Any]]:
    """Objects as the API returns them."""
    names = {"system": ("Namespace", "ferry-system"), "shop": ("Namespace", "shop")}
    names["crd"] = ("CustomResourceDefinition", "ferries.mysqlferry.io")
    return [{"kind": names[key][0], "metadata": {"name": names[key][1]} | said} for key, said in found.items()]


@pytest.mark.parametrize(
    ("found", "ours", "foreign"),
    [
        pytest.param({}, set(), set(), id="an empty cluster"),
        pytest.param({"system": MARKED, "shop": MARKED, "crd": BY_HELM}, {SYSTEM, SHOP, CRD}, set(), id="after a demo"),
        pytest.param({"system": {}, "crd": BY_HELM}, set(), {SYSTEM, CRD}, id="somebody's operator, named alike"),
        pytest.param({"crd": BY_HELM}, set(), {CRD}, id="a CRD that somebody's uninstalled operator has kept"),
        pytest.param({"system": MARKED, "crd": {}}, {SYSTEM}, {CRD}, id="a CRD that kubectl has applied"),
        pytest.param({"shop": {"labels": {"app.kubernetes.io/created-by": "us"}}}, set(), {SHOP}, id="somebody's shop"),
    ],
)
def test_the_demos_objects_are_distinguished_from_others(
    found: dict[str, dict[str, Any]], ours: set[str], foreign: set[str]
) -> None:
    assert Traces.among(objects(**found)) == Traces(frozenset(ours), frozenset(foreign))


@dataclass(frozen=True)
class RecordingPlace(Place):
    """A described cluster that records what is done to it."""

    told: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def run(self, *line: str, **_: float) -> None:
        self.done.append(shlex.join(line))

    def read(self, *line: str) -> str:
        return self.told[line[2]]


def test_an_operator_that_serves_other_ferries_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    marked = json.dumps({"items": objects(system=MARKED, crd=BY_HELM)})
    at = RecordingPlace({}, "", "", {SYSTEM: marked, "ferries": "billing/invoices "})
    traces.clear(at)
    assert at.done == []
    assert capsys.readouterr().out == f"{CRD} and {SYSTEM} stay, with the operator: it serves billing/invoices\n"


@pytest.mark.parametrize(
    ("image", "values"),
    [
        ("mysql-ferry", "repository=mysql-ferry tag=latest"),
        ("localhost/mysql-ferry:dev", "repository=localhost/mysql-ferry tag=dev"),
        ("registry.example:5000/team/ferry", "repository=registry.example:5000/team/ferry tag=latest"),
        ("registry.example:5000/ferry:1.2", "repository=registry.example:5000/ferry tag=1.2"),
        ("ghcr.example/ferry:1@sha256:0a", "repository=ghcr.example/ferry tag=1 digest=sha256:0a"),
    ],
)
def test_the_chart_receives_any_image(image: str, values: str) -> None:
    assert [each.removeprefix("--set=image.") for each in run.image_values(image)] == values.split()


def test_a_failed_command_is_reported_in_one_line() -> None:
    with pytest.raises(Unavailable, match=r"ended with 3: why$"):
        Place(dict(os.environ), "", "").read("sh", "-c", "echo a try >&2; echo why >&2; exit 3")


@pytest.mark.parametrize(("variable", "value"), [("KUBECONFIG", "/some/where"), ("IMAGE", "ferry:1")])
def test_a_cluster_without_an_image_and_an_image_without_a_cluster_are_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    for name in ("KUBECONFIG", "IMAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(Unavailable, match="KUBECONFIG and IMAGE go together"):
        place.given()


def test_an_exported_kubeconfig_of_the_demo_is_not_an_existing_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMAGE", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(clusters.clusters_folder() / "demo" / "keys" / "admin.kubeconfig"))
    assert place.given() is None
