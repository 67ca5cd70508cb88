"""The ControlServer's OpenAPI document, generated from the models of its answers. Used by ``routes``."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ferry_core.api.report import Report, TableReport

_ERROR = {
    "type": "object",
    "description": "Why not: a stable word and a sentence.",
    "required": ["reason", "message"],
    "properties": {"reason": {"type": "string"}, "message": {"type": "string"}},
}
_MESSAGE = {"type": "object", "properties": {"message": {"type": "string"}}}
_OK = {"type": "object", "properties": {"status": {"type": "string"}}}

VERBS = {
    "pause": "Stop moving rows; progress is kept, also over restarts.",
    "resume": "Move rows again.",
    "cutover": "Approve the cutover.",
    "abort": "End the run for good, allow writes on the source, keep the target. Refused after the cutover.",
    "stop": "Store the progress and end; a later start resumes from there.",
    "verify": "Verify now. Not supported yet.",
}


def _json(schema: Mapping[str, object]) -> dict[str, object]:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _operation(
    name: str, about: str, good: Mapping[str, object], body: Mapping[str, object] | None = None, *, open_: bool = False
) -> dict[str, object]:
    operation: dict[str, object] = {
        "operationId": name,
        "summary": about,
        "responses": {
            "200": {"description": "Done.", "content": good},
            "default": {"description": "Refused.", "content": _json(_ref("Error"))},
        },
    }
    if body is not None:
        operation["requestBody"] = {"content": _json(body), "required": name not in VERBS}
    if open_:
        operation["security"] = []
    return operation


def document(models: Mapping[str, type[BaseModel]]) -> dict[str, object]:
    """``models`` are those of the request bodies. The models of the answers are listed here."""
    return _document(tuple(models.items()))


@cache
def _document(bodies: tuple[tuple[str, type[BaseModel]], ...]) -> dict[str, object]:
    models: list[type[BaseModel]] = [Report, TableReport, *(model for _, model in bodies)]
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas: dict[str, Any] = dict(definitions["$defs"])
    schemas["Error"] = _ERROR
    return {
        "openapi": "3.1.0",
        "info": {"title": "mysql-ferry ControlServer", "version": version("mysql-ferry")},
        "security": [{"token": []}],
        "paths": _paths(),
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _paths() -> dict[str, object]:
    status = _operation("status", "The run's status; with wait and since, once it is newer.", _json(_ref("Report")))
    status["parameters"] = [
        _query("wait", "How long to wait for a newer report, for example 30s; at most 1m.", "string"),
        _query("since", "The revision that the caller knows.", "integer"),
        _query("only", "news: changed numbers alone are not waited for.", "string"),
    ]
    tables = {"type": "object", "properties": {"tables": {"type": "array", "items": _ref("TableReport")}}}
    acknowledged = {"type": "object", "properties": {"acknowledgedGeneration": {"type": "integer"}}}
    text = {"type": "string"}
    paths: dict[str, object] = {
        "/api/v1/status": {"get": status},
        "/api/v1/tables": {"get": _operation("tables", "Every selected table.", _json(tables))},
        "/api/v1/throttle": {
            "post": _operation("throttle", "Change the cap of rows a second.", _json(_MESSAGE), _ref("NewThrottle"))
        },
        "/api/v1/directive": {
            "put": _operation(
                "directive",
                "All changeable settings of the spec at one generation. Idempotent; an older generation is ignored.",
                _json(acknowledged),
                _ref("Directive"),
            )
        },
        "/metrics": {"get": _operation("metrics", "Metrics for prometheus.", {"text/plain": {"schema": text}})},
        "/healthz": {"get": _operation("healthz", "Whether the run is alive.", _json(_OK), open_=True)},
        "/readyz": {"get": _operation("readyz", "Whether it was validated and works.", _json(_OK), open_=True)},
        "/openapi.json": {"get": _operation("openapi", "This document.", _json({"type": "object"}))},
        "/": {"get": _operation("page", "A page for people.", {"text/html": {"schema": text}}, open_=True)},
    }
    for verb, about in VERBS.items():
        paths[f"/api/v1/{verb}"] = {"post": _operation(verb, about, _json(_MESSAGE), {"type": "object"})}
    return paths


def _query(name: str, about: str, kind: str) -> dict[str, object]:
    return {"name": name, "in": "query", "description": about, "schema": {"type": kind}}
