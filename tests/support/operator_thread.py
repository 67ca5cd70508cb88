"""Runs the operator for tests: in this process, in its own thread and event loop; and asks its port as others do."""

import asyncio
import logging
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from ferry_operator.app import running
from ferry_operator.health import CHECK_SECONDS
from ferry_operator.metrics import Metrics
from ferry_operator.settings import Settings
from tests.support.waits import PATIENCE_SECONDS


class OperatorThread:
    """It can be started again after ``stop``, as in an upgrade."""

    def __init__(self, kubeconfig: Path, namespace: str, check_seconds: float = CHECK_SECONDS, **settings: Any) -> None:
        usual: dict[str, Any] = {
            "namespace": namespace,
            "watch_namespaces": (namespace,),
            "kubeconfig": str(kubeconfig),
        }
        here = {"image": "localhost/mysql-ferry:test", "listen": "127.0.0.1", "port": 0}
        self._check_seconds = check_seconds
        self._settings = Settings(**(usual | here | settings))
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main_task: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ferry-operator")
        self._thread.start()

    def stop(self) -> None:
        """Gracefully. Raises the exception that ended it, if any."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the operator does not end"
        self._thread = None
        if self.failure is not None:
            raise self.failure

    def kill(self) -> None:
        """Abruptly. It takes a while to end; until then its connections must be cut off from the cluster."""
        if self._loop is not None and self._main_task is not None:
            self._loop.call_soon_threadsafe(self._main_task.cancel)
        self._stop.set()  # a thread of kopf's waits for it

    def wait(self) -> None:
        """Until a killed one has ended."""
        assert self._thread is not None
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the operator does not end"

    def _run(self) -> None:
        logging.getLogger("ferry_operator").setLevel(logging.INFO)
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            return  # killed
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.failure = error

    async def _main(self) -> None:
        self._loop, self._main_task = asyncio.get_running_loop(), asyncio.current_task()
        async with running(self._settings, self._stop, self._check_seconds) as task:
            await task
        await goodbyes()


async def goodbyes() -> None:
    """Wait for the closing handshakes of TLS connections; a loop that ends before would leave their sockets open."""
    transports: dict[int, asyncio.Transport] = getattr(asyncio.get_running_loop(), "_transports", {})
    for _ in range(25):
        if all(each.get_extra_info("socket").fileno() < 0 for each in list(transports.values())):
            return
        await asyncio.sleep(0.01)


class OperatorPort:
    """An operator as Prometheus and the kubelet see it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> tuple[int, str]:
        """Status, 0 while nobody listens, and text."""
        try:
            with urllib.request.urlopen(self._url + path, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except urllib.error.URLError:
            return 0, ""

    def series(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        code, text = self.get("/metrics")
        assert code == 200
        found = [each for family in text_string_to_metric_families(text) for each in family.samples]
        return {(each.name, frozenset(each.labels.items())): each.value for each in found}

    def value(self, name: str, **labels: str) -> float:
        """Over all series that have these labels."""
        wanted = set(labels.items())
        return sum(value for (each, said), value in self.series().items() if each == name and wanted <= said)


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """What a scrape of the operator would show."""
    families = text_string_to_metric_families(metrics.snapshot()().decode())
    return {(s.name, tuple(sorted(s.labels.values()))): s.value for family in families for s in family.samples}
