"""What the chart renders from its values, and which values it refuses."""

import json
import re
import tomllib
from typing import Any

import pytest
import yaml

from ferry_core.api.spec import Ferry
from ferry_operator import pods
from ferry_operator.names import FERRY_NAME, METRICS_PORT, Role
from ferry_operator.settings import Settings
from hack import chart_values
from hack.chart import CHART, ROOT, ChartError, problems, render, value_sets
from tests.support.kube_api import CRD, KubeApi

Object = dict[str, Any]
SETS = [pytest.param(options, id=name) for name, options in value_sets()]
EVERYTHING = f"--values={CHART / 'ci' / 'everything-values.yaml'}"
DIGEST = "sha256:" + "0123456789abcdef" * 4


def only(kind: str, *options: str) -> list[Object]:
    return [each for each in render(*options) if each["kind"] == kind]


def operator(*options: str) -> Object:
    """The operator's Pod."""
    (deployment,) = only("Deployment", *options)
    pod: Object = deployment["spec"]["template"]
    return pod


def example() -> Object:
    """The Ferry that the chart shows to registries."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    ferry: Object
    (ferry,) = yaml.safe_load(chart["annotations"]["artifacthub.io/crdsExamples"])
    return ferry


def settings(*options: str) -> Settings:
    """As the operator reads them, in a Pod of the chart."""
    container = operator(*options)["spec"]["containers"][0]
    fields = {"metadata.namespace": "ferry-system"}
    return Settings.of(
        {
            each["name"]: each["value"] if "value" in each else fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
            for each in container["env"]
        }
    )


@pytest.mark.parametrize("options", SETS)
def test_each_object_has_the_labels_of_its_release(options: list[str]) -> None:
    objects = render(*options)
    assert {"Deployment", "Pod"} <= {each["kind"] for each in objects}
    for each in objects:
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "mysql-ferry"
        assert labels["app.kubernetes.io/instance"] == "ferry"
        assert labels["app.kubernetes.io/managed-by"] == "Helm", "the operator would take it for one of its copiers"


def test_an_object_that_kubernetes_would_refuse_is_found() -> None:
    (deployment,) = only("Deployment")
    deployment["spec"]["replica"] = deployment["spec"].pop("replicas")
    assert "'replica' was unexpected" in next(problems([deployment]))


def test_the_crd_is_the_one_of_this_repository_and_is_kept() -> None:
    (made,) = only("CustomResourceDefinition")
    assert made["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    del made["metadata"]["labels"]
    assert made == yaml.safe_load(CRD.read_text())
    assert only("CustomResourceDefinition", "--set=crds.enabled=false") == []
    assert "annotations" not in only("CustomResourceDefinition", "--set=crds.keep=false")[0]["metadata"]


def test_the_operator_reads_what_the_chart_sets() -> None:
    nothing_special = settings()
    assert nothing_special == Settings(
        "ferry-system", "localhost/mysql-ferry:dev", copier_template=nothing_special.copier_template
    )
    given = settings(EVERYTHING)
    assert given == Settings(
        "ferry-system",
        f"registry.example:5000/team/mysql-ferry@{DIGEST}",
        watch_namespaces=("shop", "billing"),
        max_running=3,
        listen="::",
        copier_listen="[::]",
        copier_template=given.copier_template,
        log_level="debug",
    )


def test_copiers_get_the_defaults_of_the_cluster() -> None:
    given = yaml.safe_load((CHART / "ci" / "everything-values.yaml").read_text())["copiers"]["template"]
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    made = settings(EVERYTHING).copier_template.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    assert made == {name: value for name, value in given.items() if value} | {"podSecurityContext": security}


def test_without_values_copiers_are_what_the_operator_makes_by_itself() -> None:
    spec = Ferry.model_validate_json(json.dumps(example())).spec
    meta = {"name": "orders", "uid": "u", "generation": 1}
    for role in Role:
        by_itself = pods.pod(meta, spec, role, "image", "secret", "::")
        assert pods.pod(meta, spec, role, "image", "secret", "::", defaults=settings().copier_template) == by_itself


def test_image() -> None:
    assert settings("--set=image.tag=").image == "localhost/mysql-ferry:0.1.0"
    assert settings("--set=image.tag=1.2").image == "localhost/mysql-ferry:1.2"
    assert settings("--set=image.registry=mirror.example:5000,image.repository=ferry").image == (
        "mirror.example:5000/ferry:dev"
    )
    assert operator(EVERYTHING)["spec"]["containers"][0]["image"].endswith(f"@{DIGEST}")


def test_one_operator_at_a_time() -> None:
    (deployment,) = only("Deployment")
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_names_follow_the_release() -> None:
    assert operator(EVERYTHING)["spec"]["serviceAccountName"] == "mover"
    assert only("Deployment", EVERYTHING)[0]["metadata"]["name"] == "ferry-mover-operator"
    assert only("Deployment", "--set=fullnameOverride=x")[0]["metadata"]["name"] == "x-operator"


def test_pod_monitors_keep_the_namespace_of_the_ferry() -> None:
    own, copiers = only("PodMonitor", EVERYTHING)
    for each in (own, copiers):
        assert each["metadata"]["labels"]["release"] == "prometheus"
        (endpoint,) = each["spec"]["podMetricsEndpoints"]
        assert {"port": "metrics", "interval": "15s", "honorLabels": True}.items() <= endpoint.items()
    assert copiers["spec"]["namespaceSelector"] == {"matchNames": ["shop", "billing"]}
    anywhere = only("PodMonitor", "--set=metrics.podMonitor.enabled=true")[1]
    assert anywhere["spec"]["namespaceSelector"] == {"any": True}


def test_series_of_copiers_get_the_name_of_their_ferry() -> None:
    """Prometheus replaces each character of a Pod's label that its names do not allow by an underscore."""
    _, copiers = only("PodMonitor", EVERYTHING)
    (endpoint,) = copiers["spec"]["podMetricsEndpoints"]
    label = re.sub(r"\W", "_", FERRY_NAME)
    assert endpoint["relabelings"] == [
        {"sourceLabels": [f"__meta_kubernetes_pod_label_{label}"], "targetLabel": "ferry"}
    ]


