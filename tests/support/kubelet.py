"""Simulates kubelet and copiers: gives each copier Pod an address, and a TLS server that answers like a copier.

kube-apiserver is real; only the running of Pods is simulated. Each copier listens on its own address of 127.0.0.0/8,
since all copiers use the same port.
"""

import asyncio
import base64
import contextlib
import errno
import itertools
import json
import os
import ssl
import tempfile
import threading
import time
import urllib.error
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import yaml
from aiohttp import web
from pydantic import ValidationError

from ferry_core.api.directive import Directive
from ferry_core.api.report import ConditionReport, Report, Stage
from ferry_core.api.safety_override import SafetyOverride
from ferry_core.control.listen import tls_context
from ferry_core.reasons import Condition, Reason
from tests.support.kube_api import Admin
from tests.support.pod_status import pod_status, terminated_state
from tests.support.waits import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from concurrent.futures import Future

PORT = 8443
_ADDRESSES = itertools.count(os.getpid() % 32768 * 400)  # test sessions may run side by side
_SELECTOR = "app.kubernetes.io/managed-by=ferry-operator"
Object = dict[str, Any]

SPEC: Object = {
    "source": {"host": "old.db", "credentialsSecretRef": {"name": "old"}},
    "target": {"host": "new.db", "credentialsSecretRef": {"name": "new"}},
    "tables": {"include": ["shop.*"]},
}
"""The smallest spec of a Ferry."""


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _serving(secret: Object) -> ssl.SSLContext | None:
    """The TLS context of the real copier."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("tls.crt", "tls.key"):
            (Path(folder) / name).write_text(secret[name])
        return tls_context(Path(folder))


class NotThere(Exception):
    """404."""


class Copier:
    """One process as the operator sees it. Tests set its report; it acknowledges directives by itself."""

    def __init__(self, pod: Object, secret: Object, address: str) -> None:
        self.pod = pod
        self.name: str = pod["metadata"]["name"]
        self.address = address
        self.manifest: Object = yaml.safe_load(secret["ferry.yaml"])
        self.token: str = secret["token"]
        self._secret = secret
        self.directives: list[Directive] = []
        self.overrides: list[SafetyOverride] = []
        """What it obeyed of directives that it could not read."""
        self.told_at: list[float] = []
        self.refuse: tuple[str, str] | None = None
        self.cut: tuple[Literal["before", "after"], Callable[[], object]] | None = None
        """Before or after the next directive is handled, the connection is cut and this is called."""
        self.report = Report(revision=1, stage=Stage.VALIDATING.value, phase=Stage.VALIDATING.value, start_time=_now())
        self._news = 1
        self._changed = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.add_routes([web.get("/api/v1/status", self._status), web.put("/api/v1/directive", self._directive)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        context = _serving(self._secret)
        await web.TCPSite(self._runner, self.address, PORT, ssl_context=context).start()

    async def stop(self) -> None:
        if self._runner is not None and self._runner.server is not None:
            # Like a killed process, without TLS's closing handshake.
            for connection in list(self._runner.server.connections):
                if connection.transport is not None:
                    connection.transport.abort()
            await self._runner.cleanup()
            self._runner = None

    def say(self, **parts: Any) -> None:
        """Change the report; counts as news. Call it in the kubelet's loop."""
        self.count(**parts)
        self._news = self.report.revision

    def count(self, **parts: Any) -> None:
        """Change the report; does not count as news."""
        copied = self.report.model_copy(update=parts | {"revision": self.report.revision + 1})
        self.report = Report.model_validate_json(copied.model_dump_json(by_alias=True))
        self._changed.set()
        self._changed = asyncio.Event()

    def condition(self, kind: str, status: str, reason: str, message: str = "") -> None:
        entry = ConditionReport.model_validate(
            {"type": kind, "status": status, "reason": reason, "message": message, "last_transition_time": _now()}
        )
        others = [each for each in self.report.conditions if each.type != kind]
        self.say(conditions=[*others, entry])

    def stage(self, stage: Stage, **parts: Any) -> None:
        self.say(stage=stage.value, phase=stage.value, **parts)

    def _allowed(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == f"Bearer {self.token}"

    async def _status(self, request: web.Request) -> web.Response:
        if not self._allowed(request):
            return web.Response(status=401)
        if "wait" in request.query:
            end = time.monotonic() + float(request.query["wait"].removesuffix("s"))
            while self._newest(request) <= int(request.query["since"]) and time.monotonic() < end:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), end - time.monotonic())
        return web.Response(text=self.report.model_dump_json(by_alias=True), content_type="application/json")

    def _newest(self, request: web.Request) -> int:
        return self._news if request.query.get("only") == "news" else self.report.revision

    async def _directive(self, request: web.Request) -> web.Response:
        if not self._allowed(request):
            return web.Response(status=401)
        if self._cuts("before", request):
            return web.Response()
        try:
            directive = Directive.model_validate_json(await request.read())
        except ValidationError as error:
            override = SafetyOverride.of(await request.read(), error)
            assert override is not None
            self.overrides.append(override)
            return web.json_response({"reason": "InvalidField", "message": str(error)}, status=400)
        if self.refuse is not None:
            return web.json_response({"reason": self.refuse[0], "message": self.refuse[1]}, status=422)
        self.directives.append(directive)
        self.told_at.append(time.monotonic())
        copier = self.report.copier.model_copy(update={"acknowledged_generation": directive.generation})
        parts: Object = {"copier": copier}
        paused = self.report.condition(Condition.PAUSED)
        if directive.paused != (paused is not None and paused.status == "True"):
            self.condition(Condition.PAUSED, str(directive.paused), Reason.PAUSED_BY_USER)
            parts["phase"] = "Paused" if directive.paused else self.report.stage
        self.say(**parts)
        self._cuts("after", request)
        return web.json_response({"acknowledgedGeneration": directive.generation})

    def _cuts(self, when: str, request: web.Request) -> bool:
        if self.cut is None or self.cut[0] != when:
            return False
        self.cut[1]()
        self.cut = None
        if request.transport is not None:
            request.transport.abort()
        return True


