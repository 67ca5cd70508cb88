"""The small parts: places, budget, identity, metrics, health, settings, the folder's name."""

import asyncio
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from cryptography import x509
from kubernetes.aio import client
from prometheus_client.parser import text_string_to_metric_families

from ferry_operator import health
from ferry_operator.budget import Budget
from ferry_operator.fleet import Fleet
from ferry_operator.health import Watchman
from ferry_operator.identity import Identity, IdentityUnusable, load_or_create
from ferry_operator.kube import Asked, KubeError, access_of
from ferry_operator.metrics import PHASES, Metrics
from ferry_operator.names import Object
from ferry_operator.settings import Settings, SettingsError
from ferry_operator.start import prepare
from ferry_operator.status import Draft, ours, transitions, urgent
from tests.support.kubelet import SPEC

ROOT = Path(__file__).parents[2]


# -- places ---------------------------------------------------------------------------------------------------------


def test_first_come_first_served() -> None:
    woken: list[str] = []
    fleet = Fleet(2, woken.append)
    assert fleet.ask("c", "2026-01-03")
    assert fleet.ask("a", "2026-01-01")
    assert not fleet.ask("d", "2026-01-04")
    assert not fleet.ask("b", "2026-01-02")
    fleet.leave("c")
    assert woken == ["b"]
    assert not fleet.ask("d", "2026-01-04"), "the older one waits for this place"
    assert fleet.ask("b", "2026-01-02")
    assert fleet.ask("b", "2026-01-02"), "asking again is harmless"


def test_one_that_runs_already_keeps_its_place_even_over_the_limit() -> None:
    fleet = Fleet(1, lambda _: None)
    fleet.hold("a")
    fleet.hold("b")
    assert fleet.ask("a", "2026-01-01")
    fleet.leave("a")
    assert not fleet.ask("c", "2026-01-01")


def test_after_a_restart_those_that_run_are_known_before_anybody_asks() -> None:
    """The operator finds all Pods first, then tends Ferries in any order."""
    fleet = Fleet(1, lambda _: None)
    fleet.hold("runs")
    assert not fleet.ask("queued", "2026-01-01")


def test_no_limit() -> None:
    fleet = Fleet(0, lambda _: None)
    assert all(fleet.ask(str(n), "2026") for n in range(100))


def test_numbers_are_written_seldom() -> None:
    now = [1000.0]
    budget = Budget(lambda: now[0])
    written: list[float] = []
    for _ in range(1000):
        if not budget.wait(None):
            written.append(now[0])
        now[0] += 0.01
    assert 50 <= len(written) <= 56, "5 a second, and the few of the first moment"
    assert budget.wait(now[0] - 9.9) == 10, "this Ferry wrote 9.9 s ago"


# -- identity -------------------------------------------------------------------------------------------------------


class Secrets:
    """The two calls that the identity needs."""

    def __init__(self) -> None:
        self.kept: Object | None = None
        self.rival: Object | None = None

    async def get_secret(self, namespace: str, name: str) -> Object:
        if self.kept is None:
            raise KubeError(404, "NotFound", f"{namespace}/{name}")
        return self.kept

    async def create_secret(self, _: str, secret: Object) -> Object:
        if self.rival is not None:
            self.kept = self.rival
            raise KubeError(409, "AlreadyExists", "exists")
        self.kept = secret
        return secret


async def _load(secrets: Secrets) -> Identity:
    return await load_or_create(secrets, "ferry", "ferry-operator-identity")  # type: ignore[arg-type]


def test_the_identity_survives_a_restart() -> None:
    secrets = Secrets()
    first, second = asyncio.run(_load(secrets)), asyncio.run(_load(secrets))
    assert first.certificate == second.certificate
    assert first.token("uid") == second.token("uid") != first.token("other")


def test_two_operators_that_start_together_end_with_one_identity() -> None:
    other = Secrets()
    asyncio.run(_load(other))
    secrets = Secrets()
    secrets.rival = other.kept
    assert asyncio.run(_load(secrets)).token("uid") == asyncio.run(_load(other)).token("uid")


