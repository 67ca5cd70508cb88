"""One operator with Roles in fifty namespaces and no ClusterRole: what is missing in one does not stop the others."""

import time

import pytest

from ferry_core.api.report import Stage
from ferry_operator.permissions import Permission
from tests.chart.conftest import Account, StrictApi
from tests.ferry_operator.conftest import CUT_CONNECTIONS, Cluster
from tests.support.kubelet import Kubelet
from tests.support.operator_thread import OperatorPort
from tests.support.servers import free_port
from tests.support.waits import wait_until

pytestmark = [pytest.mark.slow, CUT_CONNECTIONS]

NUMBER = 50


def test_permissions_that_are_lost_in_one_of_fifty_namespaces(
    strict_api: StrictApi, caplog: pytest.LogCaptureFixture
) -> None:
    home = strict_api.make_namespace("operator")
    served = tuple(strict_api.make_namespace(f"team{number}") for number in range(NUMBER))
    account = Account(strict_api, home, served)
    clusters = [Cluster(strict_api, each) for each in served]
    lost, poor, usual = clusters[:3]
    account.take(Permission("create", "pods"), poor.namespace)
    for cluster in clusters:
        cluster.apply("orders")
    began = time.monotonic()
    probed = OperatorPort(free_port())
    with (
        account.operator(check_seconds=0.5, port=probed.port) as operator,
        Kubelet(strict_api, usual.namespace) as kubelet,
    ):
        copier = kubelet.copier("orders")
        kubelet.call(lambda: copier.stage(Stage.COPYING))
        rich = [each for each in clusters if each is not poor]
        wait_until(lambda: all(each.pod("orders-copier") for each in rich))
        print(f"{NUMBER} namespaces, a Pod in each after {time.monotonic() - began:.1f} s")
        wait_until(lambda: poor.condition("orders", "Stalled").get("reason") == "PodRefused")
        assert "cannot create" in poor.status("orders")["message"]

        account.lose(lost.namespace)
        strict_api.stop_api(kill=True)  # its watches would last for some minutes
        strict_api.start_api()
        compared = f"namespace {lost.namespace} is not compared"
        wait_until(lambda: compared in caplog.text)
        usual.patch("orders", paused=True)
        wait_until(lambda: copier.directives[-1].paused)
        lost.delete("orders")
        usual.apply("later")
        later = kubelet.copier("later")
        wait_until(lambda: later.directives)
        assert lost.ferry("orders") is not None, "nobody may remove its finalizer"
        assert probed.get("/healthz") == (200, "ok")
        account.give_back()

        def goes_on() -> bool:
            if probed.get("/healthz")[0] != 200:  # its watch has missed a change while it was forbidden
                operator.stop()
                operator.start()  # as the kubelet does
            return lost.pod("orders-cleanup") is not None  # no kubelet is simulated here: it would run now

        wait_until(goes_on)