class Kubelet:
    """Runs every Pod of the operator in one namespace, in a thread of its own. With ``hold`` it starts no new Pods."""

    def __init__(self, api: Admin, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self.copiers: dict[str, Copier] = {}
        """The running ones, by name of the Pod."""
        self.started: list[str] = []
        self.helper_exit: tuple[int, str] = (0, "")
        """Exit code and message of Pods of ferry abort and ferry cleanup."""
        self.look_seconds = 0.05
        self.hold = False
        self.slow_to_end = False
        """Deleted Pods do not end."""
        self._seen: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"kubelet {namespace}", daemon=True)
        self._work: Future[None] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._work = asyncio.run_coroutine_threadsafe(self._run(), self._loop)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._work is not None
        self._work.cancel()
        for copier in list(self.copiers.values()):
            self.do(copier.stop())
        self.do(end_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something in the kubelet's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_SECONDS)

    def call(self, work: Callable[[], object]) -> None:
        """The same for a plain function."""

        async def run() -> None:
            work()

        self.do(run())

    def copier(self, ferry: str) -> Copier:
        """The running copier of a Ferry; waits for it."""
        work = self._work
        assert work is not None

        def started() -> bool:
            if work.done():
                work.result()  # raises what ended the kubelet
            return f"{ferry}-copier" in self.copiers

        wait_until(started, f"a copier of {ferry} is started")
        return self.copiers[f"{ferry}-copier"]

    def end(self, copier: Copier, exit_code: int, message: str = "") -> None:
        """The process ends. With exit code 0 its Pod succeeds, otherwise it waits for a restart."""
        self.do(copier.stop())
        self.copiers.pop(copier.name, None)
        if exit_code == 0:
            terminated = terminated_state(0, "Completed", message)
            self._patch(copier.name, pod_status(copier.name, "Succeeded", copier.address, {"terminated": terminated}))
        else:
            self.crash(copier.name, exit_code, "Error", message)

    def crash(self, name: str, exit_code: int, reason: str, message: str = "") -> None:
        """A process has ended, and the kubelet waits before it restarts the container."""
        terminated = terminated_state(exit_code, reason, message)
        self._patch(name, pod_status(name, "Running", None, {"terminated": terminated}, restarts=1))
        state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
        self._patch(name, pod_status(name, "Running", None, state, last={"terminated": terminated}, restarts=1))

    def wait_reason(self, name: str, reason: str, message: str) -> None:
        """The Pod's container cannot start, and why."""
        self._patch(name, pod_status(name, "Pending", None, {"waiting": {"reason": reason, "message": message}}))

    def _patch(self, name: str, status: Object) -> None:
        self._api.request(
            "PATCH", f"{self._path}/{name}/status", {"status": status}, content_type="application/merge-patch+json"
        )

    # -- the loop -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            # An API server that is killed while it answers: IncompleteRead is no OSError.
            with contextlib.suppress(OSError, HTTPException, NotThere):
                await self._look()
            await asyncio.sleep(self.look_seconds)

    async def _look(self) -> None:
        listed = await self._ask("GET", f"{self._path}?labelSelector={_SELECTOR}")
        pods = {pod["metadata"]["uid"]: pod for pod in listed["items"]}
        for uid, pod in pods.items():
            if "deletionTimestamp" in pod["metadata"]:
                if not self.slow_to_end:
                    await self._finish(pod)
            elif uid not in self._seen and not self.hold and await self._run_pod(pod):
                self._seen.add(uid)
        names = {pod["metadata"]["name"] for pod in pods.values()}
        for name in [name for name in self.copiers if name not in names]:
            await self.copiers.pop(name).stop()

    async def _finish(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        if name in self.copiers:
            await self.copiers.pop(name).stop()
        await self._ask("DELETE", f"{self._path}/{name}", {"gracePeriodSeconds": 0})

    async def _run_pod(self, pod: Object) -> bool:
        """Whether it was started: its Secret must exist, with what a copier needs."""
        name = pod["metadata"]["name"]
        volumes = {each["name"]: each for each in pod["spec"].get("volumes", ())}
        if "copier" not in volumes:
            return False  # not made by the operator
        secret = await self._secret(volumes["copier"]["secret"]["secretName"])
        if secret is None or "token" not in secret:
            return False  # not there yet, or not one that a copier could start with
        binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": "node1"}}
        await self._ask("POST", f"{self._path}/{name}/binding", binding)
        self.started.append(name)
        if not name.endswith("-copier"):
            await self._run_helper(name, _address())
            return True
        copier = await _started(pod, secret)
        address = copier.address
        self.copiers[name] = copier
        running = {"running": {"startedAt": _now().isoformat().replace("+00:00", "Z")}}
        await self._say(name, pod_status(name, "Running", address, running, ready=True))
        return True

    async def _run_helper(self, name: str, address: str) -> None:
        code, message = self.helper_exit
        terminated = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "message": message}
        if code == 0:
            await self._say(name, pod_status(name, "Succeeded", address, {"terminated": terminated}))
        else:
            waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
            await self._say(
                name, pod_status(name, "Running", address, waiting, last={"terminated": terminated}, restarts=1)
            )

    async def _secret(self, name: str) -> Object | None:
        try:
            found = await self._ask("GET", f"/api/v1/namespaces/{self._namespace}/secrets/{name}")
        except NotThere:
            return None
        return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}

    async def _say(self, name: str, status: Object) -> None:
        await self._ask("PATCH", f"{self._path}/{name}/status", {"status": status}, "application/merge-patch+json")

    async def _ask(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Object:
        def ask() -> Object:
            try:
                answer: Object = self._api.request(method, path, body, content_type=content_type, seconds=60)
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    raise NotThere from error
                raise
            return answer

        return await asyncio.to_thread(ask)


def _address() -> str:
    number = next(_ADDRESSES)
    return f"127.{10 + number // 60000}.{number // 250 % 250}.{number % 250 + 1}"


async def _started(pod: Object, secret: Object) -> Copier:
    """On an address that no other test run on this machine uses."""
    while True:
        copier = Copier(pod, secret, _address())
        try:
            await copier.start()
        except OSError as error:
            await copier.stop()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return copier


async def end_all() -> None:
    """Cancel all tasks: asyncio warns if a loop is closed with pending ones."""
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def words(report: Report) -> str:
    """A report as the copier's termination message."""
    return json.dumps(json.loads(report.model_dump_json(by_alias=True)))