def test_an_identity_that_somebody_has_spoilt_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    secrets = Secrets()
    first = asyncio.run(_load(secrets))
    whole = secrets.kept
    assert whole is not None
    meta = whole["metadata"] | {"namespace": "ferry"}
    data = {name: value for name, value in whole["data"].items() if name != "token.key"}
    spoilt: list[Object] = [
        {"data": data},
        {},
        {"data": data | {"token.key": "A"}},
        {"data": data | {"ca.key": "AAAA"}},
    ]
    for parts in spoilt:
        secrets.kept = {"metadata": meta} | parts
        with pytest.raises(IdentityUnusable, match="in Secret ferry/ferry-operator-identity cannot be used"):
            asyncio.run(_load(secrets))

    async def mended() -> Identity:
        waiting = asyncio.create_task(prepare(Ready(secrets), Settings("ferry", "i:1"), 0.01))  # type: ignore[arg-type]
        while "cannot be used" not in caplog.text:  # noqa: ASYNC110 - a log wakes nobody
            await asyncio.sleep(0.001)
        secrets.kept = whole
        return (await asyncio.wait_for(waiting, 10)).identity

    assert asyncio.run(mended()).token("uid") == first.token("uid")


class Ready:
    """An API server that has all that is waited for but the identity."""

    def __init__(self, secrets: Secrets) -> None:
        self.get_secret = secrets.get_secret

    async def serves_ferries(self) -> bool:
        return True

    async def may(self, *_: object) -> bool:
        return True


def test_a_copiers_certificate_names_its_ferry_only_and_is_trusted_by_us_only() -> None:
    identity = Identity.new()
    certificate = x509.load_pem_x509_certificate(identity.tls_pair("uid-1")[0].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["uid-1"]
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(identity.certificate))
    context = identity.context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.cert_store_stats()["x509_ca"] == 1


# -- metrics and health ---------------------------------------------------------------------------------------------


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(metrics.snapshot()().decode())
    return {(s.name, tuple(sorted(s.labels.values()))): s.value for family in families for s in family.samples}


def test_series_of_a_ferry_come_and_go_with_it() -> None:
    said = {
        "phase": "Copying",
        "observedGeneration": 3,
        "conditions": [{"type": "Stalled", "status": "False"}],
        "copier": {"restarts": 2},
    }
    meta = {"namespace": "shop", "name": "orders", "generation": 4, "creationTimestamp": "2026-01-01T00:00:00Z"}
    shown: list[Object] = [{"metadata": meta, "spec": SPEC, "status": said}]
    metrics = Metrics(lambda: shown)
    found = samples(metrics)
    assert found["ferry_status_phase", ("Copying", "orders", "shop")] == 1
    assert sum(found["ferry_status_phase", tuple(sorted((phase, "orders", "shop")))] for phase in PHASES) == 1
    assert found["ferry_status_condition", ("False", "Stalled", "orders", "shop")] == 1
    assert found["ferry_status_condition", ("Stalled", "True", "orders", "shop")] == 0
    assert found["ferry_metadata_generation", ("orders", "shop")] == 4
    assert found["ferry_status_observed_generation", ("orders", "shop")] == 3
    assert found["ferry_copier_restarts_total", ("orders", "shop")] == 2
    assert found["ferry_info", ("new.db", "old.db", "orders", "shop")] == 1
    shown.clear()
    assert not [name for name, labels in samples(metrics) if "orders" in labels]


def test_the_operators_own_metrics() -> None:
    metrics = Metrics(list)
    metrics.reconciled(0.01)
    metrics.failed("Forbidden")
    metrics.asked(Asked("GET", "ferries", 200))
    found = samples(metrics)
    assert found["ferry_operator_reconcile_total", ("ok",)] == 1
    assert found["ferry_operator_reconcile_errors_total", ("Forbidden",)] == 1
    assert found["ferry_operator_kube_requests_total", ("200", "GET", "ferries")] == 1
    assert any(name == "ferry_operator_build_info" for name, _ in found)


