"""Completion of ``kubectl ferry``, in every shell that kubectl itself completes in.

kubectl starts ``kubectl_complete-ferry`` from the PATH with the words typed so far. It prints a line for each proposal,
and at last a directive for the shell. Called by ``kubectl_complete-ferry`` and by ``main``.
"""

import sys
from collections.abc import Sequence

from kubectl_ferry.kubectl import CommandFailed, Kubectl, items
from kubectl_ferry.options import ABOUT, CLUSTER_OPTIONS, proposed

_NO_FILES = ":4"
SCRIPT = """#!/bin/sh
exec kubectl-ferry __complete "$@"
"""


def main() -> None:
    """Entry point of ``kubectl_complete-ferry``."""
    sys.exit(complete(sys.argv[1:]))


def complete(words: Sequence[str]) -> int:
    """Print the proposals for the last of ``words``."""
    *before, last = words or [""]
    typed, options = _split(before)
    verb = typed[0] if typed else None
    if last.startswith("-"):
        found = dict.fromkeys(proposed(verb), "")
    elif before and before[-1] in ("-n", "--namespace"):
        found = _names(Kubectl(), "namespaces")
    elif verb is None:
        found = ABOUT
    elif len(typed) == 1:
        found = _names(Kubectl(tuple(options)), "ferries.mysqlferry.io")
    else:
        found = {}
    for name, about in found.items():
        if name.startswith(last):
            print(f"{name}\t{about}" if about else name)
    print(_NO_FILES)
    return 0


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is typed besides options, and the options for kubectl."""
    typed: list[str] = []
    options: list[str] = []
    rest = iter(words)
    for word in rest:
        name = word.lstrip("-").partition("=")[0]
        if not word.startswith("-"):
            typed.append(word)
        elif name == "n" or name in CLUSTER_OPTIONS:
            options.append(word)
            if "=" not in word:
                options += [value for value in [next(rest, None)] if value is not None]
    return typed, options


def _names(kubectl: Kubectl, kind: str) -> dict[str, str]:
    try:
        found = items(kubectl.get(kind, "--request-timeout=5s"))
    except CommandFailed:
        return {}
    return {each["metadata"]["name"]: str(each.get("status", {}).get("phase", "")) for each in found}
