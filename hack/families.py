"""The two server families of the test bed: how each is installed, initialised once, and started.

Standard library only, because it runs before anything is installed. Used by ``hack/servers.py``.
"""

import contextlib
import fcntl
import functools
import os
import shutil
import subprocess
import zlib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

PASSWORD = "ferry-test"  # noqa: S105 - of throwaway servers that listen on loopback
Flags = Mapping[str, str | int | bool | None]

_USERS = f"""\
ALTER USER 'root'@'localhost' IDENTIFIED BY '{PASSWORD}';
CREATE USER 'root'@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL PRIVILEGES ON *.* TO 'root'@'%' WITH GRANT OPTION;
"""
_MARIADB_USERS = "DELETE FROM mysql.global_priv WHERE User = '' OR User = 'root' AND Host <> 'localhost';\n"
_COMMON_FLAGS: dict[str, str | int | bool | None] = {
    "bind_address": "127.0.0.1",
    "log_bin": "binlog",
    "binlog_format": "ROW",
    "binlog_row_image": "FULL",
    "local_infile": True,
    "max_allowed_packet": "64M",
    "innodb_buffer_pool_size": "256M",
    # Native I/O takes 2,305 of the 65,536 requests the kernel allows (fs.aio-max-nr): a 29th server does not start.
    "innodb_use_native_aio": False,
    # These servers are temporary, so it does not matter what a power cut would lose.
    "innodb_flush_log_at_trx_commit": 2,
    "sync_binlog": 0,
}


class Unavailable(Exception):
    """A family cannot be installed on this machine; the message says why."""


class Family(StrEnum):
    """Which server. The value is the word used in fixtures, folders and environment variables."""

    MYSQL = "mysql"
    MARIADB = "mariadb"


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


def _run(*command: str, stdin: str | None = None) -> str:
    """Output of ``command``; the error contains its last lines."""
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
        )
    except OSError as error:
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
        _run(*install)
    except Unavailable:
        _run("apt-get", *options, "update")
        _run(*install)


def _debian_mirror() -> list[str]:
    """The mirror that this machine's apt uses, as debootstrap's argument; empty means debootstrap's default."""
    targets = _run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages")
    for line in targets.splitlines():
        uri, _, release = line.partition(" ")
        if uri.startswith(("http://", "https://")) and uri.rstrip("/").endswith("/debian") and "-" not in release:
            return [uri]
    return []


def _own_mounts(script: str) -> list[str]:
    """A command line whose shell script makes mounts that nobody else sees and that end with it."""
    # In a chroot / is not a mount point, and there is nothing to make private.
    private = "mount --make-rprivate / 2>/dev/null; "
    return ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", private + script]


def _mysql_tree() -> Path:
    return cache_folder() / "mysql-sid"


def _install_mysql() -> None:
    """A complete Debian sid in a folder, because no release of Debian contains MySQL 9; takes a minute and 1 GB."""
    tree = _mysql_tree()
    if (tree / "usr/sbin/mysqld").exists():
        return
    if not shutil.which("debootstrap"):
        apt_install("debootstrap", "debian-archive-keyring")
    partial = tree.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    variant = ("--variant=minbase", "--include=mysql-server-core")
    # Its mounts inside the tree must be gone before a failed tree is removed.
    _run(*_own_mounts('exec debootstrap "$0" "$@"'), *variant, "sid", str(partial), *_debian_mirror())
    shutil.rmtree(partial / "var/cache/apt", ignore_errors=True)
    partial.rename(tree)


def _install_mariadb() -> None:
    # The -core packages contain the server without the system service, which would take port 3306.
    if not all(shutil.which(program) for program in ("mariadbd", "mariadb-install-db", "my_print_defaults")):
        apt_install("mariadb-server-core", "mariadb-client-core")  # the latter for my_print_defaults