def test_ferries_are_looked_at_in_the_event_loop_only() -> None:
    """Those that are tended change in it while a scrape's text is made in a thread."""
    seen_in = []

    def ferries() -> list[Object]:
        seen_in.append(threading.current_thread())
        return []

    async def scraped() -> None:
        app = health.application(Metrics(ferries), Watchman(Versions(), {}, (), Metrics(list)), asyncio.Event())  # type: ignore[arg-type]
        async with TestClient(TestServer(app)) as client:
            answer = await client.get("/metrics")
            assert "ferry_operator_reconcile_total" in await answer.text()

    asyncio.run(scraped())
    assert seen_in == [threading.main_thread()]


class Versions:
    def __init__(self) -> None:
        self.found: dict[str, int] = {}

    async def list_versions(self, _: str | None) -> dict[str, int]:
        return dict(self.found)


@pytest.mark.parametrize(
    ("told", "found", "then", "caught_up"),
    [
        ({}, {"uid": 2}, {"uid": 3}, {"uid": 3}),
        ({"uid": 1}, {"uid": 2}, {"uid": 3}, {"uid": 3}),
        ({"uid": 1}, {}, {}, {}),
    ],
    ids=["never told", "told an older one", "not told that it is gone"],
)
def test_a_watch_that_tells_nothing_is_found_out(
    told: dict[str, int], found: dict[str, int], then: dict[str, int], caught_up: dict[str, int]
) -> None:
    kube = Versions()
    watchman = Watchman(kube, told, (), Metrics(list))  # type: ignore[arg-type]
    kube.found = found
    asyncio.run(watchman.check())
    assert watchman.problem == "", "it may be on its way"
    kube.found = then
    asyncio.run(watchman.check())
    assert "has not told of 1 Ferries or Pods" in watchman.problem
    told.clear()
    told |= caught_up
    asyncio.run(watchman.check())
    assert watchman.problem == ""


def test_a_crd_that_is_gone_is_found_out() -> None:
    again = asyncio.Event()

    class Gone:
        checks = 0

        async def list_versions(self, _: str | None) -> dict[str, int]:
            self.checks += 1
            if self.checks > 1:
                again.set()
            raise KubeError(404, "", "404 page not found")

    async def watch() -> str:
        watchman = Watchman(Gone(), {}, (), Metrics(list), check_seconds=0.01)  # type: ignore[arg-type]
        running = asyncio.create_task(watchman.run())
        async with asyncio.timeout(10):
            await again.wait()
        running.cancel()
        return watchman.problem

    assert asyncio.run(watch()) == "the CustomResourceDefinition ferries.mysqlferry.io is gone"


class Listing:
    """An API server that says what the test likes when versions are asked for."""

    def __init__(self, say: Callable[[], Awaitable[dict[str, int]]]) -> None:
        self.say = say
        self.asked = asyncio.Event()

    async def list_versions(self, _: str | None) -> dict[str, int]:
        self.asked.set()
        return await self.say()


async def _fail() -> dict[str, int]:
    raise RuntimeError("a bug")


async def _away() -> dict[str, int]:
    raise KubeError(0, "Unreachable", "away")


async def _hang() -> dict[str, int]:
    await asyncio.Event().wait()
    return {}


def test_a_watchman_who_has_died_is_found_out(caplog: pytest.LogCaptureFixture) -> None:
    async def watch() -> str:
        watchman = Watchman(Listing(_fail), {}, (), Metrics(list), check_seconds=0.01)  # type: ignore[arg-type]
        assert watchman.trouble == ""
        async with asyncio.timeout(10):
            await watchman.run()
        return watchman.trouble

    assert "nobody compares" in asyncio.run(watch())
    assert "a bug" in caplog.text


