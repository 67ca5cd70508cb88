import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from ferry_core.api.choices import CutoverMode, OnMismatch, SourceLockMode, VerifyMode
from ferry_core.api.directive import Directive
from ferry_core.api.report import ConditionReport, Report, Stage, Status, TableReport
from ferry_core.api.spec import Ferry, Spec, ferry_uid
from tests.support.manifests import ferry_data


def valid(**spec: Any) -> Ferry:
    return Ferry.model_validate(ferry_data(**spec), by_alias=True, by_name=False)


def test_the_defaults_are_those_of_the_contract() -> None:
    spec = valid().spec
    assert spec.source.port == 3306
    assert spec.source.tls.mode == "Preferred"
    assert spec.source.credentials_secret_ref.username_key == "username"
    kinds = ("views", "routines", "triggers", "events", "sequences")
    assert spec.schema_.model_dump(mode="json") == {
        "create": "IfMissing",
        "engine": "Keep",
        "foreignKeys": "All",
        "onChange": "Fail",
        "onNewTable": "Ignore",
        "deferIndexes": True,
        "objects": dict.fromkeys(kinds, "Report") | {"definer": "Keep"},
    }
    assert spec.copy_.model_dump(mode="json") == {
        "workers": 4,
        "chunkTargetDuration": "500ms",
        "chunkTargetBytes": "8Mi",
    }
    assert set(spec.throttle.model_dump().values()) == {None}
    assert (spec.paused, spec.cutover.approved, spec.aborted) == (False, False, False)
    assert (spec.verify.mode, spec.verify.on_mismatch) == (VerifyMode.CONTINUOUS, OnMismatch.REPAIR)
    cutover = spec.cutover
    assert (cutover.mode, cutover.source_lock) == (CutoverMode.MANUAL, SourceLockMode.READ_ONLY)
    assert [float(span) for span in (cutover.max_lag, cutover.deadline, cutover.watch_for)] == [1, 10, 60]
    assert cutover.max_attempts == 5
    assert (spec.deletion_policy, spec.checkpoint.store) == ("Retain", "Target")
    assert spec.ttl_seconds_after_finished is None


