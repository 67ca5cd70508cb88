"""Simulates the kubelet and a thousand copiers in one process, so that the operator's process is measured alone.

python bench/copier_farm.py URL TOKEN CA NAMESPACE

It reads commands as JSON lines from standard input and answers each with one line. Started by ``fleet``.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ferry_core.api.report import Progress, Replication, Stage
from ferry_core.report.progress import Progress as RealProgress
from tests.support.kube_api import Admin
from tests.support.kubelet import Copier, Kubelet

_GTIDS = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-{0},8a94f357-aab4-11df-86ab-c80aa9429444:1-{0}"


class Farm:
    """The copiers, and the commands that ``fleet`` may send."""

    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet
        self._moving: asyncio.Task[None] | None = None
        self._tick = 0

    @property
    def _copiers(self) -> list[Copier]:
        return list(self._kubelet.copiers.values())

    async def count(self, **_: Any) -> int:
        """Number of copiers that have received a directive."""
        return sum(bool(copier.directives) for copier in self._copiers)

    async def look(self, every: float, **_: Any) -> None:
        """How often the simulated kubelet looks for Pods; rarely while something is measured."""
        self._kubelet.look_seconds = every

    async def stage(self, stage: str, **_: Any) -> None:
        """Move all copiers to this stage. Their reports are as long as real ones."""
        conditions = RealProgress().report().conditions
        for copier in self._copiers:
            others = [each for each in conditions if copier.report.condition(each.type) is None]
            copier.stage(Stage(stage), conditions=[*copier.report.conditions, *others])
            await asyncio.sleep(0)

    async def move(self, **_: Any) -> None:
        """From now on each copier has new numbers every second."""
        self._moving = asyncio.create_task(self._move())

    async def rest(self, **_: Any) -> None:
        """The numbers stop changing."""
        if self._moving is not None:
            self._moving.cancel()

    async def told(self, **_: Any) -> dict[str, list[tuple[int, float]]]:
        """For each Ferry, the generations that its copier received, and when (monotonic clock of this machine)."""
        return {
            copier.manifest["metadata"]["name"]: [
                (each.generation, at) for each, at in zip(copier.directives, copier.told_at, strict=True)
            ]
            for copier in self._copiers
        }

    async def _move(self) -> None:
        while True:
            for copier in self._copiers:
                self._tick += 1
                rows = self._tick
                copier.count(
                    progress=Progress(tables_total=42, rows_copied=rows, rows_estimated=10**9, percent=rows % 100),
                    replication=Replication(position=f"binlog.000042:{rows}", gtid_set=_GTIDS.format(rows)),
                )
                await asyncio.sleep(1 / max(1, len(self._copiers)))


def main() -> None:
    url, token, authority, namespace = sys.argv[1:]
    with Kubelet(Admin(url, token, Path(authority)), namespace) as kubelet:
        kubelet.look_seconds = 1.0
        farm = Farm(kubelet)
        for line in sys.stdin:
            asked = json.loads(line)
            answer = kubelet.do(getattr(farm, asked.pop("do"))(**asked))
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
