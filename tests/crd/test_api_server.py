"""The CRD on a real kube-apiserver: what it accepts, defaults and refuses, and its messages."""

import copy
import json
import urllib.error
from collections.abc import Callable

import pytest

from ferry_core.api.spec import Ferry
from tests.crd.manifests import EXAMPLE, SMALL, Manifest
from tests.support.kube_api import KubeApi

Change = Callable[[Manifest], object]


@pytest.fixture(scope="module")
def namespace(kube_api: KubeApi) -> str:
    return kube_api.make_namespace("crd")


class Ferries:
    """Ferries of one namespace, over plain HTTP, so that messages are kube-apiserver's own."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self._api = api
        self._path = f"/apis/mysqlferry.io/v1alpha1/namespaces/{namespace}/ferries"

    def create(self, spec: Manifest, name: str) -> Manifest:
        body = {"apiVersion": "mysqlferry.io/v1alpha1", "kind": "Ferry", "metadata": {"name": name}, "spec": spec}
        return self._ask("POST", "?fieldValidation=Strict", body)

    def patch(self, name: str, spec: Manifest) -> Manifest:
        return self._ask("PATCH", f"/{name}", {"spec": spec}, "application/merge-patch+json")

    def say(self, name: str, **status: object) -> Manifest:
        return self._ask("PATCH", f"/{name}/status", {"status": status}, "application/merge-patch+json")

    def _ask(self, method: str, path: str, body: Manifest, content_type: str = "application/json") -> Manifest:
        answer: Manifest = self._api.request(method, self._path + path, body, content_type=content_type)
        return answer


@pytest.fixture(scope="module")
def ferries(kube_api: KubeApi, namespace: str) -> Ferries:
    return Ferries(kube_api, namespace)


def refusal(call: Callable[[], object]) -> str:
    """The message with which kube-apiserver refuses."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        call()
    answer = json.loads(caught.value.read())
    assert caught.value.code in (400, 422), answer
    message: str = answer["message"]
    print(message)
    return message