def test_the_example_of_the_contract_is_read_whole() -> None:
    ferry = valid(
        source={
            "host": "orders-old.db",
            "port": 3306,
            "credentialsSecretRef": {"name": "orders-source"},
            "tls": {"mode": "VerifyIdentity", "secretRef": {"name": "orders-source-tls"}},
            "replicas": [{"host": "orders-old-r1.db", "port": 3306}],
        },
        tables={
            "include": ["shop.*"],
            "exclude": ["shop.tmp_*"],
            "renameSchemas": {"shop": "shop_v2"},
            "rules": [{"match": "shop.orders", "where": "tenant_id = 42", "target": "shop_42.orders"}],
        },
        schema={
            "create": "IfMissing",
            "engine": "InnoDB",
            "foreignKeys": "Selected",
            "onChange": "Fail",
            "onNewTable": "Ignore",
            "deferIndexes": True,
            "objects": {"views": "Create", "definer": "CurrentUser"},
        },
        throttle={
            "maxRowsPerSecond": 20000,
            "maxReplicaLag": "5s",
            "maxThreadsRunning": {"source": 40, "target": 60},
            "maxCommitLatency": "200ms",
            "query": "SELECT busy FROM ops.gate",
            "activeHours": "20:00-06:00 Europe/Berlin",
        },
        cutover={
            "mode": "Scheduled",
            "notBefore": "2026-12-01T02:00:00Z",
            "notAfter": "2026-12-01T04:00:00Z",
            "sourceLock": "Webhook",
            "webhooks": {"lock": {"url": "https://a/lock"}, "unlock": {"url": "https://a/unlock", "retries": 0}},
        },
        acknowledge=["JsonPrecision"],
        ttlSecondsAfterFinished=3600,
        checkpoint={"store": "Volume", "claimName": "orders"},
        copier={
            "logLevel": "Debug",
            "template": {"tolerations": [{"key": "db"}], "env": [{"name": "A", "value": "1"}]},
        },
    )
    assert ferry.spec.tables.rules[0].where == "tenant_id = 42"
    assert ferry.spec.cutover.webhooks is not None
    assert Ferry.model_validate_json(ferry.model_dump_json(by_alias=True), by_name=False) == ferry


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"target": {"host": "old.example", "credentialsSecretRef": {"name": "t"}}}, "the same server"),
        ({"cutover": {"mode": "Scheduled"}}, "needs notBefore"),
        ({"cutover": {"notBefore": "2026-12-01T04:00:00Z", "notAfter": "2026-12-01T02:00:00Z"}}, "must be before"),
        ({"cutover": {"sourceLock": "Webhook"}}, "needs webhooks.lock"),
        ({"cutover": {"sourceLock": "Webhook", "webhooks": {"lock": {"url": "http://a"}}}}, "needs webhooks.lock"),
        ({"cutover": {"mode": "Automatic", "approved": True}}, "belongs to mode Manual"),
        ({"cutover": {"deadline": "11m"}}, "from 1s to 10m"),
        ({"cutover": {"deadline": "999ms"}}, "from 1s to 10m"),
        ({"cutover": {"maxLag": "1h"}}, "from 100ms to 10m"),
        ({"copy": {"chunkTargetBytes": "1Ki"}}, "from 64Ki to 256Mi"),
        ({"verify": {"mode": "None"}}, r"acknowledge: \[Unverified\]"),
    ],
)
def test_rules_between_fields(spec: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        valid(**spec)


@pytest.mark.parametrize(
    "spec",
    [
        {"target": {"host": "old.example", "port": 3307, "credentialsSecretRef": {"name": "t"}}},
        {
            "target": {"host": "old.example", "credentialsSecretRef": {"name": "t"}},
            "tables": {"include": ["shop.*"], "renameSchemas": {"shop": "shop2"}},
        },
        {
            "target": {"host": "old.example", "credentialsSecretRef": {"name": "t"}},
            "tables": {"include": ["shop.a"], "rules": [{"match": "shop.a", "target": "shop.b"}]},
        },
        {"cutover": {"deadline": "1s"}},
        {"cutover": {"deadline": "10m"}},
        {"verify": {"mode": "None"}, "acknowledge": ["Unverified"]},
    ],
)
def test_specs_that_the_rules_accept(spec: dict[str, Any]) -> None:
    assert valid(**spec)


def test_a_long_name_is_refused() -> None:
    data = ferry_data()
    data["metadata"]["name"] = "x" * 53
    with pytest.raises(ValidationError, match="at most 52"):
        Ferry.model_validate(data)


def test_the_uid_is_the_clusters_or_derived_from_the_name() -> None:
    data = ferry_data()
    made = ferry_uid(Ferry.model_validate(data))
    assert made == ferry_uid(Ferry.model_validate(data))
    data["metadata"]["namespace"] = "other"
    assert ferry_uid(Ferry.model_validate(data)) != made
    data["metadata"]["uid"] = "4a7c"
    assert ferry_uid(Ferry.model_validate(data)) == "4a7c"


def models(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    if model not in seen:
        seen.add(model)
        yield model
        for field in model.model_fields.values():
            for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
                if isinstance(part, type) and issubclass(part, BaseModel):
                    yield from models(part, seen)


@pytest.mark.parametrize("model", list(models(Spec, set())) + list(models(Report, set())), ids=lambda one: one.__name__)
def test_every_field_has_a_description(model: type[BaseModel]) -> None:
    fields = model.model_json_schema()["properties"]
    assert fields.keys() == {field.alias for field in model.model_fields.values()}
    assert [name for name, field in fields.items() if not field.get("description")] == []


def unbounded(schema: dict[str, Any], path: str = "spec") -> Iterator[str]:
    kind = schema.get("type")
    if kind == "string" and not {"maxLength", "enum", "format", "const"} & schema.keys():
        yield path
    if kind == "array" and "maxItems" not in schema:
        yield path
    if kind == "object" and "additionalProperties" in schema and schema["additionalProperties"] is not False:
        if "maxProperties" not in schema:
            yield path
        return
    for name, inner in schema.get("properties", {}).items():
        yield from unbounded(inner, f"{path}.{name}")
    for inner in (*schema.get("anyOf", ()), *([schema["items"]] if kind == "array" else ())):
        yield from unbounded(inner, path)


def test_every_string_and_list_of_the_spec_is_bounded() -> None:
    definitions = Spec.model_json_schema()["$defs"]
    assert [place for name, schema in definitions.items() for place in unbounded(schema, name)] == []


def test_rules_and_bounds_are_in_the_schema_as_cel() -> None:
    schema = Ferry.model_json_schema()
    cutover = schema["$defs"]["Cutover"]
    rules = {entry["rule"] for entry in cutover["x-kubernetes-validations"]}
    assert "self.mode != 'Scheduled' || has(self.notBefore)" in rules
    assert len(rules) == 5
    assert cutover["properties"]["maxLag"]["x-kubernetes-validations"]
    assert cutover["properties"]["maxLag"]["default"] == "1s"
    assert schema["x-kubernetes-validations"][0]["fieldPath"] == ".metadata"


def test_a_directive_holds_every_changeable_field_and_survives_json() -> None:
    ferry = valid(paused=True, throttle={"maxRowsPerSecond": 5}, copy={"workers": 2}, cutover={"approved": True})
    directive = Directive.of(ferry.metadata.generation, ferry.spec)
    assert (directive.generation, directive.paused, directive.copy_.workers) == (1, True, 2)
    assert Directive.model_validate_json(directive.model_dump_json()) == directive
    assert "copy" in json.loads(directive.model_dump_json())


def test_a_report_survives_json_with_the_contracts_field_names() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    condition = ConditionReport(type="Verified", status="Unknown", reason="Running", last_transition_time=now)
    report = Report(stage=Stage.COPYING, conditions=[condition], revision=3)
    body = json.loads(report.model_dump_json())
    assert body["replication"]["lagSeconds"] is None
    assert body["conditions"][0]["lastTransitionTime"] == "2026-11-23T00:00:00Z"
    assert Report.model_validate_json(report.model_dump_json()) == report
    assert report.condition("Verified") == condition
    assert report.condition("Paused") is None
    assert set(Status.model_fields) | {"revision"} == set(Report.model_fields)


def test_a_table_report_has_the_contracts_fields() -> None:
    body = TableReport(name="a.b", target="a.b", state="Copying").model_dump()
    assert set(body) == {
        "name", "target", "state", "rowsEstimated", "rowsCopied", "bytesCopied", "percent", "pendingKeys",
        "rowsDiffering", "rowsRepaired",
    }  # fmt: skip
