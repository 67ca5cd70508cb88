"""Under an operator only the resource controls a run.

This module says which patch does what a verb would. Used by ``routes``.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Managed:
    """The Ferry resource that this run belongs to."""

    namespace: str
    name: str

    def instead_of(self, verb: str, spec: Mapping[str, object] | None = None) -> str:
        """The kubectl command that does what ``verb`` would. ``spec``: its own patch, if it depends on more."""
        patches: dict[str, Mapping[str, object]] = {
            "pause": {"paused": True},
            "resume": {"paused": False},
            "cutover": {"cutover": {"approved": True}},
            "abort": {"aborted": True},
            # The operator would restart a copier that merely stops.
            "stop": {"paused": True},
        }
        patch = json.dumps({"spec": patches[verb] if spec is None else spec}, separators=(",", ":"))
        return f"kubectl patch ferry {self.name} -n {self.namespace} --type merge -p {shlex.quote(patch)}"
