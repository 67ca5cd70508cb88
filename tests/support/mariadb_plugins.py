"""Plugins of MariaDB from the full server package, which is not installed."""

import subprocess
from pathlib import Path

import pytest

from hack.installing import cache_folder, locked


def mariadb_plugin(name: str) -> Path:
    """The file of a plugin; skips the test if it is not available."""
    installed, kept = Path("/usr/lib/mysql/plugin") / name, cache_folder() / "mariadb-plugins"
    if installed.exists():
        return installed
    found = kept / "usr/lib/mysql/plugin" / name
    with locked("mariadb-plugins"):
        if not found.exists():
            kept.mkdir(exist_ok=True)
            script = "apt-get download mariadb-server && dpkg -x mariadb-server_*.deb . && rm mariadb-server_*.deb"
            done = subprocess.run(["sh", "-c", script], cwd=kept, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"no {name}: {done.stderr}")
    return found
