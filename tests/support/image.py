"""The image under test: built once a session by the script behind ``make image``."""

import functools
import os
import subprocess
from pathlib import Path

from tests.support.kube_api import refuse

NAME = "localhost/mysql-ferry:dev"
ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def archive() -> Path:
    """Its OCI archive; skips loudly, or fails on a CI machine, where it cannot be built."""
    if os.geteuid() != 0:
        refuse("NO IMAGE, ITS TESTS DO NOT RUN: building it needs root")
    built = subprocess.run([ROOT / "hack/image.sh"], capture_output=True, text=True, check=False)
    if built.returncode:
        refuse(f"NO IMAGE, ITS TESTS DO NOT RUN: hack/image.sh ended with {built.returncode}:\n{built.stderr[-2000:]}")
    return ROOT / built.stdout.split()[-1]
