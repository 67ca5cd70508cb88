"""Generates deploy/crds/ferries.yaml, the CustomResourceDefinition, from the models.

``python -m ferry_core.api.crd`` prints it; a test compares the output with the committed file. This module adds the
rules about a change from one spec to the next, because a model sees one object at a time.
"""

import sys
from collections.abc import Mapping
from typing import Any

import yaml

from ferry_core.api.choices import CutoverMode
from ferry_core.api.report import Stage, Status
from ferry_core.api.spec import Ferry

Schema = dict[str, Any]

GROUP, VERSION = "mysqlferry.io", "v1alpha1"
KIND, PLURAL, SINGULAR, SHORT = "Ferry", "ferries", "ferry", "fy"

HEAD = "# Made from the models: python -m ferry_core.api.crd > deploy/crds/ferries.yaml\n"

_NO_SOCKET = (
    "a copier in a Pod cannot open a socket of another machine: give host instead, or move with ferry run on the "
    "server's machine"
)

_KEPT = (
    "type", "description", "enum", "pattern", "format", "minimum", "maximum", "minLength", "maxLength",
    "minItems", "maxItems", "maxProperties", "x-kubernetes-validations",
)  # fmt: skip


def definition() -> Schema:
    """The whole CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": SINGULAR,
                "shortNames": [SHORT],
                "categories": ["mysqlferry"],
            },
            "conversion": {"strategy": "None"},
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": schema()},
                    "subresources": {"status": {}},
                }
            ],
        },
    }


def schema() -> Schema:
    """The structural schema of a Ferry."""
    described = Ferry.model_json_schema()
    root = _structural(described, described["$defs"])
    spec = root["properties"]["spec"]
    status = Status.model_json_schema()
    root["properties"] = {
        "apiVersion": {"type": "string", "description": "Version of this resource."},
        "kind": {"type": "string", "description": "Kind of this resource."},
        "metadata": {"type": "object"},
        "spec": spec,
        "status": _status(_structural(status, status["$defs"], defaults=False)),
    }
    root["required"] = ["spec"]
    root["x-kubernetes-validations"] += _changes()
    _refuse_sockets(spec["properties"])
    spec["properties"]["aborted"]["x-kubernetes-validations"] = [
        {"rule": "self || !oldSelf", "message": "aborted cannot be undone: create a new Ferry to move again"}
    ]
    return root


def _refuse_sockets(spec: Mapping[str, Schema]) -> None:
    """Only a run outside the cluster can open a socket."""
    source, target = (spec[end]["properties"] for end in ("source", "target"))
    servers = (
        spec["source"],
        spec["target"],
        source["primary"],
        source["replicas"]["items"],
        target["replicas"]["items"],
    )
    for server in servers:
        server["x-kubernetes-validations"] = [
            {"rule": "!has(self.socket)", "message": _NO_SOCKET, "fieldPath": ".socket"},
            {"rule": "has(self.host) || has(self.socket)", "message": "host is required", "fieldPath": ".host"},
        ]


def _wanted(ferry: str) -> str:
    return f"({ferry}.spec.cutover.mode != '{CutoverMode.MANUAL}' || {ferry}.spec.cutover.approved)"


def _changes() -> list[Schema]:
    """Rules about what may change from one state of the object to the next."""
    early = " || ".join(
        (
            "!has(oldSelf.status)",
            "!has(oldSelf.status.stage)",
            f"oldSelf.status.stage in ['{Stage.PENDING}','{Stage.VALIDATING}']",
        )
    )
    return [
        {
            "rule": "!(self.spec.aborted && !oldSelf.spec.aborted) || !has(self.status) || "
            "!has(self.status.conditions) || "
            "!self.status.conditions.exists(c, c.type == 'CutOver' && c.status == 'True')",
            "message": "this Ferry was already cut over: there is nothing to abort",
            "fieldPath": ".spec.aborted",
        },
        {
            "rule": f"{_wanted('self')} || !{_wanted('oldSelf')} || !has(self.status) || "
            f"!has(self.status.stage) || !(self.status.stage in ['{Stage.CUTTING_OVER}','{Stage.COMPLETED}'])",
            "message": "the cutover is running or done: its approval can no longer be withdrawn",
            "fieldPath": ".spec.cutover",
        },
        *(
            {
                "rule": f"{early} || {unless}self.spec.{field} == oldSelf.spec.{field}",
                "message": f"spec.{field} cannot change once the Ferry is validated: create a new Ferry instead",
                "fieldPath": f".spec.{field}",
            }
            for field, unless in (
                ("tables", ""),
                ("source.host", "!has(self.spec.source.host) || "),  # refused by its own rule
                ("source.port", ""),
                ("target.host", "!has(self.spec.target.host) || "),
                ("target.port", ""),
                ("checkpoint", ""),
            )
        ),
    ]


def _columns() -> list[Schema]:
    def condition(kind: str) -> str:
        return f'.status.conditions[?(@.type=="{kind}")].status'

    def column(name: str, kind: str, path: str, description: str = "", *, wide: bool = False) -> Schema:
        result: Schema = {"name": name, "type": kind, "jsonPath": path}
        result |= {"description": description} if description else {}
        return result | {"priority": 1} if wide else result

    return [
        column("Phase", "string", ".status.phase"),
        column("Progress", "number", ".status.progress.percent", "Rows copied, in percent."),
        column("Lag", "number", ".status.replication.lagSeconds", "In seconds."),
        column("Paused", "boolean", ".spec.paused"),
        column("Ready-To-Cut", "string", condition("ReadyForCutover")),
        column("Source", "string", ".spec.source.host", wide=True),
        column("Target", "string", ".spec.target.host", wide=True),
        column("ETA", "string", ".status.progress.estimatedCompletionTime", "When the copy should be done.", wide=True),
        column("Tables", "integer", ".status.progress.tablesTotal", wide=True),
        column("Copier", "string", ".status.copier.podName", wide=True),
        column("Throttled", "string", condition("Throttled"), wide=True),
        column("Message", "string", ".status.message", wide=True),
        column("Age", "date", ".metadata.creationTimestamp"),
    ]


def _structural(field: Schema, definitions: Mapping[str, Schema], *, defaults: bool = True) -> Schema:
    """A pydantic schema in the form that kube-apiserver accepts: no references, no null, no titles."""
    inner = _resolved(field, definitions)
    result: Schema = {key: field.get(key, inner.get(key)) for key in _KEPT if key in field or key in inner}
    if "description" in result:
        result["description"] = " ".join(result["description"].split())
    if inner.get("type") == "integer":
        result["format"] = "int64"
    if defaults and field.get("default") is not None:
        result["default"] = _without_null(field["default"])
    return result | _inside(inner, definitions, defaults=defaults)


def _inside(inner: Schema, definitions: Mapping[str, Schema], *, defaults: bool) -> Schema:
    """Schemas of the items of a list, of the fields of a model or of the values of a mapping."""

    def structural(field: Schema) -> Schema:
        return _structural(field, definitions, defaults=defaults)

    if inner.get("type") == "array":
        return {"items": structural(inner["items"])}
    if "properties" in inner:
        properties = {name: structural(each) for name, each in inner["properties"].items()}
        return {"properties": properties} | ({"required": inner["required"]} if inner.get("required") else {})
    if inner.get("type") != "object":
        return {}
    values = _resolved(inner["additionalProperties"], definitions)
    if "type" in values:
        return {"additionalProperties": structural(values)}
    return {"x-kubernetes-preserve-unknown-fields": True}


def _resolved(field: Schema, definitions: Mapping[str, Schema]) -> Schema:
    if "$ref" in field:
        return _resolved(definitions[field["$ref"].rpartition("/")[2]], definitions)
    options = [option for option in field.get("anyOf", ()) if option.get("type") != "null"]
    return _resolved(options[0], definitions) if len(options) == 1 else field


def _without_null(value: Any) -> Any:
    """Remove null from the alternatives: an absent field means the same, and kube-apiserver accepts only that."""
    if isinstance(value, dict):
        return {name: _without_null(each) for name, each in value.items() if each is not None}
    return value


def _status(status: Schema) -> Schema:
    """The status: several writers may own conditions. No text is an enum, because an enum cannot be extended later."""
    conditions = status["properties"]["conditions"]
    conditions["x-kubernetes-list-type"] = "map"
    conditions["x-kubernetes-list-map-keys"] = ["type"]
    return status


class _Plain(yaml.SafeDumper):
    """YAML without anchors, for kubectl and for readers."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def page() -> str:
    """The text of the file."""
    text = yaml.dump(definition(), Dumper=_Plain, sort_keys=False, width=4096, allow_unicode=True)
    return HEAD + str(text)


if __name__ == "__main__":
    sys.stdout.write(page())
