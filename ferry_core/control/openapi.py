"""The ControlServer's OpenAPI document, generated from its table of routes. Used by ``routes``."""

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ferry_core.api.control import Error, TableChanges
from ferry_core.control.route import Query, Route


def document(routes: Iterable[Route]) -> dict[str, object]:
    """Describe ``routes`` and every model that they name."""
    table = list(routes)
    # TableChanges is the data of an event, which no answer names.
    models: dict[type[BaseModel], None] = {Error: None, TableChanges: None}
    for route in table:
        models |= dict.fromkeys(each for each in (route.answer, route.body) if isinstance(each, type))
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas: dict[str, Any] = dict(definitions["$defs"])
    paths: dict[str, dict[str, object]] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "mysql-ferry ControlServer", "version": version("mysql-ferry")},
        "security": [{"token": []}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(route: Route) -> dict[str, object]:
    operation: dict[str, object] = {
        "operationId": route.name,
        "summary": route.about,
        "responses": {
            "200": {"description": "Done.", "content": _content(route.answer)},
            "default": {"description": "Refused.", "content": _content(Error)},
        },
    }
    if route.query:
        operation["parameters"] = [_parameter(each) for each in route.query]
    if route.body is not None:
        operation["requestBody"] = {"content": _content(route.body), "required": route.body_required}
    if route.public:
        operation["security"] = []
    return operation


def _content(answer: type[BaseModel] | str) -> dict[str, object]:
    if isinstance(answer, str):
        schema = {"type": "object"} if answer == "application/json" else {"type": "string"}
        return {answer: {"schema": schema}}
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer.__name__}"}}}


def _parameter(query: Query) -> dict[str, object]:
    return {"name": query.name, "in": "query", "description": query.about, "schema": query.schema}
