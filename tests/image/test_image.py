"""The image that `make image` builds: its content, its user, and that it writes nowhere."""

import json
import os
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ferry_core
from hack.installing import cache_folder
from tests.support.whole_cluster import IMAGE, image_archive

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
_USER = 65532
_ENTER = 'mount --bind -o ro "$0" "$0" && exec chroot --userspec="$1" "$0" env -i $ENVIRONMENT "${@:2}"'

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def _buildah(*arguments: str) -> str:
    store = cache_folder() / "images"
    line = ["buildah", "--root", f"{store}/storage", "--runroot", f"{store}/run", "--storage-driver", "overlay"]
    done = subprocess.run([*line, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def built() -> Path:
    return image_archive()


@pytest.fixture(scope="module")
def run(built: Path) -> Iterator[Run]:
    """Run a command in the image as a Pod would: with its user and a read-only root."""
    assert built.exists()
    container = _buildah("from", "--pull-never", IMAGE)
    root = _buildah("mount", container)

    def within(*command: str) -> "subprocess.CompletedProcess[str]":
        line = ["unshare", "--mount", "bash", "-c", _ENTER, root, f"{_USER}:{_USER}", *command]
        environment = os.environ | {"ENVIRONMENT": " ".join(_config(built)["Env"])}
        return subprocess.run(line, capture_output=True, text=True, check=False, env=environment)

    yield within
    _buildah("umount", container)
    _buildah("rm", container)


def _config(path: Path) -> Any:
    """The image's configuration, read from the archive as any other tool would."""
    with tarfile.open(path) as tar:

        def blob(name: str) -> Any:
            file = tar.extractfile(name)
            assert file is not None
            return json.load(file)

        def by_digest(of: Any) -> Any:
            return blob("blobs/" + of["digest"].replace(":", "/"))

        manifest = by_digest(blob("index.json")["manifests"][0])
        return by_digest(manifest["config"])["config"]


def test_the_image_has_a_numeric_user_and_starts_without_a_shell(built: Path) -> None:
    config = _config(built)
    assert config["User"] == f"{_USER}:{_USER}", "runAsNonRoot can be checked for numbers alone"
    assert config["Entrypoint"] == ["ferry"]
    assert "PYTHONDONTWRITEBYTECODE=1" in config["Env"]


def test_the_images_labels(built: Path) -> None:
    labels = _config(built)["Labels"]
    assert labels["org.opencontainers.image.title"] == "mysql-ferry"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"] == ferry_core.__version__


def test_copier_and_operator_start_from_a_read_only_root(run: Run) -> None:
    assert run("touch", "/tmp/anything").returncode != 0, "else this proves nothing"
    said = run("ferry", "--version")
    assert (said.returncode, said.stdout) == (0, f"ferry, version {ferry_core.__version__}\n"), said.stderr
    operator = run("ferry-operator")
    assert operator.returncode == 64
    assert "FERRY_OPERATOR_NAMESPACE is missing" in operator.stderr


def test_the_images_files_are_not_writable_by_its_user(run: Run) -> None:
    found = run("find", "/opt", "/usr", "-writable", "-not", "-type", "l")
    assert (found.returncode, found.stdout) == (0, ""), found.stderr


def test_the_image_contains_exactly_the_locked_packages(run: Run) -> None:
    code = "import importlib.metadata as m; print(*sorted(f'{d.name}=={d.version}' for d in m.distributions()))"
    held = set(run("python", "-c", code).stdout.lower().replace("_", "-").split())
    locked = dict(re.findall(r'\[\[package\]\]\nname = "([^"]+)"\nversion = "([^"]+)"', (ROOT / "uv.lock").read_text()))
    assert {"kopf", "kubernetes", "pymysql", "mysql-ferry"} <= {each.partition("==")[0] for each in held}
    assert held <= {f"{name}=={version}" for name, version in locked.items()}
