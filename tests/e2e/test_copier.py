"""The real ``ferry copier`` between real servers, driven by the operator's own client over TLS and with its token."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from ferry_core.api.choices import SourceLockMode
from ferry_core.api.cutover import Cutover
from ferry_core.api.directive import Directive
from ferry_core.api.report import Report
from ferry_core.api.spec import Spec
from ferry_operator import pods
from ferry_operator.copier_client import CopierClient, DirectiveRefused, copier_clients
from ferry_operator.identity import Identity
from ferry_operator.names import CONTROL_PORT, METRICS_PORT, Role
from ferry_operator.observe import PodView
from tests.support.ferry_cli import LONG_SECONDS
from tests.support.operator_thread import goodbyes
from tests.support.servers import Pair

ROWS = 3000
_ADDRESSES = itertools.count(os.getpid() % 200)


class RealCopier:
    """Simulates a Pod: the files of its Secrets, and the command of its container."""

    def __init__(self, folder: Path, pair: Pair, schema: str, **parts: Any) -> None:
        self.folder = folder
        self.address = f"127.9.{next(_ADDRESSES) % 250}.{os.getpid() % 250 + 1}"
        self.uid = str(uuid.uuid4())
        self.identity = Identity.new()
        sides = (("source", pair.source), ("target", pair.target))
        spec: dict[str, Any] = {
            role: {"host": server.host, "port": server.port, "credentialsSecretRef": {"name": role}}
            for role, server in sides
        }
        cutover = {"mode": "Automatic", "watchFor": "0s", "deadline": "2m", "maxLag": "20s"}
        spec |= {"tables": {"include": [f"{schema}.*"]}, "cutover": cutover} | parts
        self.spec = Spec.model_validate_json(json.dumps(spec))
        meta = {"name": "orders", "namespace": "shop", "uid": self.uid, "generation": 1}
        certificate, key = self.identity.tls_pair(self.uid)
        files = {"ferry.yaml": pods.manifest(meta, self.spec), "token": self.identity.token(self.uid)}
        files |= {"tls.crt": certificate, "tls.key": key}
        for role, server in sides:
            files |= {f"secrets/{role}/username": server.user, f"secrets/{role}/password": server.password}
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        # The Pod's exact arguments, with this folder's paths.
        made = pods.pod(meta, self.spec, Role.COPIER, "image", "secret", self.address)
        places = {"/etc/ferry/copier": folder, "/etc/ferry/secrets": folder / "secrets", "/run/ferry": folder}
        self.arguments: list[str] = made["spec"]["containers"][0]["args"]
        for place, here in places.items():
            self.arguments = [each.replace(place, str(here)) for each in self.arguments]
        self.arguments = [each.replace("/dev/termination-log", str(folder / "last")) for each in self.arguments]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            line = [sys.executable, "-m", "ferry_core", *self.arguments]
            self.process = subprocess.Popen(line, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(LONG_SECONDS)

    @property
    def last_report(self) -> Report:
        return Report.model_validate_json((self.folder / "last").read_text())

    def log(self) -> str:
        return (self.folder / "log").read_text()


Make = Callable[..., RealCopier]


@pytest.fixture
def make_copier(tmp_path: Path) -> Iterator[Make]:
    made: list[RealCopier] = []

    def make(pair: Pair, schema: str, **parts: Any) -> RealCopier:
        made.append(RealCopier(tmp_path, pair, schema, **parts))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.kill()


@contextlib.asynccontextmanager
async def linked(copier: RealCopier) -> AsyncIterator[CopierClient]:
    async with copier_clients(copier.identity.context()) as copiers:
        link = CopierClient(copiers, copier.uid, copier.identity.token(copier.uid), lambda: None)
        link.follow(PodView(Role.COPIER, "orders-copier", "pod-1", ip=copier.address, running=True))
        try:
            yield link
        finally:
            link.close()
    await goodbyes()


async def until(link: CopierClient, what: Callable[[Report], bool], copier: RealCopier) -> Report:
    end = time.monotonic() + LONG_SECONDS
    while time.monotonic() < end:
        view = link.view
        if view.report is not None and view.silent_since is None and what(view.report):
            return view.report
        await asyncio.sleep(0.02)
    raise AssertionError(f"{link.view}\n{copier.log()}")


def fill(pair: Pair, schema: str) -> None:
    rows = ",".join(f"({n}, 'row {n}')" for n in range(ROWS))
    pair.source.execute(
        f"CREATE TABLE {schema}.orders (id INT PRIMARY KEY, note VARCHAR(40))",
        f"INSERT INTO {schema}.orders VALUES {rows}",
    )


def told(copier: RealCopier, generation: int, **parts: Any) -> Directive:
    spec = copier.spec
    said: dict[str, Any] = {"paused": spec.paused, "cutover": spec.cutover, "verify": spec.verify}
    return Directive(generation=generation, **(said | parts))


def test_the_copier_cuts_over_only_after_permission(pair: Pair, schema: str, make_copier: Make) -> None:
    fill(pair, schema)
    copier = make_copier(pair, schema)

    async def drive() -> None:
        async with linked(copier) as link:
            ready = await until(link, lambda report: report.stage == "ReadyForCutover", copier)
            assert ready.copier.acknowledged_generation == 0
            await asyncio.sleep(1)
            assert copier.process is not None
            assert copier.process.poll() is None, "mode Automatic in the manifest is no permission yet"
            await link.send(told(copier, 1).as_json())

    asyncio.run(drive())
    assert copier.wait() == 0, copier.log()
    last = copier.last_report
    assert last.stage == "Completed"
    assert last.cutover.writes_blocked_milliseconds is not None
    assert next(each for each in last.conditions if each.type == "CutOver").status == "True"
    assert pair.target.value(f"SELECT COUNT(*) FROM {schema}.orders") == ROWS
    print(f"{len((copier.folder / 'last').read_bytes())} bytes of last words")
    logged = [json.loads(line)["message"] for line in copier.log().splitlines()]
    trail = [
        "applying generation 0: running, cutover not approved",
        "stage Validating",
        "Passed: preflight passed",
        "this run writes as epoch 1",
        "starts from the beginning: 1 table, about ",
        "stage Copying",
        f"table {schema}.orders is copied: {ROWS} rows",
        f"all rows are copied: {ROWS}, ",
        "AllTablesCopied: all selected tables are copied",
        "stage Streaming",
        "full pass of the verification begins",
        f"full pass of the verification ends: {ROWS} rows compared, 0 differ",
        "stage ReadyForCutover",
        "applying generation 1: running, cutover automatic",
        "stage CuttingOver",
        "cutover attempt 1 begins",
        "cutover attempt 1: writes are stopped, ",
        "cutover attempt 1: drained, ",
        "cutover attempt 1: verified, ",
        "cut over; writes were blocked for ",
        "Completed: ",
        "watching the source for late writes",
        "watched the source: 0 changes",
        f"moved {ROWS} rows of 1 table",
    ]
    lines = iter(logged)
    missing = [wanted for wanted in trail if not any(line.startswith(wanted) for line in lines)]
    assert not missing, "\n".join([*missing, "of", *logged])
    assert len(logged) < 2 * len(trail), "\n".join(logged)


def test_a_paused_copier_that_is_killed_stays_paused(mariadb_pair: Pair, schema: str, make_copier: Make) -> None:
    fill(mariadb_pair, schema)
    copier = make_copier(mariadb_pair, schema, throttle={"maxRowsPerSecond": 100})

    async def pause() -> None:
        async with linked(copier) as link:
            await until(link, lambda report: report.progress.rows_copied > 0, copier)
            await link.send(told(copier, 5, paused=True).as_json())
            await until(link, lambda report: report.phase == "Paused", copier)

    async def look() -> None:
        async with linked(copier) as link:
            await until(link, lambda report: report.phase == "Paused", copier)
            before = mariadb_pair.target.value(f"SELECT COUNT(*) FROM {schema}.orders")
            await asyncio.sleep(2)
            assert mariadb_pair.target.value(f"SELECT COUNT(*) FROM {schema}.orders") == before < ROWS
            assert copier.log().count("this run writes as epoch") == 1, "the paused one has not taken its own"
            await link.send(told(copier, 6, paused=False).as_json())

    asyncio.run(pause())
    copier.kill()
    copier.start()
    asyncio.run(look())
    assert copier.wait() == 0, copier.log()
    assert "this run writes as epoch 2" in copier.log()
    assert mariadb_pair.target.value(f"SELECT COUNT(*) FROM {schema}.orders") == ROWS


def test_a_refused_directive_pauses_and_withdraws(mariadb_pair: Pair, schema: str, make_copier: Make) -> None:
    """It also has a field that needs a restart, which must not keep pause and withdrawal from taking effect."""
    fill(mariadb_pair, schema)
    copier = make_copier(mariadb_pair, schema, throttle={"maxRowsPerSecond": 1000})
    other_lock = Cutover(source_lock=SourceLockMode.NONE)

    async def refused(link: CopierClient, **parts: Any) -> None:
        with pytest.raises(DirectiveRefused) as caught:
            await link.send(told(copier, **parts).as_json())
        assert caught.value.reason == "NeedsRestart"

    async def withdraw_and_pause() -> None:
        async with linked(copier) as link:
            await until(link, lambda report: report.progress.rows_copied > 0, copier)
            with mariadb_pair.source.connect() as somebody:
                # Until both were told it can read no more rows, and so not cut over.
                somebody.cursor().execute(f"LOCK TABLES {schema}.orders WRITE")
                await link.send(told(copier, 1, throttle=copier.spec.throttle).as_json())
                await refused(link, generation=2, cutover=other_lock)
            held = await until(link, lambda report: report.stage == "ReadyForCutover", copier)
            await asyncio.sleep(1)
            assert copier.process is not None
            assert copier.process.poll() is None, "its permission was withdrawn"
            assert held.copier.acknowledged_generation == 1
            await refused(link, generation=3, cutover=other_lock, paused=True)
            await until(link, lambda report: report.phase == "Paused", copier)

    async def go_on() -> None:
        async with linked(copier) as link:
            await until(link, lambda report: report.phase == "Paused", copier)
            await link.send(told(copier, 4).as_json())

    asyncio.run(withdraw_and_pause())
    copier.kill()
    copier.start()
    asyncio.run(go_on())
    assert copier.wait() == 0, copier.log()


def test_a_failed_copier_leaves_its_error_in_the_termination_message(
    mariadb_pair: Pair, schema: str, tmp_path: Path
) -> None:
    fill(mariadb_pair, schema)
    copier = RealCopier(tmp_path, mariadb_pair, schema)
    (tmp_path / "secrets/target/password").unlink()
    copier.start()
    assert copier.wait() == 64
    failure = copier.last_report.failure
    assert failure is not None
    assert failure.reason in ("SecretKeyNotFound", "SecretNotFound")
    assert "password" in failure.message


def test_sigterm_saves_a_checkpoint(mariadb_pair: Pair, schema: str, make_copier: Make) -> None:
    fill(mariadb_pair, schema)
    copier = make_copier(mariadb_pair, schema)

    async def run() -> None:
        async with linked(copier) as link:
            await until(link, lambda report: report.stage in ("Streaming", "ReadyForCutover"), copier)

    asyncio.run(run())
    assert copier.process is not None
    copier.process.send_signal(signal.SIGTERM)
    assert copier.wait() == 143
    assert copier.last_report.stage in ("Streaming", "ReadyForCutover")


def test_verbs_are_refused_under_an_operator_and_metrics_need_no_token(
    mariadb_pair: Pair, schema: str, make_copier: Make
) -> None:
    fill(mariadb_pair, schema)
    copier = make_copier(mariadb_pair, schema)

    async def ask() -> None:
        headers = {"Authorization": f"Bearer {copier.identity.token(copier.uid)}"}
        tls: Any = {"ssl": copier.identity.context(), "server_hostname": copier.uid}
        control, plain = f"https://{copier.address}:{CONTROL_PORT}", f"http://{copier.address}:{METRICS_PORT}"
        async with linked(copier) as link, aiohttp.ClientSession() as session:
            await until(link, lambda report: report.progress.rows_copied > 0, copier)
            async with session.post(f"{control}/api/v1/pause", headers=headers, **tls) as answer:
                said = await answer.json()
                assert answer.status == 409
            assert said["reason"] == "ManagedByOperator"
            line = """kubectl patch ferry orders -n shop --type merge -p '{"spec":{"paused":true}}'"""
            assert line in said["message"]
            async with session.get(f"{plain}/metrics") as answer:
                assert answer.status == 200
                assert f'ferry_copy_rows_total{{table="{schema}.orders"}}' in await answer.text()
            async with session.get(f"{plain}/api/v1/status") as answer:
                assert answer.status == 404, "nothing else is said in the clear"
            async with session.get(f"{control}/api/v1/status", headers=headers, **tls) as answer:
                assert (await answer.json())["phase"] != "Paused"
        await goodbyes()

    asyncio.run(ask())


def test_the_manifest_in_the_secret_holds_no_permission() -> None:
    spec = Spec.model_validate_json(
        json.dumps(
            {
                "source": {"host": "a", "credentialsSecretRef": {"name": "s"}},
                "target": {"host": "b", "credentialsSecretRef": {"name": "t"}},
                "tables": {"include": ["x.*"]},
                "cutover": {"approved": True},
                "aborted": True,
                "deletionPolicy": "DropTarget",
            }
        )
    )
    made = yaml.safe_load(pods.manifest({"name": "n", "namespace": "m", "uid": "u", "generation": 3}, spec))
    assert made["spec"]["cutover"]["approved"] is False
    assert made["spec"]["aborted"] is False
    assert made["spec"]["deletionPolicy"] == "DropTarget", "the cleanup's Pod acts on it"
    assert made["metadata"]["generation"] == 0
    assert CONTROL_PORT == 8443
