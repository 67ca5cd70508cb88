"""Where the demo runs, a temporary cluster on this machine or an existing one, and the commands on it.

KUBECONFIG and IMAGE together name an existing cluster and an image of mysql-ferry that its nodes can pull; MYSQL_IMAGE
then replaces the public MySQL image. Called by ``run`` and ``down``.
"""

import argparse
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hack.demo import mysql_image
from hack.installing import Unavailable
from hack.kubernetes import cluster as clusters

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "demo"
IMAGE = "localhost/mysql-ferry:dev"
PUBLIC_MYSQL = "mysql:9.7"


def say(text: str) -> None:
    """Print what happens next."""
    print(f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text, flush=True)


@dataclass(frozen=True)
class Place:
    """A cluster, and the images that its nodes have."""

    environment: dict[str, str]
    image: str
    mysql_image: str

    def run(self, *line: str, seconds: float = 600) -> None:
        """Print a command as a user would type it, and run it."""
        print(f"$ {shlex.join(line)}", flush=True)
        try:
            subprocess.run(line, cwd=ROOT, env=self.environment, check=True, timeout=seconds)
        except subprocess.CalledProcessError as error:
            raise Unavailable(f"`{shlex.join(line)}` ended with {error.returncode}; see above") from error
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"`{shlex.join(line)}` took longer than {seconds:.0f} s") from error

    def start(self, *line: str, quiet: bool = False) -> "subprocess.Popen[bytes]":
        """The same for a command that runs in the background; ``quiet`` shows only its errors."""
        print(f"$ {shlex.join(line)} &", flush=True)
        shown = subprocess.DEVNULL if quiet else None
        return subprocess.Popen(line, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=shown)

    def read(self, *line: str) -> str:
        """The output of a command that is read by the demo, not by the user."""
        done = subprocess.run(line, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            why = done.stderr.splitlines()[-1:]  # kubectl logs each attempt before it prints the error
            raise Unavailable(f"`{shlex.join(line)}` ended with {done.returncode}: {' '.join(why)}")
        return done.stdout.strip()

    def manifest(self, name: str) -> str:
        """A manifest of this folder with image names filled in, written under build/; returns the path for kubectl."""
        text = (Path(__file__).parent / name).read_text()
        BUILD.mkdir(parents=True, exist_ok=True)
        (BUILD / name).write_text(text.replace("MYSQL_IMAGE", self.mysql_image).replace("FERRY_IMAGE", self.image))
        return str((BUILD / name).relative_to(ROOT))


def options(description: str) -> argparse.Namespace:
    """Options of ``run`` and of ``down``."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--cluster", default="demo", help="name of the throwaway cluster")
    return parser.parse_args()


def given() -> Place | None:
    """The cluster that the user named, if any."""
    kubeconfig, image = os.environ.get("KUBECONFIG"), os.environ.get("IMAGE")
    if not image and (not kubeconfig or _ours(kubeconfig)):
        return None
    if not (kubeconfig and image):
        raise Unavailable(
            "KUBECONFIG and IMAGE go together: a cluster, and an image of mysql-ferry that its nodes can pull (make "
            "image builds one); without both the demo makes a cluster of its own"
        )
    return Place(_environment(kubeconfig), image, os.environ.get("MYSQL_IMAGE", PUBLIC_MYSQL))


def _ours(kubeconfig: str) -> bool:
    """KUBECONFIG may be the demo's own, which it told the user to export; that cluster may be gone."""
    return Path(kubeconfig).is_relative_to(clusters.clusters_folder())


def own(name: str) -> Place:
    """Create a cluster on this machine; an earlier demo's cluster is removed first."""
    say("one node of Kubernetes, the images of mysql-ferry and MySQL (minutes the first time, then seconds)")
    image = subprocess.run([ROOT / "hack" / "image.sh"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if image.returncode:
        raise Unavailable("the image could not be built; see above")
    end(name)
    archive = ROOT / image.stdout.strip()
    made = clusters.create(name, archive, mysql_image.archive())
    print(f"$ export KUBECONFIG={made.kubeconfig}", flush=True)
    return Place(_environment(str(made.kubeconfig)), IMAGE, mysql_image.NAME)


def end(name: str) -> bool:
    """Remove the demo's own cluster, if there is one."""
    found = [each for each in clusters.clusters() if each.name == name]
    for each in found:
        each.remove()
    return bool(found)


def _environment(kubeconfig: str) -> dict[str, str]:
    """Makes kubectl and helm available by name, whoever installed them."""
    found = subprocess.run([ROOT / "hack" / "kubernetes" / "helm.sh"], stdout=subprocess.PIPE, text=True, check=False)
    if found.returncode:
        raise Unavailable("helm could not be had; see above")
    tools = (clusters.kubectl_path().parent, Path(found.stdout.strip()).parent)
    path = os.pathsep.join([*map(str, tools), os.environ["PATH"]])
    return os.environ | {"KUBECONFIG": kubeconfig, "PATH": path}
