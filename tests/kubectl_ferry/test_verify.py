"""``kubectl ferry verify``: which exit code follows from what a resource and its copier say one after the other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from kubectl_ferry import verbs
from kubectl_ferry.kubectl import CommandFailed, Kubectl, Object


class Told(Kubectl):
    """Shows these resources one after the other, then the last again and again."""

    def __init__(self, *ferries: Object) -> None:
        super().__init__()
        self.left = [*ferries]

    def ferry(self, name: str) -> Object:
        assert name == "orders"
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


class Copier:
    def __init__(self, answer: Object | None) -> None:
        self.answer = answer

    def post(self, path: str) -> Object:
        assert path == "/api/v1/verify"
        if self.answer is None:
            raise CommandFailed("the copier refuses /api/v1/verify: HTTP 409 the run is paused")
        return self.answer


def ferry(verified: str = "True", answered: int = 0, epoch: int = 3, mismatch: str = "Repair", **status: Any) -> Object:
    told = {
        "phase": "Streaming",
        "copier": {"epoch": epoch},
        "verification": {"requestsAnswered": answered, "rowsVerified": 7},
        "conditions": [{"type": "Verified", "status": verified, "reason": "R", "message": "m"}],
    }
    return {
        "metadata": {"name": "orders"},
        "spec": {"verify": {"onMismatch": mismatch}},
        "status": told | status,
    }


def failed(reason: str) -> Object:
    return ferry(failure={"reason": reason, "message": "why", "retriable": False}, phase="Failed")


ASKED = {"message": "asked", "request": 1, "epoch": 3}


def ended(
    monkeypatch: pytest.MonkeyPatch, ferries: Sequence[Object], answer: Object | None = ASKED, wait: float = 30
) -> tuple[int, str]:
    @contextmanager
    def forwarded(_kubectl: Kubectl, _ferry: Object) -> Iterator[Copier]:
        yield Copier(answer)

    monkeypatch.setattr(verbs, "forwarded", forwarded)
    monkeypatch.setattr(verbs, "_EVERY_SECONDS", 0)
    try:
        return verbs.verified(Told(*ferries), "orders", wait), ""
    except CommandFailed as error:
        return error.code, str(error)


def test_the_answer_to_this_request_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(monkeypatch, [ferry(), ferry(), ferry(answered=1)]) == (0, "")


def test_an_earlier_process_has_answered_another_request(monkeypatch: pytest.MonkeyPatch) -> None:
    late = ferry(answered=5, epoch=2)
    assert ended(monkeypatch, [late, late, ferry(), ferry(answered=1)]) == (0, "")
    code, text = ended(monkeypatch, [late], wait=0)
    assert (code, "has not passed" in text) == (75, True)


@pytest.mark.parametrize("phase", ["Paused", "CuttingOver", "Completed", "Pending"])
def test_an_earlier_result_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], phase: str
) -> None:
    code, text = ended(monkeypatch, [ferry(answered=5, phase=phase)], answer=None)
    assert (code, "no new pass was asked for: this is an earlier result" in text) == (75, True)
    assert f"(phase {phase}: the copier refuses" in capsys.readouterr().err


def test_a_copier_that_is_replaced_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = ended(monkeypatch, [ferry(), ferry(answered=5, epoch=4)])
    assert (code, "the copier was replaced" in text) == (75, True)


def test_rows_that_differ_may_be_copied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(monkeypatch, [ferry(), ferry("False"), ferry("False"), ferry(answered=1)]) == (0, "")
    assert ended(monkeypatch, [ferry(), ferry("False", mismatch="Fail")])[0] == 65


@pytest.mark.parametrize(
    ("reason", "code"), [("RowsDiffer", 65), ("TargetWrittenByOthers", 65), ("SourceBinlogPurged", 75)]
)
def test_only_rows_that_differ_are_a_difference(monkeypatch: pytest.MonkeyPatch, reason: str, code: int) -> None:
    assert ended(monkeypatch, [ferry(), failed(reason)])[0] == code
