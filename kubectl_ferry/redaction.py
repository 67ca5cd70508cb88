"""Removes secrets and values of rows from what goes into a support bundle. Pure; used by ``report``.

Messages name the keys of rows that differ, and servers quote values in their errors. Rather too much is removed than
too little.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from kubectl_ferry.kubectl import Object

_LEFT_OUT = "(left out)"
# From the first opening quote to the last closing one: a value may itself contain quotes. An apostrophe in prose
# follows a letter and is followed by one.
_SINGLE = re.compile(r"(?<![^\W_])'.*'(?![^\W_])", re.DOTALL)
_DOUBLE = re.compile(r'(?<![^\W_])".*"(?![^\W_])', re.DOTALL)
_HEX = re.compile(r"\b0[xX][0-9a-fA-F]+")
_COMPARED = re.compile(r"([\w`]\s*(?:=|<=>|<>|!=)\s*)[-+]?[\w.+-]*\d[\w.+:-]*")
_SQL_LISTS = re.compile(r"(\b(?:IN|VALUES)\s*\().*?\)", re.IGNORECASE | re.DOTALL)
_OWN = "mysqlferry.io/"


class Redaction:
    """For one Ferry: what its spec contains is removed wherever it appears."""

    def __init__(self, ferry: Object) -> None:
        self._texts = sorted({text for text in _sensitive(ferry["spec"]) if text}, key=len, reverse=True)

    def text(self, text: str) -> str:
        for each in self._texts:
            text = text.replace(each, _LEFT_OUT)
        text = _SINGLE.sub(f"'{_LEFT_OUT}'", text)
        text = _DOUBLE.sub(f'"{_LEFT_OUT}"', text)
        text = _SQL_LISTS.sub(rf"\1{_LEFT_OUT})", text)
        return _COMPARED.sub(rf"\1{_LEFT_OUT}", _HEX.sub(_LEFT_OUT, text))

    def log(self, text: str) -> str:
        """A log of JSON lines, or of any others."""
        return "\n".join(self._line(line) for line in text.splitlines())

    def _line(self, line: str) -> str:
        try:
            fields = json.loads(line)
        except ValueError:
            return self.text(line)
        if not isinstance(fields, dict):
            return self.text(line)
        return json.dumps({name: self.value(value) for name, value in fields.items()})

    def value(self, value: Any) -> Any:
        """Each text within ``value``."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.value(each) for key, each in value.items()}
        return [self.value(each) for each in value] if isinstance(value, list) else value

    def ferry(self, ferry: Object) -> Object:
        return {
            "metadata": _metadata(ferry["metadata"]),
            "spec": _spec(ferry["spec"]),
            "status": self.value(ferry.get("status", {})),
        }

    def pod(self, pod: Object) -> Object:
        """A Pod without the values of its environment."""
        spec = {key: value for key, value in pod["spec"].items() if key not in ("containers", "initContainers")}
        containers = [
            {**each, "env": [{"name": one["name"]} for one in each.get("env", ())]}
            for each in pod["spec"]["containers"]
        ]
        return {
            "metadata": _metadata(pod["metadata"]),
            "spec": spec | {"containers": containers},
            "status": self.value(pod.get("status", {})),
        }

    def event(self, event: Object) -> Object:
        kept = ("type", "reason", "eventTime", "firstTimestamp", "lastTimestamp", "count", "action")
        note = event.get("message") or event.get("note") or ""
        about: Object = event.get("involvedObject") or event.get("regarding") or {}
        return {key: event[key] for key in kept if event.get(key)} | {
            "about": f"{about.get('kind')}/{about.get('name')}",
            "message": self.text(note),
        }


def _metadata(meta: Object) -> Object:
    """Without what was applied last, which repeats the whole spec, and annotations of others."""
    own = {key: value for key, value in meta.get("annotations", {}).items() if key.startswith(_OWN)}
    kept = ("name", "namespace", "uid", "generation", "creationTimestamp", "deletionTimestamp", "finalizers", "labels")
    return {key: meta[key] for key in kept if key in meta} | {"annotations": own}


def _spec(spec: Object) -> Object:
    """Row filters, queries, URLs and environment may hold values and passwords: only that they are there is kept."""
    copied: Object = json.loads(json.dumps(spec))
    for rule in copied.get("tables", {}).get("rules", ()):
        if "where" in rule:
            rule["where"] = _LEFT_OUT
    if copied.get("throttle", {}).get("query"):
        copied["throttle"]["query"] = _LEFT_OUT
    for hook in _hooks(copied):
        hook["url"] = urlsplit(hook["url"]).hostname or _LEFT_OUT
    template = copied.get("copier", {}).get("template", {})
    for each in template.get("env", ()):
        if "value" in each:
            each["value"] = _LEFT_OUT
    template.pop("metadata", None)
    return copied


def _hooks(spec: Object) -> list[Object]:
    """Everything in the spec that has a URL."""
    hooks = [*(spec.get("cutover", {}).get("webhooks") or {}).values(), *spec.get("notifications", ())]
    return [hook for hook in hooks if isinstance(hook, dict) and "url" in hook]


def _sensitive(spec: Object) -> Iterator[str]:
    for rule in spec.get("tables", {}).get("rules", ()):
        yield rule.get("where", "")
    yield spec.get("throttle", {}).get("query") or ""
    for hook in _hooks(spec):
        yield hook["url"]
    for each in spec.get("copier", {}).get("template", {}).get("env", ()):
        value = each.get("value", "")
        yield value if len(value) > 3 else ""  # "1" or "on" would remove more than a password
