"""``kubectl ferry report``: a support bundle, without secrets and values of rows. Called by ``main``.

What one part cannot give, for example for lack of a permission, is a line in ``problems.txt``.
"""

import io
import json
import tarfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kubectl_ferry.kubectl import CommandFailed, Kubectl, Object, items
from kubectl_ferry.redaction import Redaction
from kubectl_ferry.screen import draw
from kubectl_ferry.tables import drawn, tables_of
from kubectl_ferry.watching import events_of

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG_LINES = 5000


def report(kubectl: Kubectl, name: str, output: Path | None) -> int:
    """Write the bundle, and say where it is."""
    parts = Parts(kubectl, kubectl.ferry(name)).all()
    path = output or Path(f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz")
    try:
        with path.open("xb") as file, tarfile.open(fileobj=file, mode="w:gz") as bundle:
            for title, text in parts.items():
                _add(bundle, f"{path.name.removesuffix('.tar.gz')}/{title}", text)
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}") from error
    print(f"{path}: {', '.join(parts)}")
    print("It names hosts, schemas and tables, but holds no Secret and no value of a row. Read it before you send it.")
    return 0


def _add(bundle: tarfile.TarFile, title: str, text: str) -> None:
    raw = text.encode()
    entry = tarfile.TarInfo(title)
    entry.size, entry.mtime, entry.mode = len(raw), int(time.time()), 0o600
    bundle.addfile(entry, io.BytesIO(raw))


class Parts:
    """The files of the bundle, by name."""

    def __init__(self, kubectl: Kubectl, ferry: Object) -> None:
        self._kubectl = kubectl
        self._ferry = ferry
        self._namespace = f"--namespace={ferry['metadata']['namespace']}"
        self._redaction = Redaction(ferry)
        self._events: list[Object] = []

    def all(self) -> dict[str, str]:
        parts: dict[str, str] = {}
        problems: list[str] = []
        makers: dict[str, Callable[[], str]] = {
            "events.json": self._event_list,
            "status.txt": self._screen,
            "ferry.json": lambda: _pretty(self._redaction.ferry(self._ferry)),
            "pods.json": self._pods,
            "copier.log": self._log,
            "copier-previous.log": lambda: self._log("--previous"),
            "tables.txt": lambda: "\n".join(drawn(tables_of(self._kubectl, self._ferry))),
            "operator.txt": self._operator,
            "versions.txt": lambda: self._kubectl.run("version"),
        }
        for title, make in makers.items():
            try:
                parts[title] = make()
            except CommandFailed as error:
                problems.append(f"{title}: {self._redaction.text(str(error))}")
        if problems:
            parts["problems.txt"] = "\n".join(problems)
        return parts

    def _screen(self) -> str:
        return draw(self._redaction.value(self._ferry), self._redaction.value(self._events), datetime.now(UTC), 120)

    def _event_list(self) -> str:
        self._events = events_of(self._kubectl, self._ferry)
        return _pretty([self._redaction.event(each) for each in self._events])

    def _pods(self) -> str:
        chosen = f"mysqlferry.io/ferry-uid={self._ferry['metadata']['uid']}"
        found = items(self._kubectl.get("pods", self._namespace, f"--selector={chosen}"))
        return _pretty([self._redaction.pod(each) for each in found])

    def _log(self, *which: str) -> str:
        pod = self._ferry.get("status", {}).get("copier", {}).get("podName")
        if not pod:
            raise CommandFailed("there is no copier")
        return self._redaction.log(self._kubectl.run("logs", self._namespace, pod, f"--tail={_LOG_LINES}", *which))

    def _operator(self) -> str:
        return self._kubectl.run(
            "get", "pods", "--all-namespaces", "--selector=app.kubernetes.io/component=operator", "-o", "wide"
        )


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2)
