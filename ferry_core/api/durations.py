"""Durations (``500ms``, ``1h30m``) and byte quantities (``8Mi``) as the spec writes them.

A Duration is a float of seconds and a Quantity an int of bytes; both keep the text that the user wrote, so that it is
shown unchanged. They are defined here and not in the engine, because the CRD describes the same texts. Used by the
models of this package.
"""

import re
from dataclasses import dataclass
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

DURATION_PATTERN = r"^([0-9]+(ms|s|m|h))+$"
DURATION_MAX_LENGTH = 32
QUANTITY_PATTERN = r"^[0-9]+(Ki|Mi|Gi|k|M|G)?$"
QUANTITY_MAX_LENGTH = 20

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


class _Written:
    """A number that is shown as the user wrote it."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return (type(self), (self.text,))


class Duration(_Written, float):
    """Seconds, written as in Go and CEL: whole numbers with ``ms``, ``s``, ``m`` or ``h``."""

    def __new__(cls, text: str) -> Self:
        if len(text) > DURATION_MAX_LENGTH or not re.fullmatch(DURATION_PATTERN, text, re.ASCII):
            raise ValueError(
                f"{text!r} is not a duration: write whole numbers with ms, s, m or h, for example 500ms or 1h30m"
            )
        parts = re.findall(r"([0-9]+)(ms|s|m|h)", text)
        # Sum milliseconds as integers, so that a deadline never shows an error like 0.1 + 0.2.
        self = super().__new__(cls, sum(int(n) * round(_SECONDS[unit] * 1000) for n, unit in parts) / 1000)
        self.text = text
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return _text_schema(cls, "duration", "a duration as text, for example 500ms or 1h30m")

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": DURATION_PATTERN, "maxLength": DURATION_MAX_LENGTH}


class Quantity(_Written, int):
    """Bytes, written as in Kubernetes: a whole number, then nothing or ``Ki``, ``Mi`` and so on."""

    def __new__(cls, text: str) -> Self:
        match = re.fullmatch(r"([0-9]+)(Ki|Mi|Gi|k|M|G)?", text, re.ASCII)
        if len(text) > QUANTITY_MAX_LENGTH or match is None:
            raise ValueError(
                f"{text!r} is not a quantity: write a whole number of bytes with Ki, Mi or Gi, for example 8Mi"
            )
        self = super().__new__(cls, int(match[1]) * _BYTES[match[2] or ""])
        self.text = text
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return _text_schema(cls, "quantity", "a quantity of bytes as text, for example 8Mi")

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": QUANTITY_PATTERN, "maxLength": QUANTITY_MAX_LENGTH}


def _text_schema(kind: type[Duration] | type[Quantity], name: str, wanted: str) -> CoreSchema:
    def read(value: object) -> Duration | Quantity:
        if isinstance(value, kind):
            return value
        if not isinstance(value, str):
            raise PydanticCustomError(f"{name}_type", "must be {wanted}", {"wanted": wanted})
        try:
            return kind(value)
        except ValueError as error:
            raise PydanticCustomError(name, "{problem}", {"problem": str(error)}) from error

    return core_schema.no_info_plain_validator_function(
        read,
        serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema()),
    )


@dataclass(frozen=True)
class Between:
    """Inclusive bounds of a Duration or a Quantity: checked here, and written into the schema as CEL."""

    low: Duration | Quantity
    high: Duration | Quantity

    @property
    def message(self) -> str:
        return f"must be from {self.low} to {self.high}"

    @property
    def cel(self) -> str:
        """The same check for kube-apiserver."""
        if isinstance(self.low, Duration):
            return f"duration(self) >= duration('{self.low}') && duration(self) <= duration('{self.high}')"
        low, high = f"quantity('{self.low}')", f"quantity('{self.high}')"
        return f"quantity(self).compareTo({low}) >= 0 && quantity(self).compareTo({high}) <= 0"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def check(value: float) -> float:
            if not self.low <= value <= self.high:
                raise PydanticCustomError("out_of_bounds", "{problem}", {"problem": self.message})
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler(schema)
        described["x-kubernetes-validations"] = [{"rule": self.cel, "message": self.message}]
        return described
