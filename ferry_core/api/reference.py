"""Generates docs/reference.md: every field of spec and status with type, default, bounds and meaning, and every rule.

The page is generated from the models, so it always describes what is accepted. ``python -m ferry_core.api.reference``
prints it; a test compares the output with the committed page.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

from ferry_core.api.report import Status
from ferry_core.api.spec import Ferry

Schema = dict[str, Any]

HEAD = """# Reference: the Ferry resource

This page is made from the models: `python -m ferry_core.api.reference > docs/reference.md`.
`*` after a name: required. Durations are whole numbers with `ms`, `s`, `m` or `h`, for example `500ms` or `1h30m`;
quantities are whole numbers of bytes with `Ki`, `Mi` or `Gi`, for example `8Mi`. A field or value
that is not on this page is refused, and the message names it.
"""

STATUS = """## Status

The operator writes it; `GET /api/v1/status` of a run has the same fields. A value that is not known is missing, in the
API `null`, never 0. `*`: always there. What the values mean: [conditions](conditions.md).

| field | type | meaning |
|---|---|---|"""


def page() -> str:
    """The whole page."""
    schema = Ferry.model_json_schema()
    definitions: Schema = schema["$defs"]
    spec = _resolved(schema["properties"]["spec"], definitions)
    lines = [HEAD, "## Fields", "", "| field | type | default | bounds | meaning |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in _rows(spec, "spec", definitions)]
    lines += ["", "## Rules between fields", "", "| at | message |", "|---|---|"]
    lines += [f"| `{place}` | {_escaped(message)} |" for place, message in _rules(schema, "", definitions)]
    lines += ["", STATUS]
    status = Status.model_json_schema()
    for place, kind, *_, meaning in _rows(status, "status", status["$defs"]):
        lines.append(f"| {' | '.join(_escaped(cell) for cell in (place, kind, meaning))} |")
    return "\n".join(lines) + "\n"


def _rows(model: Schema, above: str, definitions: Schema) -> Iterator[tuple[str, str, str, str, str]]:
    for name, field in model["properties"].items():
        inner = _resolved(field, definitions)
        place = f"{above}.{name}" + ("[]" if _items(inner, definitions) else "")
        star = "*" if name in model.get("required", ()) else ""
        # Where a field has the same description as its model, print it once.
        meaning = field.get("description") or " ".join(inner.get("description", "").split())
        nested = _items(inner, definitions) or (inner if "properties" in inner else None)
        if nested is None:
            yield f"`{place}`{star}", _type(inner, definitions), _default(field), _bounds(inner), meaning
        else:
            yield f"`{place}`{star}", "list" if nested is not inner else "", "", _bounds(inner), meaning
            yield from _rows(nested, place, definitions)


def _rules(model: Schema, place: str, definitions: Schema) -> Iterator[tuple[str, str]]:
    for rule in model.get("x-kubernetes-validations", ()):
        if "properties" in model:  # bounds of single fields have a column of their own
            yield place or "(root)", rule["message"]
    for name, field in model.get("properties", {}).items():
        inner = _resolved(field, definitions)
        yield from _rules(inner, f"{place}.{name}".lstrip("."), definitions)


def _resolved(field: Schema, definitions: Schema) -> Schema:
    """The schema with ``$ref`` resolved, and without the null of an optional field."""
    if "$ref" in field:
        found: Schema = definitions[field["$ref"].rpartition("/")[2]]
        return found
    options = [option for option in field.get("anyOf", ()) if option.get("type") != "null"]
    return _resolved(options[0], definitions) if len(options) == 1 else field


def _items(field: Schema, definitions: Schema) -> Schema | None:
    """The model of a list's items."""
    inner = _resolved(field["items"], definitions) if field.get("type") == "array" else {}
    return inner if "properties" in inner else None


def _type(field: Schema, definitions: Schema) -> str:
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    if field.get("type") == "array":
        items = _resolved(field["items"], definitions)
        return f"list of {_type(items, definitions)}"
    if field.get("type") == "object":
        return "mapping"
    kinds = {"ms": "duration", "Ki": "quantity"}
    by_pattern = next((kind for mark, kind in kinds.items() if f"({mark}|" in field.get("pattern", "")), None)
    return by_pattern or ("time" if field.get("format") == "date-time" else str(field.get("type", "")))


def _default(field: Schema) -> str:
    default = field.get("default")
    return "" if default is None or default in ([], {}, "") else f"`{json.dumps(default).strip(chr(34))}`"


def _bounds(field: Schema) -> str:
    texts = [rule["message"].removeprefix("must be ") for rule in field.get("x-kubernetes-validations", ())]
    if "properties" in field:
        return ""
    words = {
        "minimum": "at least {}",
        "maximum": "at most {}",
        "maxLength": "at most {} characters",
        "minItems": "at least {}",
        "maxItems": "at most {}",
        "maxProperties": "at most {}",
    }
    is_number_text = "(ms|" in field.get("pattern", "") or "(Ki|" in field.get("pattern", "")
    for key, text in words.items():
        if key in field and not (is_number_text and key == "maxLength"):
            texts.append(text.format(field[key]))
    return ", ".join(texts)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
