"""Gets programs onto this machine: Debian packages, Debian trees of other suites, archives from Maven.

Standard library only, because it runs before anything is installed. Used by ``hack/releases.py`` and the test cluster.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_FETCH_SECONDS = 600
"""The largest archive has 553 MB. Without a network Maven would wait for half an hour."""


class Unavailable(Exception):
    """Something cannot be installed on this machine; the message says why."""


def cache_folder() -> Path:
    """Where installed servers, templates and instances are stored: outside the clone, so that a new clone finds
    them.
    """
    given = os.environ.get("MYSQL_FERRY_CACHE")
    folder = Path(given) if given else Path.home() / ".cache" / "mysql-ferry"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Only one process at a time enters for ``name``. The lock of a dead holder is released."""
    with (cache_folder() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(*command: str, stdin: str | None = None, seconds: float | None = None) -> str:
    """Output of ``command``, which may take that long; the error contains its last lines."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=environment,
            timeout=seconds,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]}: {error}") from error
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise Unavailable(f"`{' '.join(command[:6])} ...` ended with {done.returncode}:\n{tail}")
    return done.stdout


def apt_install(*packages: str) -> None:
    """Install Debian packages. Updates the package index only if the present one fails."""
    if os.geteuid() != 0:
        raise Unavailable(f"installing {', '.join(packages)} needs root")
    # No service of a package may start: the servers are started here, on their own ports.
    options = ("-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=3")
    install = ("env", "RUNLEVEL=1", "apt-get", *options, "install", "-y", "--no-install-recommends", *packages)
    try:
        run(*install)
    except Unavailable:
        run("apt-get", *options, "update")
        run(*install)


def _mirror(archive: str) -> list[str]:
    """The mirror that this machine's apt uses, as debootstrap's argument; empty means debootstrap's default."""
    targets = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages")
    for line in targets.splitlines():
        uri, _, release = line.partition(" ")
        if uri.startswith(("http://", "https://")) and uri.rstrip("/").endswith(archive) and "-" not in release:
            return [uri]
    return []


def own_mounts(script: str) -> list[str]:
    """A command line whose shell script makes mounts that nobody else sees and that end with it."""
    # In a chroot / is not a mount point, and there is nothing to make private.
    private = "mount --make-rprivate / 2>/dev/null; "
    return ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", private + script]


def debootstrap(tree: Path, suite: str, packages: str) -> None:
    """A minimal Debian of another suite in a folder, with some packages; takes about a minute."""
    if not shutil.which("debootstrap"):
        apt_install("debootstrap", "debian-archive-keyring")
    partial = tree.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    variant = ("--variant=minbase", f"--include={packages}")
    # Its mounts inside the tree must be gone before a failed tree is removed.
    run(*own_mounts('exec debootstrap "$0" "$@"'), *variant, suite, str(partial), *_mirror("/debian"))
    shutil.rmtree(partial / "var/cache/apt", ignore_errors=True)
    partial.rename(tree)


def maven(artifact: str, folder: Path) -> Path:
    """Fetch one artifact (``group:name:version`` and perhaps ``:type:classifier``) into a folder; returns its file."""
    if not shutil.which("mvn"):
        apt_install("maven")
    copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
    what = (f"-Dartifact={artifact}", f"-DoutputDirectory={folder}")
    run("mvn", "--quiet", "--batch-mode", copy, *what, seconds=_FETCH_SECONDS)
    (found,) = folder.iterdir()
    return found
