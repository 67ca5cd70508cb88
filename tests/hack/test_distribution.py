"""What `pip install .` installs into an empty environment."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from ferry_core import __version__

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a new environment with the distribution, built and installed from this folder by the lock file's tool."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    # Built again, because an old wheel might contain old code.
    install = ("pip", "install", f"--python={folder}", "--refresh-package=mysql-ferry", str(ROOT))
    for line in (("venv", str(folder)), install):
        subprocess.run([ROOT / "hack/uv.sh", *line, "--quiet"], env=environment, check=True)
    return folder / "bin"


def call(*line: str | Path, given: str = "") -> "subprocess.CompletedProcess[str]":
    """Runs in a folder where nothing of the clone can be found by accident."""
    return subprocess.run(line, cwd="/", input=given, capture_output=True, text=True, check=False)


def test_the_command_and_the_module_print_their_version(scripts: Path) -> None:
    for line in ([scripts / "ferry"], [scripts / "python", "-m", "ferry_core"]):
        said = call(*line, "--version")
        assert (said.returncode, said.stdout) == (0, f"ferry, version {__version__}\n"), said.stderr


def test_the_readmes_ferry_is_valid(scripts: Path) -> None:
    (manifest,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    said = call(scripts / "ferry", "check", "-f", "/dev/stdin", given=manifest.replace(".db", ".invalid"))
    assert said.returncode == 64, said.stderr
    assert said.stdout.count("ServerUnreachable") == 2
    assert re.search(r"^2 of \d+ checks failed, \d+ could not run", said.stdout, re.MULTILINE)


def test_an_operator_without_its_packages_names_the_extra(scripts: Path) -> None:
    said = call(scripts / "ferry-operator")
    assert said.returncode == 1
    (line,) = said.stderr.splitlines()
    assert line.endswith("pip install '.[operator]'")
