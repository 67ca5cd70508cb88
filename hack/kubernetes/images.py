"""Container images without a registry: archives made from files of this machine.

Used by ``cluster.py`` for the pause image, and by the demo and the tests for a MySQL image.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_image(path: Path, name: str, files: Mapping[str, Path], command: Sequence[str]) -> None:
    """Write a Docker archive with one layer to ``path``. ``files`` maps paths in the image to files of this machine."""
    layer = path.with_suffix(".layer")
    with tarfile.open(layer, "w") as tar:
        for inside, outside in sorted(files.items()):
            tar.add(outside.resolve(), inside.lstrip("/"), recursive=False)
    digest = _digest(layer)
    config = {
        "architecture": _MACHINES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": list(command), "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
    partial = path.with_suffix(".partial")
    with tarfile.open(partial, "w") as tar:
        tar.add(layer, f"{digest}/layer.tar")
        for member, content in (("config.json", config), ("manifest.json", manifest)):
            _add(tar, member, json.dumps(content).encode())
    layer.unlink()
    partial.rename(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
