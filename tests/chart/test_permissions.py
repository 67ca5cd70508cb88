"""The chart's roles are exactly what the operator needs: a Ferry's whole life works with them, each verb is used, and
the operator names a missing one.
"""

import asyncio
from dataclasses import replace

import pytest

from ferry_core.api.report import Stage
from ferry_core.reasons import Condition, Reason
from ferry_operator import permissions
from ferry_operator.kube import ApiKube, configuration
from ferry_operator.permissions import Permission
from ferry_operator.settings import Settings
from tests.chart.conftest import Account, Grant, StrictApi
from tests.ferry_operator.conftest import CUT_CONNECTIONS, Cluster
from tests.support.kubelet import Kubelet, words
from tests.support.waits import wait_until

pytestmark = [pytest.mark.slow, CUT_CONNECTIONS]

SERVED = permissions.SERVED
UNAUDITED = {Permission("update", "ferries/finalizers", "mysqlferry.io")}
"""Checked by an admission plugin, never by the operator itself."""


def live(cluster: Cluster, kubelet: Kubelet) -> None:
    """One Ferry to its end and past its time to live; another one aborted; a third one deleted while it runs."""
    cluster.apply("orders", ttlSecondsAfterFinished=0)
    copier = kubelet.copier("orders")
    kubelet.call(lambda: copier.stage(Stage.COPYING))
    wait_until(lambda: cluster.status("orders").get("stage") == "Copying")
    cluster.patch("orders", paused=True)
    wait_until(lambda: cluster.condition("orders", "Paused").get("status") == "True")
    cluster.patch("orders", paused=False, cutover={"approved": True})
    wait_until(lambda: copier.directives[-1].cutover.approved)
    kubelet.call(lambda: copier.condition(Condition.CUT_OVER, "True", Reason.DONE))
    kubelet.call(lambda: copier.stage(Stage.COMPLETED))
    kubelet.end(copier, 0, words(copier.report))
    wait_until(lambda: cluster.ferry("orders") is None)
    assert ("Normal", "Completed") in cluster.events("orders")

    cluster.apply("regretted")
    kubelet.copier("regretted")
    cluster.patch("regretted", aborted=True)
    wait_until(lambda: cluster.status("regretted").get("phase") == "Aborted")

    cluster.apply("dropped")
    kubelet.copier("dropped")
    cluster.delete("dropped")
    wait_until(lambda: cluster.ferry("dropped") is None)
    assert kubelet.started.count("dropped-cleanup") == 1


def assert_used_exactly(api: StrictApi, account: Account) -> None:
    """Each granted permission was used, and each used one was granted, in the same namespaces."""
    asked = [each for each in api.asked(account.user) if each[1].resource != "selfsubjectaccessreviews"]
    assert not [each for each in asked if each[2] == 403]
    everywhere = not account.served

    def where(namespace: str, permission: Permission) -> Grant:
        own = permission.resource == "secrets" and namespace == account.namespace
        if own and permission.verb == "get":
            return namespace, replace(permission, name="ferry-operator-identity")
        return "" if everywhere else namespace, permission

    granted = {each for each in account.grants() if each[1] not in UNAUDITED}
    assert {where(namespace, permission) for namespace, permission, _ in asked} == granted


def test_a_ferrys_life_with_a_role_for_the_whole_cluster(strict_api: StrictApi) -> None:
    account = Account(strict_api, strict_api.make_namespace("operator"))
    cluster = Cluster(strict_api, strict_api.make_namespace("shop"))
    with Kubelet(strict_api, cluster.namespace) as kubelet, account.operator():
        live(cluster, kubelet)
    assert_used_exactly(strict_api, account)
    served = {permission for namespace, permission in account.grants() if not namespace}
    assert served == set(SERVED), "what the operator asks about at its start is what the chart grants"


@pytest.mark.parametrize("own", [True, False], ids=["the operator's own", "others"])
def test_a_ferrys_life_with_roles_in_named_namespaces(strict_api: StrictApi, own: bool) -> None:
    home = strict_api.make_namespace("operator")
    served = (home,) if own else (strict_api.make_namespace("shop"), strict_api.make_namespace("billing"))
    account = Account(strict_api, home, served)
    assert not [each for each in account.grants() if not each[0]], "nothing in all namespaces"
    with account.operator():
        for namespace in served:
            with Kubelet(strict_api, namespace) as kubelet:
                live(Cluster(strict_api, namespace), kubelet)
    assert_used_exactly(strict_api, account)


# -- a verb is missing ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def poor(strict_api: StrictApi) -> Account:
    """The account from which one permission after another is removed."""
    namespace = strict_api.make_namespace("poor")
    return Account(strict_api, namespace, (namespace,))


async def _missing(account: Account) -> list[str]:
    settings = Settings(account.namespace, "image", account.served)
    kube = ApiKube(await configuration(str(account.kubeconfig)))
    try:
        return [str(each) for each in await permissions.missing(kube, settings)]
    finally:
        await kube.close()


def test_with_the_charts_roles_no_permission_is_missing(poor: Account) -> None:
    assert asyncio.run(_missing(poor)) == []


@pytest.mark.parametrize("permission", [*SERVED, Permission("get", "secrets", name="ferry-operator-identity")], ids=str)
def test_a_missing_permission_is_named(poor: Account, permission: Permission) -> None:
    poor.take(permission)
    wait_until(lambda: asyncio.run(_missing(poor)) == [f"{permission} in namespace {poor.namespace}"])
    poor.give_back()
    wait_until(lambda: asyncio.run(_missing(poor)) == [])
