"""Runs the operator for tests: in this process, in its own thread and event loop."""

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any, Self

from ferry_operator.app import running
from ferry_operator.health import CHECK_SECONDS
from ferry_operator.settings import Settings


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
        self._thread.join(30)
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
        self._thread.join(60)
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
