"""Under an operator the resource is the only voice: what a verb would be as a patch of it. Called by ``routes``."""

import json
import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Managed:
    """Which Ferry resource this run belongs to."""

    namespace: str
    name: str

    def instead_of(self, verb: str, max_rows_per_second: int | None = None) -> str:
        """The kubectl line that does what ``verb`` means."""
        patches: dict[str, dict[str, object]] = {
            "pause": {"paused": True},
            "resume": {"paused": False},
            "throttle": {"throttle": {"maxRowsPerSecond": max_rows_per_second}},
            "cutover": {"cutover": {"approved": True}},
            "abort": {"aborted": True},
            # A copier that merely stops would be started again at once.
            "stop": {"paused": True},
            "verify": {"verify": {"mode": "Continuous"}},
        }
        patch = json.dumps({"spec": patches[verb]}, separators=(",", ":"))
        return f"kubectl patch ferry {self.name} -n {self.namespace} --type merge -p {shlex.quote(patch)}"