def _in_mysql_tree(folder: Path, *arguments: str) -> list[str]:
    """``mysqld`` inside its tree, with ``folder`` mounted on /mnt."""
    script = 'mount --bind /proc "$0/proc" && mount --bind /dev "$0/dev" && mount --rbind "$1" "$0/mnt" && shift && '
    script += 'exec chroot "$0" mysqld "$@"'
    return [*_own_mounts(script), str(_mysql_tree()), str(folder), "--no-defaults", "--user=root", *arguments]


@functools.cache
def install(family: Family) -> str:
    """Install ``family`` if it is missing, once for all processes; returns its version."""
    if os.geteuid() != 0:
        raise Unavailable(f"the {family} servers of the test bed run as root; or give servers by environment variables")
    with locked(f"install-{family}"):
        if family is Family.MYSQL:
            _install_mysql()
            banner = _run("chroot", str(_mysql_tree()), "mysqld", "--version")
        else:
            _install_mariadb()
            banner = _run("mariadbd", "--version")
    return banner.split("Ver ")[1].split()[0]


def template(family: Family) -> Path:
    """A data folder with root's password set, made once per version. An instance starts as a copy of it."""
    version = install(family)
    made_by = zlib.crc32((_USERS + _MARIADB_USERS).encode())  # a change of these makes a new template
    folder = cache_folder() / "templates" / f"{family}-{version}-{made_by:08x}"
    with locked(f"template-{family}"):
        if not folder.exists():
            partial = folder.with_name(folder.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            (partial / "users.sql").write_text(_USERS)
            if family is Family.MYSQL:
                _initialize_mysql(partial)
            else:
                _initialize_mariadb(partial)
            partial.rename(folder)
    return folder / "data"


def _initialize_mysql(folder: Path) -> None:
    flags = ("--initialize-insecure", "--datadir=/mnt/data", "--init-file=/mnt/users.sql")
    # A small redo log, because every instance copies the template.
    _run(*_in_mysql_tree(folder, *flags, "--innodb-redo-log-capacity=8M"))
    (folder / "data/auto.cnf").unlink()  # contains server_uuid: each copy makes its own


def _initialize_mariadb(folder: Path) -> None:
    data = f"--datadir={folder / 'data'}"
    _run(
        "mariadb-install-db",
        "--no-defaults",
        "--user=root",
        data,
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
    )
    # --bootstrap starts without grant tables; FLUSH loads them. It reads one statement per line.
    _run(
        "mariadbd",
        "--no-defaults",
        "--user=root",
        data,
        "--bootstrap",
        stdin=_MARIADB_USERS + "FLUSH PRIVILEGES;\n" + _USERS,
    )


def default_flags(family: Family, server_id: int) -> dict[str, str | int | bool | None]:
    """Flags of a source or target, unless a test sets others."""
    flags = _COMMON_FLAGS | {"server_id": server_id}
    if family is Family.MYSQL:
        own: Flags = {
            "gtid_mode": True,
            "enforce_gtid_consistency": True,
            "secure_file_priv": "NULL",
            "mysqlx": False,
            "innodb_redo_log_capacity": "512M",
        }
    else:
        own = {"gtid_domain_id": 0, "gtid_strict_mode": True, "innodb_log_file_size": "128M"}
    return flags | dict(own)


def render_flag(name: str, value: str | int | bool) -> str:
    """One command line flag. For log_bin, False becomes --skip-log-bin, because OFF would be a file name."""
    if name == "log_bin" and isinstance(value, bool):
        return "--log-bin" if value else "--skip-log-bin"
    if isinstance(value, bool):
        value = "ON" if value else "OFF"
    option = name.replace("_", "-")
    return f"--{option}={value}" if value != "" else f"--{option}"


def command(family: Family, folder: Path, port: int, flags: Flags) -> list[str]:
    """The command line that serves ``folder/data``. A flag with value None keeps the server's default."""
    seen = Path("/mnt") if family is Family.MYSQL else folder
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
    if family is Family.MYSQL:
        return _in_mysql_tree(folder, *rendered)
    return ["mariadbd", "--no-defaults", "--user=root", *rendered]
