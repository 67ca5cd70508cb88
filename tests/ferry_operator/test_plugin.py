"""``kubectl ferry`` against a real kube-apiserver, an operator and simulated copiers."""

import subprocess

import pytest

from ferry_core.api.report import CutoverReport, Progress, Stage
from ferry_core.reasons import Condition, Reason
from tests.ferry_operator.conftest import CUT_CONNECTIONS, Cluster, running
from tests.support.kubelet import Kubelet
from tests.support.plugin import Plugin
from tests.support.waits import wait_until

pytestmark = [pytest.mark.usefixtures("operator"), CUT_CONNECTIONS]


@pytest.fixture
def plugin(cluster: Cluster) -> Plugin:
    return Plugin(cluster.api, cluster.namespace)


def spec(cluster: Cluster) -> dict[str, object]:
    found = cluster.ferry("orders")
    assert found is not None
    content: dict[str, object] = found["spec"]
    return content


def test_each_verb_is_the_patch_that_it_prints(cluster: Cluster, kubelet: Kubelet, plugin: Plugin) -> None:
    running(cluster, kubelet)
    copier = kubelet.copier("orders")
    option = f"--namespace={cluster.namespace}"

    said = plugin("pause", "orders")
    assert f"""kubectl patch ferry orders --type merge -p '{{"spec":{{"paused":true}}}}' {option}""" in said
    assert copier.directives[-1].paused  # it has waited for that
    assert "orders: Paused" in said

    # The line that it prints does the same.
    line = plugin("resume", "orders", "--dry-run").strip()
    assert spec(cluster)["paused"] is True
    subprocess.run(["bash", "-c", line], env=plugin.environment, check=True, capture_output=True)
    assert spec(cluster)["paused"] is False

    applied = []
    for words in (
        ("throttle", "orders", "5000"),
        ("throttle", "orders", "off"),
        ("cutover", "orders"),
        ("withdraw", "orders"),
    ):
        plugin(*words)
        directive = copier.directives[-1]
        applied.append((directive.throttle.max_rows_per_second, directive.cutover.approved))
    assert applied == [(5000, False), (None, False), (None, True), (None, False)]


def test_a_mistake_is_one_line_with_an_exit_code(cluster: Cluster, kubelet: Kubelet, plugin: Plugin) -> None:
    running(cluster, kubelet)
    assert "ROWS must be a whole number above 0, or off, not 'all'" in plugin("throttle", "orders", "all", code=64)
    assert "give ROWS, off, or a limit" in plugin("throttle", "orders", code=64)
    assert "orders2" in plugin("pause", "orders2", code=1)
    assert "invalid choice: 'pausse'" in plugin("pausse", "orders", code=64)
    assert "add --yes" in plugin("abort", "orders", code=64)
    assert not spec(cluster)["aborted"]


def test_an_abort_is_confirmed(cluster: Cluster, kubelet: Kubelet, plugin: Plugin) -> None:
    running(cluster, kubelet)
    plugin("abort", "orders", "--yes", "--timeout", "0")
    assert spec(cluster)["aborted"] is True


def test_a_change_that_nobody_applies_is_reported(cluster: Cluster, kubelet: Kubelet, plugin: Plugin) -> None:
    running(cluster, kubelet)
    cluster.merge("orders", {"metadata": {"annotations": {"mysqlferry.io/reconcile": "disabled"}}})
    said = plugin("pause", "orders", "--timeout", "1", code=75)
    assert "does not act on it after 1 s" in said
    assert spec(cluster)["paused"] is True


def test_the_state_on_one_screen(cluster: Cluster, kubelet: Kubelet, plugin: Plugin) -> None:
    running(cluster, kubelet)
    copier = kubelet.copier("orders")
    progress = Progress(tables_total=42, tables_copied=42, rows_copied=1000, rows_estimated=1000, percent=100)
    kubelet.call(lambda: copier.condition(Condition.VERIFIED, "True", Reason.NO_DIFFERENCE))
    kubelet.call(lambda: copier.condition(Condition.READY_FOR_CUTOVER, "True", Reason.GATES_PASSED))
    kubelet.call(lambda: copier.stage(Stage.READY_FOR_CUTOVER, progress=progress, cutover=CutoverReport(attempts=2)))
    wait_until(lambda: cluster.status("orders").get("stage") == "ReadyForCutover")
    wait_until(lambda: ("Normal", "GatesPassed") in cluster.events("orders"))
    said = plugin("status", "orders")
    for text in ("ReadyForCutover, began", "healthy", "42 of 42 tables", "every gate is passed; attempts: 2"):
        assert text in said
    assert f"waits for approval: kubectl ferry cutover orders -n {cluster.namespace}" in said
    assert "GatesPassed" in said.partition("EVENTS")[2]
    assert cluster.namespace in plugin("status")
    said = plugin("verify", "orders", code=75)  # the simulated copier takes no request
    assert "no new pass was asked for" in said
    assert "NoDifference" in said


def test_watching_ends_with_the_ferry(cluster: Cluster, kubelet: Kubelet, plugin: Plugin) -> None:
    running(cluster, kubelet)
    copier = kubelet.copier("orders")
    with subprocess.Popen(
        plugin.line("status", "orders", "-w"), env=plugin.environment, stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith("Copying, 0 % copied, healthy")
        kubelet.call(lambda: copier.condition(Condition.CUT_OVER, "True", Reason.DONE))
        kubelet.call(lambda: copier.stage(Stage.COMPLETED))
        *_, last = watching.stdout.read().splitlines()
    assert last.startswith("Completed")
    assert watching.returncode == 0


def test_completion_proposes_verbs_names_and_options(cluster: Cluster, kubelet: Kubelet, plugin: Plugin) -> None:
    running(cluster, kubelet)

    def proposed(*words: str) -> list[str]:
        # As kubectl's own completion asks in bash, zsh and fish.
        line = [str(cluster.api.kubectl_path), "__complete", "ferry", *words]
        done = subprocess.run(line, env=plugin.environment, capture_output=True, text=True, check=True)
        return [each.partition("\t")[0] for each in done.stdout.splitlines()]

    assert {"pause", "verify", ":4"} <= {*proposed("")}
    assert proposed("wi") == ["withdraw", ":4"]
    assert proposed("-n", cluster.namespace, "pause", "") == ["orders", ":4"]
    assert proposed("pause", f"--namespace={cluster.namespace}", "o") == ["orders", ":4"]
    assert cluster.namespace in proposed("pause", "-n", "")
    assert "--dry-run" in proposed("pause", "orders", "--d")
