"""Tests that failed beside others are run once more: what they say then decides, and is printed."""

import json
import subprocess
from pathlib import Path

import pytest

from hack import failed_alone

PASSES = "def test_it(): assert True\n"
FAILS = "def test_it(): assert 'sunk' == 'afloat'\n"


def decided(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str, failed: int = 1, code: int = 1) -> int:
    """The exit code after ``failed`` tests in a folder with ``body`` failed beside others."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    names = [f"test_{number}.py" for number in range(failed)]
    for name in names:
        (folder / name).write_text(body)
    last = folder / "lastfailed"
    last.write_text(json.dumps({f"{name}::test_it": True for name in names}))
    monkeypatch.setattr(failed_alone, "ROOT", folder)
    monkeypatch.setattr(failed_alone, "LAST_FAILED", last)
    return failed_alone.main(code)


def test_what_passes_alone_is_named_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert decided(tmp_path, monkeypatch, PASSES, failed_alone.AT_MOST) == 0
    said = capfd.readouterr().out
    assert said[said.index("UNSTABLE: ") :].count("::test_it") == failed_alone.AT_MOST


def test_what_fails_again_fails_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert decided(tmp_path, monkeypatch, FAILS) == 1
    said = capfd.readouterr().out
    assert "AssertionError: assert 'sunk' == 'afloat'" in said
    assert "UNSTABLE" not in said


@pytest.mark.parametrize(("failed", "code"), [(failed_alone.AT_MOST + 1, 1), (0, 1), (1, 2)])
def test_many_failures_and_other_ends_are_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failed: int, code: int
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: pytest.fail("it is run again"))
    assert decided(tmp_path, monkeypatch, PASSES, failed, code) == code
