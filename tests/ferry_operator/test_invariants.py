"""Properties of every decision, with a status built from random observations."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from ferry_core.api.report import Failure, Phase, Stage
from ferry_core.api.spec import Spec
from ferry_core.errors import ExitCode
from ferry_operator.decide import decide
from ferry_operator.names import Role
from ferry_operator.observe import Ended, FerryView, Link, Observed, PodView, Refusal
from ferry_operator.plan import LONGEST_BACKOFF, SILENCE_SECONDS, CreatePod, DeletePod, Plan
from ferry_operator.pods import digest
from tests.support.observed import NOW, Object, ferry, helper, pod, report, said, spec

LONG = timedelta(seconds=LONGEST_BACKOFF + 1)


def ends(code: int, stage: Stage = Stage.STREAMING, *, words: bool = True) -> Ended:
    retriable = code not in (ExitCode.CONFIG, ExitCode.DATA)
    failure = Failure(reason="ConnectionLost" if retriable else "RowsDiffer", message="why", retriable=retriable)
    last = report(stage, phase=Phase.FAILED.value, failure=failure).model_dump_json(by_alias=True)
    return Ended(code, "Error", last if words else "", NOW)


def crashed(code: int, *, words: bool = True) -> Object:
    waiting = ("CrashLoopBackOff", "back-off")
    return {"running": False, "waiting": waiting, "restarts": 1, "ended": ends(code, words=words)}


STATES: list[Object] = [
    {"running": False, "phase": "Pending"},
    {"running": False, "phase": "Pending", "unschedulable": "0/1 nodes are available"},
    {"running": False, "phase": "Pending", "waiting": ("ImagePullBackOff", "no such image")},
    {"running": False, "waiting": ("CreateContainerConfigError", "runAsNonRoot")},
    crashed(64), crashed(65), crashed(75), crashed(137, words=False), crashed(1, words=False),
    {"restarts": 1},
    {"lost": "its node does not answer"},
    {"running": False, "phase": "Failed", "evicted": "Evicted"},
    {"deletion_due": NOW + timedelta(days=1)},
    {"deletion_due": NOW - timedelta(days=1)},
]  # fmt: skip
PODS: st.SearchStrategy[Object | None] = st.one_of(st.none(), st.just({}), st.just({}), st.sampled_from(STATES))


@dataclass(frozen=True)
class Situation:
    """What one observation contains besides the recorded status; seconds are since the last one."""

    seconds: int
    changed: bool
    pod: Object | None
    outdated: bool
    stage: Stage | None
    exhausted: bool
    silent: int | None
    refusal: int | None
    admitted: bool


SIGHTS = st.builds(
    Situation,
    seconds=st.sampled_from([0, 1, 11, 400]),
    changed=st.sampled_from([False, False, False, True]),
    pod=PODS,
    outdated=st.sampled_from([False, False, True]),
    stage=st.one_of(st.none(), st.sampled_from(list(Stage)[:-1])),
    exhausted=st.booleans(),
    silent=st.sampled_from([None, None, 1, 30]),
    refusal=st.sampled_from([None, None, 1, 20]),
    admitted=st.sampled_from([True, True, False]),
)


def wanted(generation: int, **parts: bool) -> Spec:
    return spec(copier={"image": f"ferry:{generation}"}, **parts)


def see(situation: Situation, view: FerryView, now: datetime) -> Observed:
    """``view`` combined with ``situation``."""
    generation, copier, link = view.generation, None, Link()
    if situation.pod is not None:
        made = digest(wanted(generation - situation.outdated), Role.COPIER)
        copier = replace(replace(pod(), generation=generation, digest=made), **situation.pod)
    if copier is not None and copier.running and not copier.deleting:
        stalled = said(
            "Stalled", str(situation.exhausted), "AttemptsExhausted" if situation.exhausted else "NotStalled"
        )
        spoken = None if situation.stage is None else report(situation.stage, generation, conditions=[stalled])
        silent = None if situation.silent is None else now - timedelta(seconds=situation.silent)
        link = Link(spoken, silent, "timeout" if silent else "")
    trouble = None
    if situation.refusal is not None:
        trouble = Refusal("PodRefused", "exceeded quota", now - timedelta(seconds=situation.refusal), generation)
    return Observed(view, now, copier, link=link, admitted=situation.admitted, refusal=trouble)


def rounds(situations: list[Situation]) -> Iterator[tuple[Observed, Plan]]:
    """Successive rounds of an operator, each with the status that the last one wrote."""
    status: Object = {}
    generation, now = 1, NOW
    for situation in situations:
        generation, now = generation + situation.changed, now + timedelta(seconds=situation.seconds)
        seen = see(situation, ferry(status, generation, spec=wanted(generation)), now)
        plan = decide(seen)
        yield seen, plan
        status = record(seen, plan)


def record(seen: Observed, plan: Plan) -> Object:
    return dict(seen.ferry.status) if plan.status is None else plan.status


def condition(status: Object, kind: str) -> Object:
    return next((each for each in status.get("conditions", ()) if each["type"] == kind), {"status": "", "reason": ""})


def may_cut_over(seen: Observed, copier: PodView) -> bool:
    since = seen.link.silent_since
    silent = since is not None and seen.now - since >= timedelta(seconds=SILENCE_SECONDS)
    stage = seen.ferry.stage if seen.link.report is None else seen.link.report.stage
    return copier.running and not silent and stage == Stage.CUTTING_OVER


histories = given(st.lists(SIGHTS, min_size=1, max_size=8))
thoroughly = settings(max_examples=300, deadline=None)


@thoroughly
@histories
def test_every_plan_has_a_next_round(situations: list[Situation]) -> None:
    for _, plan in rounds(situations):
        assert 0 < plan.next_look <= LONGEST_BACKOFF


@thoroughly
@histories
def test_a_corrected_spec_gets_a_new_copier(situations: list[Situation]) -> None:
    """Without a Pod at once, whatever the status is; with a Pod of an older spec as soon as it may be replaced."""
    for seen, plan in rounds(situations):
        status, newer = record(seen, plan), seen.ferry.generation + 1
        corrected = Observed(ferry(status, newer, spec=wanted(newer)), seen.now + timedelta(seconds=1))
        assert decide(corrected).actions == (CreatePod(Role.COPIER),)
        copier = seen.copier
        if copier is None or copier.deleting or copier.digest == seen.ferry.digests[Role.COPIER]:
            continue
        assert may_cut_over(seen, copier) or DeletePod(copier) in plan.actions


@thoroughly
@histories
def test_everything_that_needs_no_person_is_retried(situations: list[Situation]) -> None:
    """After some time, even if the problem persists, unless the data themselves are wrong."""
    for seen, plan in rounds(situations):
        status = record(seen, plan)
        failure = condition(status, "Succeeded")
        code = status.get("copier", {}).get("lastTermination", {}).get("exitCode")
        for_the_spec = failure["reason"] == "Failed" and failure["observedGeneration"] == seen.ferry.generation
        gone = replace(seen, ferry=replace(seen.ferry, status=status), copier=None, link=Link(), now=seen.now + LONG)
        later = decide(replace(gone, admitted=True))
        if code == ExitCode.DATA and for_the_spec and "failure" in status:
            assert later.actions == ()
        else:
            assert later.actions == (CreatePod(Role.COPIER),)


@thoroughly
@histories
def test_a_second_round_without_a_change_changes_nothing(situations: list[Situation]) -> None:
    for seen, plan in rounds(situations):
        status = record(seen, plan)
        again = record(seen, decide(replace(seen, ferry=replace(seen.ferry, status=status))))
        if isinstance(next(iter(plan.actions), None), DeletePod):
            continue  # what is known about a Pod that ends is reported before it is deleted
        for name in ("stage", "phase", "message", "failure"):
            assert again.get(name) == status.get(name), name
        assert again["conditions"] == status["conditions"]


@thoroughly
@histories
def test_stalled_is_not_reset_without_news(situations: list[Situation]) -> None:
    for seen, plan in rounds(situations):
        before, after = seen.ferry.status, record(seen, plan)
        failure = after.get("failure", {"retriable": True})
        if not failure["retriable"]:
            assert condition(after, "Stalled")["status"] == "True", "it failed, for all we know"
            another_reason = seen.copier is not None or seen.refusal is not None
            assert another_reason or condition(after, "Stalled")["reason"] == failure["reason"]
        if condition(dict(before), "Stalled")["status"] != "True" or condition(after, "Stalled")["status"] == "True":
            continue
        copier = seen.copier
        heard = seen.link.report is not None
        another = copier is None or not copier.running or copier.restarts != before.get("copier", {}).get("restarts")
        starts = condition(dict(before), "Reconciling")["reason"] == "CopierStarting"
        assert heard or another or starts or plan.actions or (copier is not None and copier.deleting)


TOO_LATE = Ended(64, "Error", "ferry: AlreadyCutOver: this Ferry was cut over", NOW)
HELPERS: list[Object] = [
    {"running": True},
    {"running": False, "phase": "Pending"},
    {"running": False, "waiting": ("CrashLoopBackOff", "back-off"), "ended": TOO_LATE},
    {"running": False, "phase": "Failed"},
]


@thoroughly
@given(st.lists(SIGHTS, max_size=5), st.sampled_from(HELPERS), st.booleans())
def test_an_abort_ends_and_leaves_no_pod_that_would_restart(
    situations: list[Situation], left: Object, late: bool
) -> None:
    """In a cluster that carries out every action, from any earlier status."""
    status: Object = {}
    now, generation = NOW, 1
    copier: PodView | None = None
    for seen, plan in rounds(situations):
        status, now, generation, copier = record(seen, plan), seen.now, seen.ferry.generation, seen.copier
    if copier is not None and copier.deleting:
        copier = None  # its node is back
    aborted = wanted(generation + 1, aborted=True)
    helping: PodView | None = None
    asked = False
    for _ in range(8):
        now += timedelta(seconds=11)
        plan = decide(Observed(ferry(status, generation + 1, spec=aborted), now, copier, helping))
        status = plan.status or status
        for action in plan.actions:
            match action:
                case DeletePod(gone):
                    copier, helping = (None, helping) if gone.role is Role.COPIER else (copier, None)
                case CreatePod(role):
                    assert role is Role.ABORT
                    asked = True
                    over = HELPERS[2] if late else {"running": False, "phase": "Succeeded"}
                    helping = helper(Role.ABORT, of=aborted, **over)
    assert status["phase"] == ("Completed" if late and asked else "Aborted")
    assert helping is None or helping.phase == "Succeeded"
    finished = ferry(status, generation + 1, spec=aborted)
    vain = helper(Role.ABORT, of=aborted, **left)
    assert decide(Observed(finished, now, helper=vain)).actions == (DeletePod(vain),)
