"""docs/cli.md matches the command: every option of ``ferry run``, every subcommand, a valid manifest."""

from pathlib import Path

import click

from ferry_core.cli.main import COMMANDS
from ferry_core.cli.run import run
from ferry_core.errors import ExitCode
from ferry_core.manifest import load

TEXT = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()


def test_every_command_and_option_is_there() -> None:
    assert [name for name in COMMANDS if f"ferry {name}" not in TEXT] == []
    options = [name for one in run.params if isinstance(one, click.Option) for name in one.opts]
    assert [name for name in options if f"`{name}" not in TEXT] == []
    assert [code.value for code in ExitCode if f"| {code.value} |" not in TEXT] == []


def test_its_manifest_is_accepted(tmp_path: Path) -> None:
    example = tmp_path / "ferry.yaml"
    example.write_text(TEXT.split("```yaml\n")[1].split("```")[0])
    assert load([example]).source.address == "orders-old.db:3306"
