"""Runs the operator as tests need it: in this process, in a thread and event loop of its own."""

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any, Self

from ferry_operator.app import running
from ferry_operator.settings import Settings


class OperatorThread:
    """Between ``start`` and ``stop`` it works; afterwards it may be started again, as after an upgrade."""

    def __init__(self, kubeconfig: Path, namespace: str, **settings: Any) -> None:
        usual: dict[str, Any] = {
            "namespace": namespace,
            "watch_namespaces": (namespace,),
            "kubeconfig": str(kubeconfig),
        }
        here = {"image": "localhost/mysql-ferry:test", "listen": "127.0.0.1", "port": 0}
        self._settings = Settings(**(usual | here | settings))
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
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
        """In good order; raises what it died of."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the operator does not end"
        self._thread = None
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        logging.getLogger("ferry_operator").setLevel(logging.INFO)
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.failure = error

    async def _main(self) -> None:
        async with running(self._settings, self._stop) as task:
            await task
        # TLS connections that were closed still say goodbye; a loop that ends before would leave their sockets open.
        await asyncio.sleep(0.25)
