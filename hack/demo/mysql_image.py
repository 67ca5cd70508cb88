"""Builds an image of MySQL without a registry: mysqld, its libraries and messages, from the installed test server.

It accepts the same ``command`` as the public image. Called by ``place``.
"""

import re
import subprocess
from pathlib import Path

from hack.families import Family
from hack.installing import cache_folder
from hack.kubernetes.images import write_image
from hack.releases import install

NAME = "localhost/mysql:9.7"


def archive() -> Path:
    """Built once for each version of the server."""
    version = install(Family.MYSQL)
    path = cache_folder() / "images" / f"mysql-{version}.tar"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write_image(path, NAME, _files(cache_folder() / "mysql-sid"), ["/usr/sbin/mysqld"])
    return path


def _files(tree: Path) -> dict[str, Path]:
    told = subprocess.run(
        ["chroot", str(tree), "ldd", "/usr/sbin/mysqld"], stdout=subprocess.PIPE, text=True, check=True
    )
    wanted = ["/usr/sbin/mysqld", *re.findall(r"(/\S+) \(0x", told.stdout)]
    share = [path for path in (tree / "usr/share/mysql").rglob("*") if path.is_file()]
    return {name: _inside(tree, name) for name in wanted} | {f"/{path.relative_to(tree)}": path for path in share}


def _inside(tree: Path, name: str) -> Path:
    """Resolve a path in a tree that its own programs use as root: its links may be absolute."""
    done = subprocess.run(["chroot", str(tree), "readlink", "-f", name], stdout=subprocess.PIPE, text=True, check=True)
    return tree / done.stdout.strip().lstrip("/")
