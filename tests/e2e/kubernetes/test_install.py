"""The commands that docs/install.md gives to a user, once the operator is installed."""

import pytest

from tests.support.whole_cluster import OPERATOR_NAMESPACE, WholeCluster


def test_helm_test_succeeds_only_when_the_operator_is_ready(whole_cluster: WholeCluster) -> None:
    said = whole_cluster.helm("test", "ferry", "--logs")
    assert "Phase:          Succeeded" in said
    assert "/ferries: " in said
    assert "the operator is ready" in said
    pods = ("pod", "--namespace", OPERATOR_NAMESPACE)
    with whole_cluster.operators(0):
        whole_cluster.kubectl("wait", "--for=delete", *pods, "--selector=app.kubernetes.io/component=operator")
        with pytest.raises(AssertionError, match="helm test ferry"):
            whole_cluster.helm("test", "ferry")
        log = whole_cluster.kubectl("logs", "ferry-operator-test", *pods[1:]).stdout
        assert log.splitlines()[-1].startswith("http://ferry-operator-metrics:8080/readyz: ")
