"""What the options of the command name."""

from pathlib import Path

import pytest

from ferry_core.cli.inputs import open_tokens


@pytest.mark.parametrize(("mode", "open_to_all"), [(0o600, False), (0o440, False), (0o644, True)])
def test_a_token_file_that_every_login_may_read_is_warned_of(tmp_path: Path, mode: int, open_to_all: bool) -> None:
    file = tmp_path / "token"
    file.write_text("word")
    file.chmod(mode)
    assert [f"--token-file {file}: " in text for text in open_tokens([file])] == [True] * open_to_all
