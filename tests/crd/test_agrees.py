"""The committed CRD equals the one generated from the models, and describes every field as the models do."""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
import yaml
from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ferry_core.api import crd
from ferry_core.api.report import Status
from ferry_core.api.spec import Spec
from tests.support.kube_api import CRD

Schema = dict[str, Any]


@pytest.fixture(scope="module")
def root() -> Schema:
    (version,) = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def test_the_committed_file_is_current() -> None:
    assert CRD.read_text() == crd.page(), "run: python -m ferry_core.api.crd > deploy/crds/ferries.yaml"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, optional or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is dict:
        return None
    return next((found for each in get_args(annotation) if (found := _model_in(each)) is not None), None)


def _fields(model: type[BaseModel], place: str) -> Iterator[tuple[str, FieldInfo, type[BaseModel]]]:
    """Every field of a model and of the models in it, with its place in the schema."""
    for name, field in model.model_fields.items():
        alias = field.alias or name
        inner = _model_in(field.annotation)
        yield f"{place}.{alias}", field, model
        if inner is not None:
            yield from _fields(inner, f"{place}.{alias}")


def _at(root: Schema, place: str) -> Schema:
    found = root
    for name in place.split("."):
        found = found.get("items", found)["properties"][name]
    return found


def _places(schema: Schema, place: str) -> Iterator[str]:
    inner = schema.get("items", schema)
    for name, each in inner.get("properties", {}).items():
        yield f"{place}.{name}"
        yield from _places(each, f"{place}.{name}")


@pytest.mark.parametrize(("model", "place"), [(Spec, "spec"), (Status, "status")])
def test_the_same_fields_are_known(root: Schema, model: type[BaseModel], place: str) -> None:
    known = {where for where, _, _ in _fields(model, place)}
    described = set(_places(root["properties"][place], place))
    print(f"{len(known)} fields of {place}")
    assert described == known


def test_every_field_of_the_spec_has_its_default_and_is_required_or_optional(root: Schema) -> None:
    for place, field, _ in _fields(Spec, "spec"):
        said = _at(root, place)
        above, _, name = place.rpartition(".")
        holder = root["properties"]["spec"] if above == "spec" else _at(root, above)
        required = holder.get("items", holder).get("required", [])
        assert (name in required) == field.is_required(), place
        if field.is_required() or field.default is None:
            assert "default" not in said, place
        elif isinstance(field.default, BaseModel):
            filled = field.default.model_dump(mode="json", by_alias=True, exclude_none=True)
            assert said["default"] == filled, place
        else:
            plain = field.default if isinstance(field.default, bool | list | dict) else str(field.default)
            assert said["default"] in (plain, field.default), place


def test_every_field_of_the_spec_has_its_bounds(root: Schema) -> None:
    words = {Ge: ("minimum", "ge"), Le: ("maximum", "le")}
    seen = 0
    for place, field, _ in _fields(Spec, "spec"):
        said = _at(root, place)
        for bound in field.metadata:
            if isinstance(bound, Ge | Le):
                key, attribute = words[type(bound)]
                assert said[key] == getattr(bound, attribute), place
                seen += 1
            elif isinstance(bound, MaxLen | MinLen):
                low = isinstance(bound, MinLen)
                kind = {"string": "Length", "array": "Items", "object": "Properties"}[said["type"]]
                expected = bound.min_length if isinstance(bound, MinLen) else bound.max_length
                assert said[f"{'min' if low else 'max'}{kind}"] == expected, place
                seen += 1
    assert seen > 20


def test_the_status_has_no_defaults(root: Schema) -> None:
    for place in _places(root["properties"]["status"], "status"):
        assert "default" not in _at(root, place), place


def _leaves(schema: Schema, place: str) -> Iterator[tuple[str, Schema]]:
    yield place, schema
    for name, each in schema.get("properties", {}).items():
        yield from _leaves(each, f"{place}.{name}")
    if "items" in schema:
        yield from _leaves(schema["items"], f"{place}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _leaves(schema["additionalProperties"], f"{place}{{}}")


def test_everything_in_the_spec_is_bounded_and_described(root: Schema) -> None:
    for place, said in _leaves(root["properties"]["spec"], "spec"):
        if not place.endswith(("[]", "{}")):
            assert said.get("description"), place
        match said["type"]:
            case "string":
                assert "maxLength" in said or "enum" in said or said.get("format") == "date-time", place
            case "array":
                assert "maxItems" in said, place
            case "object" if "properties" not in said:
                assert "maxProperties" in said, place
