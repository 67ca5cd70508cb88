"""``kubectl ferry status``: one Ferry on one screen, or a line for each. Called by ``main``."""

import shutil
import sys
import time
from datetime import UTC, datetime

from kubectl_ferry.kubectl import Kubectl, Object, items
from kubectl_ferry.screen import FINISHED, draw, health, listing

EVERY_SECONDS = 2.0


def status(kubectl: Kubectl, name: str | None, *, watch: bool, everywhere: bool) -> int:
    """Without a name all Ferries of the namespace; ``watch`` ends with the Ferry."""
    shown = ""
    while True:
        text, line, over = _one(kubectl, name) if name else _all(kubectl, everywhere=everywhere)
        if not watch:
            print(text)
            return 0
        if sys.stdout.isatty():
            print(f"\x1b[H\x1b[2J{text}", flush=True)
        elif line != shown:
            print(line, flush=True)
        shown = line
        if over:
            return 0
        time.sleep(EVERY_SECONDS)


def _one(kubectl: Kubectl, name: str) -> tuple[str, str, bool]:
    ferry = kubectl.ferry(name)
    told = ferry.get("status", {})
    text = draw(ferry, events_of(kubectl, ferry), datetime.now(UTC), shutil.get_terminal_size().columns)
    phase, percent = told.get("phase", "Pending"), told.get("progress", {}).get("percent", 0)
    return text, f"{phase}, {percent:.0f} % copied, {health(ferry)}: {told.get('message', '')}", phase in FINISHED


def _all(kubectl: Kubectl, *, everywhere: bool) -> tuple[str, str, bool]:
    found = items(kubectl.get("ferries.mysqlferry.io", *(("--all-namespaces",) if everywhere else ())))
    text = "\n".join(listing(found, datetime.now(UTC))) if found else "no Ferries"
    return text, text, False


def events_of(kubectl: Kubectl, ferry: Object) -> list[Object]:
    """Its Events, while the cluster keeps them."""
    meta = ferry["metadata"]
    chosen = f"involvedObject.kind=Ferry,involvedObject.uid={meta['uid']}"
    return list(items(kubectl.get("events", f"--namespace={meta['namespace']}", f"--field-selector={chosen}")))