def test_the_alerts_are_those_of_the_rules_file() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "monitoring" / "rules" / "mysql-ferry.yaml").read_text())
    assert only("PrometheusRule") == []
    (as_it_is,) = only("PrometheusRule", "--set=metrics.prometheusRule.enabled=true")
    assert as_it_is["spec"] == rules
    (linked,) = only("PrometheusRule", EVERYTHING)
    assert linked["metadata"]["labels"]["release"] == "prometheus"
    links = {
        rule["annotations"]["runbook_url"]
        for group in linked["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert "https://docs.example/alerts#ferryfailed" in links
    assert all(link.startswith("https://docs.example/alerts#") for link in links)


def test_the_dashboards_are_those_of_the_files() -> None:
    assert [each["metadata"]["name"] for each in only("ConfigMap")] == []
    made = only("ConfigMap", "--set=metrics.dashboards.enabled=true")
    files = sorted((ROOT / "deploy" / "monitoring" / "dashboards").glob("*.json"))
    assert len(files) == len(made) == 2
    contents = {name: text for each in made for name, text in each["data"].items()}
    assert {name: json.loads(text) for name, text in contents.items()} == {
        f"mysql-ferry-{file.name}": json.loads(file.read_text()) for file in files
    }
    assert {each["metadata"]["labels"]["grafana_dashboard"] for each in made} == {"1"}
    assert only("ConfigMap", EVERYTHING)[0]["metadata"]["labels"]["dashboards"] == "databases"


def ports(pod: Object) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}


@pytest.mark.parametrize("options", [pytest.param([], id="defaults"), pytest.param([EVERYTHING], id="everything")])
def test_metrics_are_scraped_from_the_operators_pod(options: list[str]) -> None:
    pod = operator(*options)
    (service,) = only("Service", *options)
    (port,) = service["spec"]["ports"]
    monitor, _ = only("PodMonitor", *options, "--set=metrics.podMonitor.enabled=true")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert port["port"] == Settings.port
    for name in (port["targetPort"], endpoint["port"]):
        assert ports(pod)[name] == Settings.port
    (test,) = only("Pod", *options)
    for selector in (service["spec"]["selector"], monitor["spec"]["selector"]["matchLabels"]):
        assert selector.items() <= pod["metadata"]["labels"].items()
        assert not selector.items() <= test["metadata"]["labels"].items()


def test_metrics_are_scraped_from_copiers_as_the_operator_creates_them() -> None:
    spec = Ferry.model_validate_json(json.dumps(example())).spec
    pod = pods.pod({"name": "orders", "uid": "u", "generation": 1}, spec, Role.COPIER, "image", "secret", "::")
    _, monitor = only("PodMonitor", "--set=metrics.podMonitor.enabled=true")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert ports(pod)[endpoint["port"]] == METRICS_PORT
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_a_network_policy_of_the_operator() -> None:
    (policy,) = only("NetworkPolicy", EVERYTHING)
    (ingress,) = policy["spec"]["ingress"]
    assert ingress["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    ports = [[port["port"] for port in rule["ports"]] for rule in policy["spec"]["egress"]]
    assert ports == [[53, 53], [6443], ["control"]]


def test_aggregated_roles() -> None:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    given: dict[str, set[str]] = {"view": set(), "edit": set(), "admin": set()}
    for role in only("ClusterRole", "--set=watchNamespaces={shop}"):
        for label in role["metadata"]["labels"]:
            if label.startswith(prefix):
                given[label.removeprefix(prefix)].update(*(rule["verbs"] for rule in role["rules"]))
    assert given["view"] == {"get", "list", "watch"}
    assert given["edit"] == given["view"] | {"create", "update", "patch", "delete"}
    assert given["admin"] == given["edit"] | {"deletecollection"}


# -- bad values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("maxRuning=5", "'maxRuning' not allowed"),
        ("maxRunning=many", "'/maxRunning': got string, want integer"),
        ("maxRunning=-1", "'/maxRunning': minimum: got -1, want 0"),
        ("watchNamespaces=shop", "'/watchNamespaces': got string, want array"),
        ("watchNamespaces={Shop}", "'/watchNamespaces/0': 'Shop' does not match"),
        ("image.digest=sha256:12", "'/image/digest': 'sha256:12' does not match"),
        ("image.pullPolicy=Sometimes", "'/image/pullPolicy': value must be one of"),
        ("crds.install=true", "'/crds': additional properties 'install' not allowed"),
        ("metrics.podMonitor.interval=often", "'/metrics/podMonitor/interval': 'often' does not match"),
        ("logLevel=loud", "'/logLevel': value must be one of"),
        ("copiers.template.env={}", "'/copiers/template': additional properties 'env' not allowed"),
        ("livenessProbe.path=/", "'/livenessProbe': additional properties 'path' not allowed"),
        ("networkPolicy.apiServerPorts={70000}", "'/networkPolicy/apiServerPorts/0': maximum: got 70,000, want 65,535"),
    ],
)
def test_a_bad_value_is_refused_by_name(value: str, words: str) -> None:
    with pytest.raises(ChartError, match=re.escape(words)):
        render(f"--set={value}")


