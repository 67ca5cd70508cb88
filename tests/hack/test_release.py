"""The parts of a release that need neither an image nor a network."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from ferry_core import __version__
from hack import release


def test_one_version_everywhere() -> None:
    assert release.written() == {place: {__version__} for place in release.PLACES}


def test_a_new_version_must_be_one() -> None:
    with pytest.raises(SystemExit, match="is not a version"):
        release.write_version("next")


def test_the_plugin_is_one_file_that_needs_nothing(tmp_path: Path) -> None:
    archive = release.make_plugin(tmp_path, "https://example.invalid/v1")
    release.write_checksums(tmp_path)
    with tarfile.open(archive) as packed:
        assert sorted(packed.getnames()) == ["LICENSE", "kubectl-ferry"]
        packed.extractall(tmp_path / "bin", filter="data")
    # -I: neither this folder nor installed packages are found; -S: not even site-packages.
    plugin = tmp_path / "bin" / "kubectl-ferry"
    assert os.access(plugin, os.X_OK)
    line = [sys.executable, "-I", "-S", str(plugin), "--help"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "withdraw" in done.stdout
    krew = yaml.safe_load((tmp_path / "ferry.yaml").read_text())
    (platform,) = krew["spec"]["platforms"]
    assert platform["uri"] == f"https://example.invalid/v1/{archive.name}"
    assert f"{platform['sha256']}  {archive.name}\n" in (tmp_path / "SHA256SUMS").read_text()
    assert krew["spec"]["version"] == f"v{__version__}"
