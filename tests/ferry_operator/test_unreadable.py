"""A spec that the operator cannot read: what a running copier is told, and what an abort is made of. Without I/O."""

import json
from dataclasses import replace
from typing import Any

import pytest

from ferry_core.api.directive import Directive
from ferry_core.api.report import Stage
from ferry_operator import unreadable
from ferry_operator.decide import decide
from ferry_operator.names import Role
from ferry_operator.observe import FerryView, Link, Refusal, ferry_view
from ferry_operator.plan import CreatePod, DeletePod, SendDirective
from tests.support.kubelet import SPEC
from tests.support.observed import NOW, Object, condition, failed, pod, report, see, status

MAGIC: Object = {"magic": "wand"}


def stored(*, generation: int = 2, recorded: Object | None = None, **parts: Any) -> FerryView:
    """As the API server has it."""
    meta = {"name": "orders", "namespace": "shop", "uid": "uid-1", "generation": generation}
    finalizers = {"finalizers": ["mysqlferry.io/operator"]}
    return ferry_view({"metadata": meta | finalizers, "spec": SPEC | parts, "status": recorded or {}})


RUNNING: Object = {"copier": pod(), "link": Link(report(Stage.COPYING, acknowledged=1))}


def test_no_copier_is_started() -> None:
    plan = decide(see(ferry=stored(**MAGIC)))
    assert plan.actions == ()
    assert condition(plan, "Stalled")["reason"] == "InvalidField"
    assert "so no copier is started: spec.magic: Extra inputs" in status(plan)["message"]


def test_a_running_copier_is_told_and_its_report_is_shown() -> None:
    plan = decide(see(ferry=stored(**MAGIC), **RUNNING))
    assert plan.actions == (SendDirective(),)
    assert status(plan)["stage"] == "Copying"
    assert condition(plan, "Stalled")["reason"] == "InvalidField"
    told = {"copier": pod(), "link": Link(report(Stage.STREAMING, acknowledged=2))}
    plan = decide(see(ferry=stored(**MAGIC), **told))
    assert plan.actions == ()
    assert status(plan)["stage"] == "Streaming"
    assert "applies only what can change while it runs: spec.magic" in status(plan)["message"]
    settled = decide(see(ferry=stored(recorded=status(plan), **MAGIC), **told))
    assert condition(settled, "Stalled")["reason"] == "InvalidField", "it is not forgotten in the next round"


def test_what_the_copier_refuses_is_reported_in_its_words() -> None:
    no = Refusal("InvalidField", "copy.magic: Extra inputs are not permitted", NOW, 2)
    plan = decide(see(ferry=stored(copy=MAGIC), refusal=no, **RUNNING))
    assert "the copier refuses the changed spec; it applies only a pause, an abort" in status(plan)["message"]
    assert condition(plan, "Stalled")["message"] == no.message


def test_new_defaults_of_a_newer_crd_change_nothing() -> None:
    told = {"copier": pod(), "link": Link(report(Stage.COPYING, acknowledged=2))}
    before = status(decide(see(ferry=stored(), **told)))
    plan = decide(see(ferry=stored(recorded=before, **MAGIC), **told))
    assert plan.actions == ()
    assert condition(plan, "Stalled")["status"] == "False"
    assert condition(plan, "Reconciling")["reason"] == "Settled"
    without = decide(see(ferry=stored(recorded=before, **MAGIC)))
    assert condition(without, "Stalled")["reason"] == "InvalidField", "but no other copier can be started"


@pytest.mark.parametrize(
    "copier",
    [
        replace(pod(), digest="other"),
        replace(pod(), running=False, waiting=("CrashLoopBackOff", "back-off")),
    ],
    ids=["outdated", "crashing"],
)
def test_a_copier_that_could_not_be_replaced_is_kept(copier: Any) -> None:
    recorded = {"stage": "CuttingOver"}
    plan = decide(see(ferry=stored(recorded=recorded, **MAGIC), copier=copier))
    assert not any(isinstance(each, DeletePod) for each in plan.actions)


def test_the_end_of_its_run_is_recorded() -> None:
    plan = decide(see(ferry=stored(**MAGIC), copier=replace(pod(), phase="Succeeded", running=False)))
    assert condition(plan, "Succeeded")["status"] == "True"
    assert condition(plan, "Stalled")["status"] == "False"
    plan = decide(see(ferry=stored(**MAGIC), copier=failed(65, "RowsDiffer", "shop.t: id 7")))
    assert status(plan)["failure"]["reason"] == "RowsDiffer"


def test_the_directive_has_what_is_stored() -> None:
    raw = SPEC | MAGIC | {"paused": True, "cutover": {"approved": True}, "copy": {"workers": 3}}
    sent = json.loads(unreadable.directive(7, raw, held=False))
    assert sent == {"generation": 7, "paused": True, "cutover": {"approved": True}, "copy": {"workers": 3}}
    held = Directive.model_validate_json(unreadable.directive(6, raw, held=True))
    assert (held.generation, held.paused, held.cutover.permitted) == (6, True, False)


@pytest.mark.parametrize(
    ("cutover", "permitted"),
    [({"approved": True}, True), ({"approved": False}, False), ({"approved": True, "magic": 1}, False)],
)
def test_a_withdrawn_approval_is_recorded(cutover: Object, permitted: bool) -> None:
    view = stored(recorded={"stage": "Streaming", "phase": "Streaming"}, cutover=cutover, **MAGIC)
    assert view.permitted is permitted
    recorded = status(decide(see(ferry=view, **RUNNING))).get("copier", {})
    assert ("withdrawnGeneration" in recorded) is not permitted


@pytest.mark.parametrize(
    "parts",
    [
        MAGIC,
        {"copy": MAGIC, "tables": SPEC["tables"] | MAGIC},
        {"source": SPEC["source"] | MAGIC},
        {"verify": {"mode": "Magic"}},
        {"acknowledge": ["Magic"]},
        {"tables": SPEC["tables"] | {"rules": [{"match": "shop.t", "magic": True}]}},
    ],
)
def test_it_can_be_aborted(parts: Object) -> None:
    started = {"startTime": "2026-11-23T11:00:00Z", "stage": "Copying", "phase": "Copying"}
    view = stored(recorded=started, aborted=True, **parts)
    assert view.problem
    assert decide(see(ferry=view, copier=pod())).actions == (DeletePod(pod()),)
    assert decide(see(ferry=view)).actions == (CreatePod(Role.ABORT),)
    assert view.spec is not None
    assert view.spec.source.host == SPEC["source"]["host"]


@pytest.mark.parametrize("parts", [{"source": SPEC["source"] | {"port": "socket"}}, {"checkpoint": {"store": "Magic"}}])
def test_an_abort_of_unknown_servers_is_left_to_the_running_copier(parts: Object) -> None:
    plan = decide(see(ferry=stored(aborted=True, **parts), **RUNNING))
    assert plan.actions == (SendDirective(),)
    assert condition(plan, "Stalled")["reason"] == "InvalidField"
