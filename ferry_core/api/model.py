"""Base class of every model of the API: strict types, camelCase names in documents, no unknown fields.

A rule is written once: a Python predicate, the same check as CEL for kube-apiserver, and one message for both. Used by
the other modules of this package.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError


@dataclass(frozen=True)
class Rule:
    """A condition on the fields of one model."""

    cel: str | None
    """None: only for manifests that are read outside a cluster."""
    message: str
    holds: Callable[[Any], bool]
    field_path: str | None = None


class Model(BaseModel):
    """Frozen and strict: ``port: "3306"`` is an error here as it is in kube-apiserver."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )
    RULES: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        for rule in self.RULES:
            if not rule.holds(self):
                raise PydanticCustomError("rule", "{problem}", {"problem": rule.message})
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler.resolve_ref_schema(handler(schema))
        properties = described.get("properties", {})
        for name, text in _attribute_docstrings(cls).items():
            properties[cls.model_fields[name].alias or name]["description"] = " ".join(text.split())
        if cls.RULES:
            described["x-kubernetes-validations"] = [
                _described(rule.cel, rule) for rule in cls.RULES if rule.cel is not None
            ]
        return described


def _attribute_docstrings(model: type[Model]) -> dict[str, str]:
    """The string below each field. pydantic can read them too, but does it at each import: 0.06 s of each command."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if not issubclass(each, Model) or each is Model:
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        assert isinstance(body, ast.ClassDef)
        for field, below in pairwise(body.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = text
    return {name: text for name, text in found.items() if name in model.model_fields}


def _described(cel: str, rule: Rule) -> dict[str, str]:
    validation = {"rule": cel, "message": rule.message}
    return validation | ({"fieldPath": rule.field_path} if rule.field_path else {})
