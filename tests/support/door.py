"""One crossing through the user's door with everything in the caller's hands: what is moved, when it is handed over.

For tests of breadth (types, names, sizes): a ``ferry run`` child over a selection, a hand-over on request, and what it
said at the end. Tests under fire use ``live``.
"""

import re
import uuid
from pathlib import Path
from typing import Any, Self

import yaml

from tests.support.ferry_process import FerryProcess
from tests.support.servers import Pair

STREAMING = ("Streaming", "ReadyForCutover")


class Door(FerryProcess):
    """A Ferry with an identity of its own: a target remembers the Ferries that were handed over to it."""

    def __init__(self, folder: Path, pair: Pair, **spec: Any) -> None:
        """``spec`` over the defaults: manual hand-over, nothing watched after it, small chunks."""
        defaults: dict[str, Any] = {
            "cutover": {"mode": "Manual", "watchFor": "0s"},
            "copy": {"chunkTargetBytes": "64Ki"},
        }
        super().__init__(folder, pair, **(defaults | spec))
        self.edit(lambda documents: documents[0]["metadata"].update(uid=str(uuid.uuid4())))

    def edit(self, change: Any) -> None:
        """Change the manifest's documents on disk."""
        documents = list(yaml.safe_load_all(self.manifest.read_text()))
        change(documents)
        self.manifest.write_text(yaml.safe_dump_all(documents, allow_unicode=True))

    def start_streaming(self, seconds: float = 120) -> Self:
        """Start, until every chunk is on the target: what is written from now on comes through the stream."""
        self.start().wait_stage(*STREAMING, seconds=seconds)
        return self

    def hand_over(self, seconds: float = 180) -> str:
        """Ask for the cutover, wait for a good end; gives the line that says what was done."""
        self.post("cutover")
        self.succeed(seconds)
        return self.result()

    def result(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if re.search(r"\bmoved \d+", line)]
        assert lines, self.tail()
        print(f"  {lines[-1]}")
        return lines[-1]

    def fail(self, code: int, *words: str, seconds: float = 180) -> str:
        """It must end by itself with this code and one line of failure that holds all ``words``."""
        found = self.wait_end(seconds)
        assert found == code, f"exit code {found}\n{self.tail()}"
        log = self.log.read_text(errors="replace")
        assert "Traceback" not in log, self.tail()
        lines = [line for line in log.splitlines() if re.match(r"ferry: [A-Z][A-Za-z]+: ", line)]
        assert lines, self.tail()
        for word in words:
            assert word in lines[-1], f"{word!r} is not in: {lines[-1]}"
        return lines[-1]

    @property
    def rss_peak(self) -> int:
        """The most memory that the child has held, in MiB; while it runs."""
        assert self.process is not None
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) // 1024

    def cpu_seconds(self) -> float:
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