@pytest.mark.parametrize(("say", "patience"), [(_away, 60.0), (_hang, 0.05)], ids=["away", "hangs"])
def test_an_api_server_that_is_away_makes_nobody_unhealthy(
    say: Callable[[], Awaitable[dict[str, int]]], patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_LONGEST_CHECK", patience)

    async def watch() -> None:
        now, kube = [1000.0], Listing(say)
        watchman = Watchman(kube, {}, (), Metrics(list), 0.01, lambda: now[0])  # type: ignore[arg-type]
        running = asyncio.create_task(watchman.run())
        async with asyncio.timeout(10):
            for _ in range(5):
                now[0] += 2 * patience
                kube.asked.clear()
                await kube.asked.wait()
                assert watchman.trouble == ""
        running.cancel()

    asyncio.run(watch())


def test_a_watchman_who_does_not_come_back_is_found_out() -> None:
    async def watch() -> None:
        now, kube = [1000.0], Listing(_hang)
        watchman = Watchman(kube, {}, (), Metrics(list), 0.01, lambda: now[0])  # type: ignore[arg-type]
        now[0] += 1000
        assert watchman.trouble == "", "it has not begun: the CRD is waited for"
        running = asyncio.create_task(watchman.run())
        async with asyncio.timeout(10):
            await kube.asked.wait()
        now[0] += 181
        assert watchman.trouble == "nobody has compared watches with the API for 181 s"
        running.cancel()

    asyncio.run(watch())


# -- status ---------------------------------------------------------------------------------------------------------


def test_only_numbers_can_wait() -> None:
    said: Object = {"phase": "Copying", "progress": {"percent": 1}, "throttle": {"active": True, "reason": "a"}}
    assert not urgent(said, said | {"progress": {"percent": 2}, "message": "new", "throttle": {"active": True}})
    changes: list[Object] = [{"phase": "Paused"}, {"throttle": {"active": False}}, {"failure": {}}]
    for change in changes:
        assert urgent(said, said | change)


def test_conditions_of_others_are_left_to_them() -> None:
    theirs = {"type": "Theirs", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "t"}
    draft = Draft({"conditions": [theirs]}, 1, datetime(2026, 1, 1, tzinfo=UTC))
    assert "Theirs" not in {each["type"] for each in draft.status()["conditions"]}
    assert ours({"phase": "Copying", "conditions": [theirs]}) == {"phase": "Copying", "conditions": []}
    assert ours({}) == {}


def test_events_are_told_of_transitions_only() -> None:
    def said(status: str, reason: str, kind: str = "CutOver") -> Object:
        told = {"type": kind, "status": status, "reason": reason, "message": "m"}
        return {"conditions": [told], "cutover": {"lastResult": "DeadlineExceeded"}}

    assert transitions({}, said("False", "InProgress")) == []
    assert transitions(said("False", "InProgress"), said("False", "DeadlineExceeded")) == [
        ("Warning", "DeadlineExceeded", "m")
    ]
    assert transitions(said("False", "DeadlineExceeded"), said("False", "AwaitingApproval")) == [
        ("Normal", "AwaitingApproval", "m")
    ]
    exhausted = said("False", "AttemptsExhausted")
    exhausted["conditions"] += said("True", "AttemptsExhausted", "Stalled")["conditions"]
    assert transitions(said("False", "DeadlineExceeded"), exhausted) == [("Warning", "AttemptsExhausted", "m")]
    assert transitions(said("False", "DeadlineExceeded"), said("False", "DeadlineExceeded")) == []
    assert transitions(said("False", "DeadlineExceeded"), said("True", "Done")) == [("Normal", "Done", "m")]


# -- settings and the house -----------------------------------------------------------------------------------------


def test_settings() -> None:
    given = {"FERRY_OPERATOR_NAMESPACE": "ferry", "FERRY_IMAGE": "i:1", "FERRY_WATCH_NAMESPACES": "a, b"}
    settings = Settings.of(given | {"FERRY_MAX_RUNNING": "3"})
    assert settings.watch_namespaces == ("a", "b")
    assert settings.max_running == 3
    with pytest.raises(SettingsError, match="FERRY_IMAGE"):
        Settings.of({"FERRY_OPERATOR_NAMESPACE": "ferry"})
    with pytest.raises(SettingsError, match="FERRY_MAX_RUNNING=-1"):
        Settings.of(given | {"FERRY_MAX_RUNNING": "-1"})


def test_the_folder_does_not_hide_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    line = "import collections, operator, json; print(json.dumps(operator.itemgetter(0)([7])))"
    done = subprocess.run([sys.executable, "-S", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == 7


@pytest.mark.parametrize("prefix", ["Bearer", "bearer"])
def test_kopf_gets_the_bare_token_from_a_kubeconfig_and_in_a_pod(prefix: str) -> None:
    found = client.Configuration(host="https://api.example")
    found.api_key["BearerToken"] = f"{prefix} secret"
    assert access_of(found).token == "secret"