def test_it_installs_without_a_warning(kube_api: KubeApi) -> None:
    crd = kube_api.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ferries.mysqlferry.io")
    conditions = {each["type"]: each["status"] for each in crd["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions


def test_the_whole_example_is_accepted_and_returned_unchanged(ferries: Ferries) -> None:
    stored = ferries.create(EXAMPLE, "example")
    wanted = copy.deepcopy(EXAMPLE)
    wanted["source"]["credentialsSecretRef"] |= {"usernameKey": "username", "passwordKey": "password"}
    wanted["target"]["credentialsSecretRef"] |= {"usernameKey": "username", "passwordKey": "password"}
    wanted["target"]["replicas"] = []
    for server in (wanted["source"], *wanted["source"]["replicas"], wanted["target"]):
        server["tls"]["allowPublicKeyRetrieval"] = False
    wanted["cutover"]["webhooks"]["lock"]["tokenSecretRef"]["key"] = "token"
    wanted["cutover"]["webhooks"]["unlock"] |= {"timeout": "5s", "retries": 3}
    wanted["notifications"][0]["tokenSecretRef"]["key"] = "token"
    filled: Manifest = {"affinity": {}, "topologySpreadConstraints": [], "volumes": [], "volumeMounts": []}
    filled |= {"imagePullSecrets": [], "serviceAccountName": "", "priorityClassName": "", "podSecurityContext": {}}
    wanted["copier"]["template"] |= filled
    wanted["copier"]["template"]["metadata"]["annotations"] = {}
    assert stored["spec"] == wanted


def test_defaults_are_filled_in_as_the_models_do(ferries: Ferries) -> None:
    stored = ferries.create(SMALL, "defaults")
    by_models = Ferry.model_validate(
        {"apiVersion": stored["apiVersion"], "kind": "Ferry", "metadata": {"name": "defaults"}, "spec": SMALL},
        by_name=False,
    )
    assert stored["spec"] == by_models.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert stored["spec"]["cutover"]["deadline"] == "10s"
    Ferry.model_validate(stored, by_name=False)


def _set(path: str, value: object) -> Change:
    def change(spec: Manifest) -> None:
        *above, last = path.split(".")
        holder = spec
        for name in above:
            holder = holder.setdefault(name, {})
        holder[last] = value

    return change


def _drop(path: str) -> Change:
    def change(spec: Manifest) -> None:
        *above, last = path.split(".")
        holder = spec
        for name in above:
            holder = holder[name]
        del holder[last]

    return change


def _webhooks(**timeouts: str) -> Manifest:
    named = {role: {"url": f"https://door.example/{role}"} for role in ("lock", "unlock")}
    return {role: hook | ({"timeout": timeouts[role]} if role in timeouts else {}) for role, hook in named.items()}


REFUSED_AT_CREATION: list[tuple[str, list[Change], str]] = [
    ("same-server", [_set("target.host", "old.db")], "source and target are the same server"),
    ("socket", [_set("source.socket", "/run/mysqld/mysqld.sock")], "a copier in a Pod cannot open a socket"),
    ("no-tables", [_drop("tables")], "spec.tables: Required value"),
    ("no-include", [_set("tables.include", [])], "should have at least 1 items"),
    ("bad-pattern", [_set("tables.include", ["shop"])], "spec.tables.include[0]"),
    ("no-secret", [_drop("source.credentialsSecretRef")], "spec.source.credentialsSecretRef: Required value"),
    ("port-zero", [_set("source.port", 0)], "should be greater than or equal to 1"),
    ("port-text", [_set("source.port", "3306")], "must be of type integer"),
    ("misspelt", [_set("throtle", {})], 'unknown field "spec.throtle"'),
    ("tls-word", [_set("source.tls", {"mode": "verify"})], 'Unsupported value: "verify"'),
    ("workers", [_set("copy.workers", 65)], "should be less than or equal to 64"),
    ("chunk-time", [_set("copy.chunkTargetDuration", "2m")], "must be from 10ms to 1m"),
    ("chunk-unit", [_set("copy.chunkTargetDuration", "1 s")], "spec.copy.chunkTargetDuration"),
    ("chunk-bytes", [_set("copy.chunkTargetBytes", "1Gi")], "must be from 64Ki to 256Mi"),
    ("chunk-negative", [_set("copy.chunkTargetBytes", "-5Mi")], "spec.copy.chunkTargetBytes"),
    ("unverified", [_set("verify.mode", "None")], "accept that with acknowledge: [Unverified]"),
    ("acknowledge", [_set("acknowledge", ["Everything"])], 'Unsupported value: "Everything"'),
    ("scheduled", [_set("cutover.mode", "Scheduled")], "mode Scheduled needs notBefore"),
    (
        "window",
        [_set("cutover.notBefore", "2026-12-01T04:00:00Z"), _set("cutover.notAfter", "2026-12-01T02:00:00Z")],
        "notBefore must be before notAfter",
    ),
    ("time", [_set("cutover.notBefore", "tomorrow")], "spec.cutover.notBefore"),
    ("webhook", [_set("cutover.sourceLock", "Webhook")], "sourceLock Webhook needs webhooks.lock and webhooks.unlock"),
    (
        "approved-automatic",
        [_set("cutover.mode", "Automatic"), _set("cutover.approved", True)],
        "approved belongs to mode Manual",
    ),
    ("deadline-long", [_set("cutover.deadline", "11m")], "deadline must be from 1s to 10m"),
    ("deadline-short", [_set("cutover.deadline", "999ms")], "deadline must be from 1s to 10m"),
    ("replica-lag", [_set("throttle", {"maxReplicaLag": "99ms"})], "must be from 100ms to 24h"),
    ("replica-lag-long", [_set("throttle", {"maxReplicaLag": "25h"})], "must be from 100ms to 24h"),
    ("commit-latency", [_set("throttle", {"maxCommitLatency": "61s"})], "must be from 1ms to 1m"),
    ("lag-short", [_set("cutover.maxLag", "99ms")], "must be from 100ms to 10m"),
    ("lag-long", [_set("cutover.maxLag", "11m")], "must be from 100ms to 10m"),
    ("watch-long", [_set("cutover.watchFor", "25h")], "must be from 0s to 24h"),
    ("lock-timeout", [_set("cutover.webhooks", _webhooks(lock="90ms"))], "webhooks.lock.timeout: Invalid value"),
    ("unlock-timeout", [_set("cutover.webhooks", _webhooks(unlock="61s"))], "must be from 100ms to 1m"),
    ("no-claim", [_set("checkpoint.store", "Volume")], "store Volume needs claimName"),
    ("pod-name", [_set("copier.template.metadata.name", "mine")], 'unknown field "spec.copier.template.metadata.name"'),
    ("pod-label", [_set("copier.template.metadata.labels", {"team": 5})], "labels.team: Invalid value"),
    ("ttl", [_set("ttlSecondsAfterFinished", -1)], "should be greater than or equal to 0"),
]


@pytest.mark.parametrize(("name", "changes", "words"), REFUSED_AT_CREATION, ids=[row[0] for row in REFUSED_AT_CREATION])
def test_an_invalid_ferry_is_refused_with_a_helpful_message(
    ferries: Ferries, name: str, changes: list[Change], words: str
) -> None:
    spec = copy.deepcopy(SMALL)
    for change in changes:
        change(spec)
    assert words in refusal(lambda: ferries.create(spec, name))


def test_a_long_name_is_refused(ferries: Ferries) -> None:
    ferries.create(SMALL, "n" * 52)
    assert "at most 52 characters" in refusal(lambda: ferries.create(SMALL, "n" * 53))


def test_source_and_target_may_be_one_server_with_renamed_schemas(ferries: Ferries) -> None:
    same = copy.deepcopy(SMALL) | {"target": SMALL["source"]}
    same["tables"]["renameSchemas"] = {"shop": "shop_v2"}
    ferries.create(same, "rename")
    same["tables"] = {"include": ["shop.orders"], "rules": [{"match": "shop.orders", "target": "shop.orders_v2"}]}
    ferries.create(same, "rule")


@pytest.mark.parametrize("stage", [None, "Pending", "Validating", "Copying", "Completed"])
@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"tables": {"include": ["shop.*", "ops.*"]}}, "tables"),
        ({"source": {"host": "other.db"}}, "source.host"),
        ({"source": {"port": 3307}}, "source.port"),
        ({"target": {"host": "other.db"}}, "target.host"),
        ({"target": {"port": 3307}}, "target.port"),
        ({"checkpoint": {"store": "Volume", "claimName": "orders"}}, "checkpoint"),
    ],
    ids=lambda value: value.replace(".", "-") if isinstance(value, str) else "",
)
def test_the_selection_cannot_change_once_validated(
    ferries: Ferries, stage: str | None, patch: Manifest, field: str
) -> None:
    name = f"fixed-{field.replace('.', '-')}-{stage}".lower()
    ferries.create(SMALL, name)
    if stage is not None:
        ferries.say(name, stage=stage)
    if stage in (None, "Pending", "Validating"):
        ferries.patch(name, patch)
    else:
        said = refusal(lambda: ferries.patch(name, patch))
        assert f"spec.{field} cannot change once the Ferry is validated" in said
        ferries.patch(name, {"copy": {"workers": 2}, "source": {"credentialsSecretRef": {"name": "renewed"}}})


