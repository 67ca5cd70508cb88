"""``kubectl ferry tables``: the progress of each table, from the copier. Called by ``main``."""

import json
from collections.abc import Sequence
from typing import Any

from kubectl_ferry.copier import forwarded
from kubectl_ferry.kubectl import Kubectl, Object
from kubectl_ferry.texts import columns, count, size

_HEADER = ("TABLE", "TARGET", "STATE", "%", "ROWS", "OF ABOUT", "BYTES", "PENDING KEYS", "DIFFERED", "REPAIRED")


def tables(kubectl: Kubectl, name: str, *, as_json: bool) -> int:
    found = tables_of(kubectl, kubectl.ferry(name))
    print(json.dumps(found, indent=2) if as_json else "\n".join(drawn(found)))
    return 0


def tables_of(kubectl: Kubectl, ferry: Object) -> list[Object]:
    with forwarded(kubectl, ferry) as copier:
        answer: Any = copier.json("/api/v1/tables")
    found: list[Object] = answer["tables"] if isinstance(answer, dict) else answer
    return found


def drawn(found: Sequence[Object]) -> list[str]:
    """One line for each table."""
    rows = [
        (
            each["name"],
            "same" if each["target"] == each["name"] else each["target"],
            each["state"],
            f"{each.get('percent', 0):.0f}",
            count(each.get("rowsCopied", 0)),
            count(each.get("rowsEstimated", 0)),
            size(each.get("bytesCopied", 0)),
            count(each.get("pendingKeys", 0)),
            count(each.get("rowsDiffering", 0)),
            count(each.get("rowsRepaired", 0)),
        )
        for each in found
    ]
    return columns(_HEADER, rows, right=frozenset(range(3, 10)))
