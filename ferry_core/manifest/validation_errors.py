"""Turns a pydantic ValidationError into one clear line. Called by ``load``.

The most telling error is shown in full: a misspelt field explains the missing one beside it.
"""

import difflib
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from ferry_core.api.spec import Ferry
from ferry_core.errors import ConfigError
from ferry_core.manifest.documents import Document, FieldPath, describe
from ferry_core.reasons import Reason
from ferry_core.text import shortlist

_ORDER = ("extra_forbidden", "missing")

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping of fields",
    "model_attributes_type": "a mapping of fields",
}

FORMS = {
    r"^[^.].*\..*[^.]$": "schema.table, for example shop.* or shop.orders",
    r"^([^.`][^.]*|`([^`]|``)+`)\.([^.`][^.]*|`([^`]|``)+`)$": (
        "schema.table, for example shop.orders; a name that holds a dot stands in backticks, for example shop.`a.b`"
    ),
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$": (
        "lower-case letters, digits, - and ., a letter or digit first and last, for example orders-source"
    ),
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$": (
        "lower-case letters, digits and -, a letter or digit first and last, for example shop"
    ),
    r"^[-._a-zA-Z0-9]+$": "the name of a key of the Secret: letters, digits, -, _ and ., for example password",
    r"^/[^\x00-\x1f\x7f]+$": "an absolute path, for example /run/mysqld/mysqld.sock",
    r"^([^\s/@:]+|[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%[^\s/@:]+)?)$": (
        "a host name or address without port, brackets, spaces or scheme, for example db.example or 2001:db8::1"
    ),
    r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s]+$": (
        "a URL that begins with http:// or https:// and has no spaces, for example https://hooks.example/ferry"
    ),
    r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9] [A-Za-z0-9_+/-]+$": (
        "two times of day and a time zone, for example 20:00-06:00 Europe/Berlin"
    ),
}
"""What a text must be, by its pattern in the models. Durations and quantities say it themselves."""


def validation_error(error: ValidationError, document: Document, root: type[BaseModel] = Ferry) -> ConfigError:
    """The ConfigError for the most relevant problem, with up to three others."""
    problems: dict[FieldPath, tuple[Reason, str]] = {}
    for detail in sorted(error.errors(include_url=False), key=_weight):
        path = _path(detail)
        if detail["type"] != "missing" or not _is_misspelt(path, problems):
            problems.setdefault(path, _problem(detail, path, root))
    (path, (reason, problem)), *others = problems.items()
    also = [f"line {document.line_of(other)}: {text}" for other, (_, text) in others]
    more = f"; also wrong: {shortlist(also, 3, '; ')}" if also else ""
    return ConfigError(reason, f"{document.where(path)}: {problem}{more}")


def _is_misspelt(path: FieldPath, problems: dict[FieldPath, tuple[Reason, str]]) -> bool:
    """Whether an unknown field beside it seems to be this one."""
    return any(
        other[:-1] == path[:-1] and f"did you mean {path[-1]}?" in text for other, (_, text) in problems.items() if path
    )


def written(path: FieldPath) -> str:
    """``spec.tables.rules[0].match``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def nearest(word: str, known: list[str]) -> str:
    """``; did you mean x?`` if a similar name exists."""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower().replace("_", "").replace("-", ""), list(by_lower), n=1, cutoff=0.6)
    return f"; did you mean {by_lower[found[0]]}?" if found else ""


def _weight(detail: ErrorDetails) -> int:
    return _ORDER.index(detail["type"]) if detail["type"] in _ORDER else len(_ORDER)


def _path(detail: ErrorDetails) -> FieldPath:
    return tuple(step for step in detail["loc"] if step != "[key]")


def _problem(detail: ErrorDetails, path: FieldPath, root: type[BaseModel]) -> tuple[Reason, str]:
    kind, name, context = detail["type"], written(path), detail.get("ctx", {})
    shown: JsonValue = detail["input"]
    if kind == "extra_forbidden":
        return Reason.UNKNOWN_FIELD, f"{name}: no such field{_right_name(path, root)}"
    if kind == "missing":
        return Reason.MISSING_FIELD, f"{name} is required; add it"
    if kind == "rule":
        return Reason.RULE_VIOLATED, f"{name}: {detail['msg']}" if name else detail["msg"]
    if kind in _WANTED:
        return Reason.INVALID_FIELD, f"{name} must be {_WANTED[kind]}, not {describe(shown)}"
    if kind in ("enum", "literal_error"):
        expected = str(context["expected"])
        words = [word.strip("' ") for part in expected.split(" or ") for word in part.split(",")]
        hint = nearest(shown, words) if isinstance(shown, str) else ""
        return (
            Reason.INVALID_FIELD,
            f"{name} must be one of {expected.replace(chr(39), '')}, not {describe(shown)}{hint}",
        )
    shows_it = "" if kind in ("duration", "quantity") else f", and this is {describe(shown)}"
    return Reason.INVALID_FIELD, f"{name}: {_bound(kind, context, detail['msg'])}{shows_it}"


def _bound(kind: str, context: dict[str, object], message: str) -> str:
    if kind == "string_pattern_mismatch" and context.get("pattern") in FORMS:
        return f"must be {FORMS[str(context['pattern'])]}"
    if kind in ("string_too_short", "too_short") and context.get("min_length") == 1:
        return "must not be empty"
    limits = {
        "greater_than_equal": "must be at least {ge}",
        "less_than_equal": "must be at most {le}",
        "string_too_long": "may have at most {max_length} characters",
        "string_too_short": "must have at least {min_length} characters",
        "too_long": "may have at most {max_length} entries",
        "too_short": "must have at least {min_length} entries",
        "string_pattern_mismatch": "must have the form {pattern}",
        "timezone_aware": "must be a time with its zone, for example 2026-12-01T02:00:00Z",
    }
    if kind.startswith("datetime"):
        kind = "timezone_aware"
    return limits[kind].format_map(context) if kind in limits else message


def _right_name(path: FieldPath, root: type[BaseModel]) -> str:
    """A similar name in the same place, otherwise the place of a field with exactly this name."""
    wrong = str(path[-1])
    here = _model_at(path[:-1], root)
    names = [field.alias or name for name, field in here.model_fields.items()] if here else []
    hint = nearest(wrong, names)
    if hint:
        return hint
    elsewhere = [written(place) for place in _places(root) if place[-1] == wrong]
    if elsewhere:
        return f"; did you mean {elsewhere[0]}?"
    return f"; the fields here are {', '.join(sorted(names))}" if names and len(names) <= 20 else ""


def _model_at(path: FieldPath, root: type[BaseModel]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = root
    for step in path:
        if isinstance(step, int) or model is None:
            continue
        found = next((field for name, field in model.model_fields.items() if (field.alias or name) == step), None)
        model = _model_in(found.annotation) if found is not None else None
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, Annotated, Union, UnionType):
        return next((model for part in get_args(annotation) if (model := _model_in(part)) is not None), None)
    return None


def _places(model: type[BaseModel], above: FieldPath = ()) -> Iterator[FieldPath]:
    for name, field in model.model_fields.items():
        here = (*above, field.alias or name)
        yield here
        inner = _model_in(field.annotation)
        if inner is not None:
            yield from _places(inner, here)
