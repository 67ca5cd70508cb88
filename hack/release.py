"""What ``make release`` and ``make version`` do: all that a release consists of, under dist/, from this folder alone.

The version stands in pyproject.toml; ``version NEW`` writes it wherever a file needs it as text.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipapp
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
PLACES = {
    "pyproject.toml": r'^version = "(.+)"$',
    "ferry_core/__init__.py": r'^__version__ = "(.+)"$',
    "deploy/helm/ferry/Chart.yaml": r"^(?:appV|v)ersion: (.+)$",
    "Dockerfile": r"^ARG VERSION=(.+)$",
}
"""Each file with the version, and the lines in it."""


def version() -> str:
    project: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["version"]


def written() -> dict[str, set[str]]:
    """The versions in each of the places."""
    return {place: set(re.findall(lines, (ROOT / place).read_text(), re.MULTILINE)) for place, lines in PLACES.items()}


def write_version(new: str) -> None:
    """To all places, and to the lock file."""
    if not re.fullmatch(r"\d+\.\d+\.\d+(?:-?(?:a|b|rc)\d+)?", new):
        sys.exit(f"{new} is not a version such as 1.2.3")
    for place, lines in PLACES.items():
        path = ROOT / place
        path.write_text(
            re.sub(lines, lambda found: found[0].replace(found[1], new), path.read_text(), flags=re.MULTILINE)
        )
    _run(ROOT / "hack/uv.sh", "lock", "--quiet")


def make(downloads: str) -> None:
    """Everything. ``downloads``: the URL under which dist/ will be published, for krew."""
    if (base := os.environ.get("BASE")) and "@sha256:" not in base:
        sys.exit(f"give the base of a release by its digest, not {base}: a tag may name another image tomorrow")
    if any(found != {version()} for found in written().values()):
        sys.exit(f"the versions differ: {written()}; run make version NEW={version()}")
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    _run(ROOT / "hack/uv.sh", "build", "--quiet", "--wheel", "--out-dir", DIST)
    (DIST / ".gitignore").unlink(missing_ok=True)
    make_plugin(DIST, downloads)
    _chart()
    shutil.copy(ROOT / "deploy/crds/ferries.yaml", DIST / f"mysql-ferry-crds-{version()}.yaml")
    _bill_of_materials()
    image = ROOT / _run(ROOT / "hack/image.sh").strip()
    shutil.copy(image, DIST / f"mysql-ferry-{version()}.oci.tar")
    write_checksums(DIST)
    print((DIST / "SHA256SUMS").read_text(), end="")


def make_plugin(folder: Path, downloads: str) -> Path:
    """The kubectl plugin: one file that needs only Python, its archive, and the manifest for krew."""
    archive = folder / f"kubectl-ferry-{version()}.tar.gz"
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "kubectl_ferry", source / "kubectl_ferry", ignore=skipped)
        plugin = Path(scratch) / "kubectl-ferry"
        zipapp.create_archive(source, plugin, "/usr/bin/env python3", "kubectl_ferry.__main__:main", compressed=True)
        with tarfile.open(archive, "w:gz") as packed:
            packed.add(plugin, "kubectl-ferry")
            packed.add(ROOT / "LICENSE", "LICENSE")
    text = (ROOT / "deploy/krew/ferry.yaml").read_text()
    values = {"version": version(), "uri": f"{downloads}/{archive.name}", "sha256": _sha256(archive)}
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    (folder / "ferry.yaml").write_text(text)
    return archive


def write_checksums(folder: Path) -> None:
    files = sorted(path for path in folder.iterdir() if path.name != "SHA256SUMS")
    (folder / "SHA256SUMS").write_text("".join(f"{_sha256(path)}  {path.name}\n" for path in files))


def _chart() -> None:
    helm = _run(ROOT / "hack/kubernetes/helm.sh").strip()
    _run(helm, "package", ROOT / "deploy/helm/ferry", "--destination", DIST)


def _bill_of_materials() -> None:
    """Of all Python packages that the image and an installation with all extras contain."""
    line = ("export", "--quiet", "--frozen", "--no-dev", "--all-extras", "--preview-features", "sbom-export")
    text = _run(ROOT / "hack/uv.sh", *line, "--format", "cyclonedx1.5")
    (DIST / f"mysql-ferry-{version()}.cdx.json").write_text(text)


def _run(*line: str | Path) -> str:
    return subprocess.run(line, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["version", new]:
            write_version(new)
        case ["make", downloads]:
            make(downloads.rstrip("/"))
        case _:
            sys.exit("release.py make DOWNLOADS_URL | version NEW")
