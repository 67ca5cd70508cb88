"""What the options of the command name."""

import os
from pathlib import Path

import pytest

from ferry_core.cli.inputs import open_tokens


@pytest.mark.parametrize(
    ("mode", "readers"), [(0o600, []), (0o640, ["its group"]), (0o644, ["every login of this machine"])]
)
def test_a_token_file_that_others_may_read_is_warned_of(tmp_path: Path, mode: int, readers: list[str]) -> None:
    file = tmp_path / "token"
    file.write_text("word")
    file.chmod(mode)
    assert open_tokens([file]) == [f"--token-file {file}: {who} may read it; chmod 600 it" for who in readers]


def test_a_token_file_of_root_for_the_group_of_a_service_is_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text("word")
    file.chmod(0o640)
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    assert open_tokens([file]) == []
