"""Builds observations for tests of ``decide``: a Ferry, its Pods, its copier's report."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ferry_core.api.report import ConditionReport, CopierReport, Failure, Phase, Report, Stage
from ferry_core.api.spec import Spec
from ferry_operator.decide import decide
from ferry_operator.names import Role
from ferry_operator.observe import Ended, FerryView, Observed, PodView
from ferry_operator.plan import Plan
from ferry_operator.pods import digest
from tests.support.kubelet import SPEC

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
Object = dict[str, Any]


def spec(**parts: Any) -> Spec:
    return Spec.model_validate_json(json.dumps(SPEC | parts))


def ferry(status: Object | None = None, generation: int = 1, **parts: Any) -> FerryView:
    wanted = parts.pop("spec", None) or spec()
    digests = {role: digest(wanted, role) for role in Role}
    return FerryView("orders", "shop", "uid-1", generation, wanted, status=status or {}, digests=digests, **parts)


def pod(**parts: Any) -> PodView:
    made = PodView(Role.COPIER, "orders-copier", "pod-1", phase="Running", ip="10.0.0.1", image="ferry:1", running=True)
    return replace(made, digest=digest(spec(), Role.COPIER), generation=1, **parts)


def helper(role: Role, **parts: Any) -> PodView:
    of = parts.pop("of", spec(aborted=role is Role.ABORT))
    return replace(pod(), role=role, name=f"orders-{role}", uid="pod-2", digest=digest(of, role), **parts)


def report(stage: Stage, acknowledged: int | None = 1, **parts: Any) -> Report:
    copier = CopierReport(acknowledged_generation=acknowledged, epoch=3)
    return Report(stage=stage.value, phase=parts.pop("phase", stage.value), copier=copier, revision=7, **parts)


def said(kind: str, status: str, reason: str, message: str = "", generation: int | None = None) -> ConditionReport:
    entry = {"type": kind, "status": status, "reason": reason, "message": message, "last_transition_time": NOW}
    entry["observed_generation"] = generation
    return ConditionReport.model_validate(entry)


def see(**parts: Any) -> Observed:
    parts.setdefault("ferry", ferry())
    return Observed(now=NOW, **parts)


def status(plan: Plan) -> Object:
    assert plan.status is not None
    return plan.status


def condition(plan: Plan, kind: str) -> Object:
    return next(each for each in status(plan)["conditions"] if each["type"] == kind)


def after(seen: Observed, **later: Any) -> Observed:
    """The observation after the status that ``seen`` leads to was written."""
    written = status(decide(seen))
    parts: Object = {"ferry": ferry(written, later.pop("generation", seen.ferry.generation)), "now": NOW} | later
    return Observed(**parts)


def failed(code: int, reason: str, message: str, ago: float = 0) -> PodView:
    last = report(
        Stage.VALIDATING, phase=Phase.FAILED.value, failure=Failure(reason=reason, message=message, retriable=False)
    )
    ended = Ended(code, "Error", last.model_dump_json(by_alias=True), NOW - timedelta(seconds=ago))
    return replace(pod(), running=False, waiting=("CrashLoopBackOff", "back-off"), ended=ended, ended_before=ended)