def test_ids_of_the_pod_can_be_left_to_the_cluster() -> None:
    """OpenShift refuses Pods that name a user id."""
    operators, copiers = "podSecurityContext", "copiers.template.podSecurityContext"
    ids = [f"{operators}.runAsUser", f"{operators}.runAsGroup"]
    ids += [f"{copiers}.runAsUser", f"{copiers}.runAsGroup", f"{copiers}.fsGroup"]
    text = str(render(*(f"--set={each}=null" for each in ids)))
    assert "65532" not in text
    assert "runAsNonRoot" in text


# -- documents ------------------------------------------------------------------------------------------------------


def paths(values: Object, prefix: str = "") -> set[str]:
    return {
        path
        for name, value in values.items()
        for path in (paths(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {prefix + name})
    }


def test_every_value_is_described_and_bounded() -> None:
    values = yaml.safe_load(chart_values.VALUES.read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    described = {path for path, _ in chart_values.described()}
    objects_of_kubernetes = {"resources", "podSecurityContext", "securityContext", "livenessProbe", "readinessProbe"}
    objects_of_kubernetes |= {"copiers.template.podSecurityContext"}
    inside = tuple(f"{each}." for each in objects_of_kubernetes)
    of_the_chart = {path for path in paths(values) if not path.startswith(inside)}
    assert of_the_chart | objects_of_kubernetes == described
    for path in described:
        at = schema
        for part in path.split("."):
            assert at["additionalProperties"] is False
            at = at["properties"][part]


def test_the_documented_values_equal_the_charts() -> None:
    assert chart_values.section() in chart_values.PAGE.read_text(), "run hack/chart_values.py --write"


def test_the_versions_agree() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["version"] == chart["appVersion"] == project["version"]


def test_the_charts_example_is_a_valid_ferry(kube_api: KubeApi) -> None:
    assert Ferry.model_validate_json(json.dumps(example())).spec.cutover.mode.value == "Manual"
    kube_api.kubectl("create", "--dry-run=server", "-f", "-", given=example())


# -- the strictest namespaces ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", SETS)
def test_its_pods_are_admitted_to_a_restricted_namespace(kube_api: KubeApi, options: list[str]) -> None:
    namespace = kube_api.make_namespace("restricted")
    kube_api.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    pods = [operator(*options) | {"metadata": {"name": "operator"}}, *only("Pod", *options)]
    for pod in pods:
        body = {"apiVersion": "v1", "kind": "Pod", "spec": pod["spec"], "metadata": {"name": pod["metadata"]["name"]}}
        kube_api.kubectl("create", "--dry-run=server", f"--namespace={namespace}", "-f", "-", given=body)
