"""Each field of the spec is protected by the admission policy, or named here as one that people on call may change."""

import re
from collections.abc import Iterator

from ferry_core.api.cutover import Cutover
from ferry_core.api.model import Model
from ferry_core.api.spec import Copy, Spec, Throttle
from hack.chart import render

ON_CALL = {
    "paused",
    "aborted",  # ends the run and keeps the rows that were copied
    *("copy.workers", "copy.chunkTargetDuration", "copy.chunkTargetBytes"),
    *("throttle.maxRowsPerSecond", "throttle.maxReplicaLag", "throttle.maxCommitLatency", "throttle.maxThreadsRunning"),
    "throttle.activeHours",
    *("cutover.mode", "cutover.approved", "cutover.notBefore", "cutover.notAfter"),
    *("cutover.maxLag", "cutover.deadline", "cutover.maxAttempts"),
    "cutover.watchFor",  # how long writes after the cutover are reported; they are never moved
}
_PARTS: dict[str, type[Model]] = {"copy": Copy, "throttle": Throttle, "cutover": Cutover}
"""What holds fields of both kinds."""


def _fields() -> Iterator[str]:
    for name, field in Spec.model_fields.items():
        alias = field.alias or name
        if alias in _PARTS:
            yield from (f"{alias}.{part.alias or below}" for below, part in _PARTS[alias].model_fields.items())
        else:
            yield alias


def _protected() -> set[str]:
    (policy,) = (each for each in render() if each["kind"] == "ValidatingAdmissionPolicy")
    rules = " ".join(variable["expression"] for variable in policy["spec"]["variables"])
    compared = re.findall(r" object\.spec\.([\w.?]+) == oldObject\.spec\.([\w.?]+)", rules)
    assert all(new == old for new, old in compared)
    return {new.replace("?", "") for new, _ in compared}


def test_each_field_is_protected_or_meant_for_people_on_call() -> None:
    protected = _protected()
    assert not protected & ON_CALL
    assert protected | ON_CALL == set(_fields())
