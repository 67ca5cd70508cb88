"""Under an operator only the resource controls a run.

This module says which patch does what a verb would. Used by ``routes``.
"""

import json
import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Managed:
    """The Ferry resource that this run belongs to."""

    namespace: str
    name: str

    def instead_of(self, verb: str, max_rows_per_second: int | None = None) -> str:
        """The kubectl command that does what ``verb`` would."""
        patches: dict[str, dict[str, object]] = {
            "pause": {"paused": True},
            "resume": {"paused": False},
            "throttle": {"throttle": {"maxRowsPerSecond": max_rows_per_second}},
            "cutover": {"cutover": {"approved": True}},
            "abort": {"aborted": True},
            # The operator would restart a copier that merely stops.
            "stop": {"paused": True},
            "verify": {"verify": {"mode": "Continuous"}},
        }
        patch = json.dumps({"spec": patches[verb]}, separators=(",", ":"))
        return f"kubectl patch ferry {self.name} -n {self.namespace} --type merge -p {shlex.quote(patch)}"