def test_aborted_cannot_be_undone_even_through_null(ferries: Ferries) -> None:
    ferries.create(SMALL, "abort")
    ferries.patch("abort", {"aborted": True})
    assert "aborted cannot be undone" in refusal(lambda: ferries.patch("abort", {"aborted": False}))
    assert "aborted cannot be undone" in refusal(lambda: ferries.patch("abort", {"aborted": None}))


def condition(kind: str, status: str) -> Manifest:
    return {"type": kind, "status": status, "reason": "Test", "lastTransitionTime": "2026-11-01T00:00:00Z"}


def test_a_ferry_that_was_cut_over_cannot_be_aborted(ferries: Ferries) -> None:
    ferries.create(SMALL, "late-abort")
    ferries.say("late-abort", conditions=[condition("CutOver", "True")])
    assert "nothing to abort" in refusal(lambda: ferries.patch("late-abort", {"aborted": True}))


@pytest.mark.parametrize(
    ("stage", "withdrawn"),
    [("Streaming", True), ("ReadyForCutover", True), ("CuttingOver", False), ("Completed", False)],
)
@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"approved": True}, {"approved": False}),
        ({"mode": "Automatic"}, {"mode": "Manual"}),
    ],
    ids=["approved", "automatic"],
)
def test_an_approval_can_be_withdrawn_until_the_cutover_begins(
    ferries: Ferries, stage: str, given: Manifest, taken: Manifest, *, withdrawn: bool
) -> None:
    name = f"withdraw-{stage.lower()}-{next(iter(given))}"
    ferries.create(SMALL, name)
    ferries.patch(name, {"cutover": given})
    ferries.say(name, stage=stage)
    if withdrawn:
        ferries.patch(name, {"cutover": taken})
    else:
        said = refusal(lambda: ferries.patch(name, {"cutover": taken}))
        assert "approval can no longer be withdrawn" in said


