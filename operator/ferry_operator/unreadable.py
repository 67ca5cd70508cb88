"""What the operator obeys of a spec that it cannot read: written by a newer version, or against a newer rule.

A pause, an abort and a withdrawn approval stop a running copier whatever else is in the spec. Nothing is started from
such a spec. Pure. Called by ``observe``, which decides what a spec says, and by ``act``, which sends it.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from ferry_core.api.cutover import Cutover
from ferry_core.api.directive import TOLD
from ferry_core.api.model import Model
from ferry_core.api.spec import Spec
from ferry_operator.names import Object

_TOLD = tuple(Spec.model_fields[name].alias or name for name in TOLD)
_SERVERS = {"source", "target", "checkpoint"}
"""An abort must reach what the copier reached: of these only unknown fields may be left out."""
_TRIES = 50
Parsed = TypeVar("Parsed", bound=Model)


def directive(generation: int, raw: Mapping[str, Any], *, held: bool) -> str:
    """The directive as the spec has it. The copier accepts it if it knows these fields; else it still obeys a pause, an
    abort and a withdrawn approval. ``held``: without any permission to cut over.
    """
    told: Object = {name: raw[name] for name in _TOLD if name in raw}
    return json.dumps(told | {"generation": generation} | ({"cutover": {}} if held else {}))


def aborted(raw: Mapping[str, Any]) -> bool:
    return raw.get("aborted") is True


def permits(raw: Mapping[str, Any]) -> bool:
    """Whether it permits a cutover. If that section cannot be read it does not."""
    try:
        return _parsed(Cutover, raw.get("cutover") or {}).permitted
    except ValidationError:
        return False


def for_abort(raw: Mapping[str, Any]) -> Spec | None:
    """The spec without the fields that cannot be read, if what remains names the same servers; for ``ferry abort``
    alone, which moves nothing.
    """
    known: Object = json.loads(json.dumps(raw))
    for _ in range(_TRIES):
        try:
            return _parsed(Spec, known)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            if not first["loc"] or (first["loc"][0] in _SERVERS and first["type"] != "extra_forbidden"):
                return None
            if not _left_out(known, first["loc"]):
                return None
    return None


def _left_out(known: Object, place: tuple[int | str, ...]) -> bool:
    """Remove the field at ``place``: with the whole list if it is in one. False: it is not there."""
    inner: Any = known
    for number, each in enumerate(place):
        last = number + 1 == len(place) or isinstance(inner.get(each), list)
        if each not in inner:
            return False
        if last:
            del inner[each]
            return True
        inner = inner[each]
    return False


def _parsed(model: type[Parsed], raw: object) -> Parsed:
    return model.model_validate_json(json.dumps(raw))
