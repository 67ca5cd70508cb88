"""Binlogs that the source stores encrypted: it sends them decrypted, with unchanged positions."""

import os
import shutil
from pathlib import Path

import pytest

from hack.families import Family
from hack.installing import cache_folder
from hack.servers import Instance
from tests.conftest import ServerFactory
from tests.e2e.test_faults import fill, finish, write
from tests.support.ferry_cli import FerryCli
from tests.support.mariadb_plugins import mariadb_plugin
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until

pytestmark = pytest.mark.slow

AGAIN = "resuming from the checkpoint"
KEY_PLUGIN = "file_key_management.so"


def encrypt_mysql(instance: Instance) -> None:
    """A file beside the program configures its keyring, so this instance mounts its own folder over the shared one."""
    tree = cache_folder() / "mysql-sid"
    programs, plugins = instance.folder / "programs", instance.folder / "plugins"
    programs.mkdir()
    plugins.mkdir()
    os.link(tree / "usr/sbin/mysqld", programs / "mysqld")
    (programs / "mysqld.my").write_text('{"components": "file://component_keyring_file"}')
    shutil.copy(tree / "usr/lib/mysql/plugin/component_keyring_file.so", plugins)
    (plugins / "component_keyring_file.cnf").write_text('{"path": "/mnt/keyring", "read_only": false}')
    script = f'mount --make-rprivate / 2>/dev/null; mount --bind "{programs}" "{tree}/usr/sbin" && exec "$@"'
    instance.through = ("unshare", "--mount", "--propagation", "unchanged", "sh", "-c", script, "sh")
    instance.flags |= {"plugin_dir": "/mnt/plugins", "binlog_encryption": True}


def encrypt_mariadb(instance: Instance) -> None:
    plugins, keys = instance.folder / "plugins", instance.folder / "keys"
    plugins.mkdir()
    shutil.copy(mariadb_plugin(KEY_PLUGIN), plugins)
    keys.write_text(f"1;{'ab' * 16}\n")
    instance.flags |= {
        "plugin_dir": str(plugins),
        "plugin_load_add": "file_key_management",
        "file_key_management_filename": str(keys),
        "encrypt_binlog": True,
    }


def encrypted(server: Server) -> Server:
    """The same server, with encrypted binlogs from the next one on."""
    assert server.instance is not None
    server.stop()
    (encrypt_mysql if server.family is Family.MYSQL else encrypt_mariadb)(server.instance)
    server.start()
    return server


def newest_binlog(server: Server) -> bytes:
    assert server.instance is not None
    name = str(server.query("SHOW BINARY LOGS")[-1][0])
    return (server.instance.folder / "data" / name).read_bytes()


@pytest.mark.parametrize("family", [family.value for family in Family])
def test_a_resume_finds_its_place_in_an_encrypted_binlog(
    make_server: ServerFactory, family: str, tmp_path: Path
) -> None:
    """A resume compares the bytes of the last event, also after a restart of the source."""
    pair = Pair(encrypted(make_server(family)), make_server(family))
    pair.source.execute("CREATE DATABASE kept")
    fill(pair.source, "kept", 1000)
    cli = FerryCli(tmp_path / "ferry", pair, "kept", cutover={"watchFor": "1s"})
    assert cli.check().code == 0
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        write(cli, "streamed")
        process.terminate()
        write(cli, "written while it was stopped")
        assert b"written while it was stopped" not in newest_binlog(pair.source)
        process.start().wait_stage("ReadyForCutover")
        pair.source.kill()
        pair.source.start()
        wait_until(lambda: AGAIN in process.log.read_text())
        write(cli, "after the crash")
        finish(cli, process)