def test_the_form_of_an_approval_may_change_during_the_cutover(ferries: Ferries) -> None:
    ferries.create(SMALL, "another-way")
    ferries.patch("another-way", {"cutover": {"mode": "Automatic"}})
    ferries.say("another-way", stage="CuttingOver")
    ferries.patch("another-way", {"cutover": {"mode": "Manual", "approved": True}})
    ferries.patch("another-way", {"cutover": {"mode": "Automatic", "approved": False}})


def test_every_list_may_be_as_long_as_its_limit(ferries: Ferries) -> None:
    spec = copy.deepcopy(SMALL)
    spec["tables"] = {
        "include": [f"s{n}.*" for n in range(1000)],
        "exclude": [f"s{n}.tmp_*" for n in range(1000)],
        "rules": [{"match": f"s{n}.t", "where": "id > 0", "target": f"s{n}.u"} for n in range(1000)],
    }
    ferries.create(spec, "long")
    ferries.say("long", stage="Copying")
    ferries.patch("long", {"paused": True})


def test_kubectl_prints_the_columns(kube_api: KubeApi, ferries: Ferries, namespace: str) -> None:
    ferries.create(SMALL, "columns")
    ferries.say(
        "columns",
        phase="Streaming",
        message="streaming changes",
        progress={"percent": 95.5, "tablesTotal": 42},
        replication={"lagSeconds": 2},
        copier={"podName": "columns-copier"},
        conditions=[condition("ReadyForCutover", "True"), condition("Throttled", "False")],
    )
    plain = kube_api.kubectl("get", "fy", "columns", "-n", namespace).stdout.splitlines()
    assert plain[0].split() == ["NAME", "PHASE", "PROGRESS", "LAG", "PAUSED", "READY-TO-CUT", "AGE"]
    assert plain[1].split()[:6] == ["columns", "Streaming", "95.5", "2", "false", "True"]
    wide = kube_api.kubectl("get", "mysqlferry", "-n", namespace, "-o", "wide").stdout.splitlines()
    for name in ("SOURCE", "TARGET", "TABLES", "COPIER", "THROTTLED", "MESSAGE"):
        assert name in wide[0]
    assert any("columns-copier" in line and "streaming changes" in line for line in wide)


def test_kubectl_explains_the_fields(kube_api: KubeApi) -> None:
    said = kube_api.kubectl("explain", "ferry.spec.cutover.approved").stdout
    assert "Approval for mode Manual." in said


def test_waiting_for_a_condition_works(kube_api: KubeApi, ferries: Ferries, namespace: str) -> None:
    ferries.create(SMALL, "wait")
    ferries.say("wait", conditions=[condition("ReadyForCutover", "True")])
    kube_api.kubectl("wait", "--for=condition=ReadyForCutover", "fy/wait", "-n", namespace, "--timeout=60s")
