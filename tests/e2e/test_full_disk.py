"""A target whose disk is full, during the copy and under the source's lock: clear errors; it continues with room."""

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hack.servers import Family
from tests.conftest import ServerFactory
from tests.e2e.test_faults import finish, stopped
from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import FerryCli
from tests.support.servers import Flag, Pair, Server, ServerPool
from tests.support.waits import wait_until

pytestmark = pytest.mark.slow

DEADLINE_SECONDS = 15
BUSY_SECONDS = 20
KIB = 1 << 10


@pytest.fixture
def schema_of() -> Iterator[Callable[[Server], str]]:
    """Creates a schema on a server that no other fixture uses; drops it afterwards."""
    made: list[tuple[Server, str]] = []

    def make(server: Server) -> str:
        made.append((server, f"t_{uuid.uuid4().hex[:12]}"))
        server.execute(f"CREATE DATABASE {made[-1][1]} CHARACTER SET utf8mb4")
        return made[-1][1]

    yield make
    for server, name in made:
        server.drop_schemas(name)


@pytest.fixture(params=["mysql", "mariadb"])
def small_target(make_server: ServerFactory, request: pytest.FixtureRequest, server_pool: ServerPool) -> Pair:
    """The target's disk has 900 MB. It has no binlog, because MySQL would end itself when it cannot write that."""
    family = Family(request.param)
    flags: dict[str, Flag] = (
        {"log_bin": False, "gtid_mode": None, "innodb_redo_log_capacity": "64M"}
        if family is Family.MYSQL
        else {"log_bin": None, "gtid_strict_mode": None}
    )
    return Pair(server_pool.pair(family).source, make_server(family.value, disk_megabytes=900, **flags))


def fill_disk(folder: Path, megabytes_left: int) -> Path:
    """A file that fills the disk, once the server's own files are allocated: it would crash on a hole in them."""
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size:
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(folder).free - (megabytes_left << 20))
    return ballast


def test_disk_full_on_the_target(small_target: Pair, schema_of: Callable[[Server], str], tmp_path: Path) -> None:
    source, target = small_target.source, small_target.target
    assert target.instance is not None
    schema = schema_of(source)
    source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY, b LONGBLOB)")
    for start in range(0, 400, 50):
        rows = ", ".join(f"({start + n}, REPEAT(CHAR(65 + {n} % 26), 400000))" for n in range(50))
        source.execute(f"INSERT INTO {schema}.t VALUES {rows}")
    ballast = fill_disk(target.instance.folder / "data", 70)
    # Four workers' chunks of 20 MB at once would fill the disk before one of them commits.
    sections = {"copy": {"workers": 1}, "cutover": {"mode": "Automatic", "watchFor": "1s"}}
    cli = FerryCli(tmp_path / "ferry", small_target, schema, **sections)
    with cli.process("--retry-for", "5s") as process:
        process.start()
        ended = stopped(process)
        survived = target.instance.running
        if survived:
            assert "retrying: ServerResourceExhausted: target 127.0.0.1" in ended.stderr
            ended.refused(75, "ServerResourceExhausted", "target 127.0.0.1")
        else:  # MariaDB ends itself when it cannot write what it must
            assert re.search("retrying: (ServerResourceExhausted|ConnectionLost): target 127.0.0.1", ended.stderr)
            found = re.match("ferry: (ServerUnreachable|ConnectionLost|ServerResourceExhausted): ", ended.failures[-1])
            assert found, ended
            ended.refused(75, found[1], "target 127.0.0.1")
        assert cli.state.exists()
        ballast.unlink()
        target.start()  # a server may not survive it
        there = target.value(f"SELECT COUNT(*) FROM {schema}.t")
        kept = process.start().wait_stage("Copying")["progress"]["rowsCopied"]
        cli.tell(process, f"goes on over {there} rows")
        assert kept > 0
        assert target.value(f"SELECT COUNT(*) FROM {schema}.t") >= there > 0
        process.succeed()
        assert "resumes what it records" in process.log.read_text()
    compared = assert_equal_tables(source, target, f"{schema}.t", f"{schema}.t")
    print(f"server survived: {'yes' if survived else 'no'}; {compared.rows} rows equal")


def test_a_full_disk_while_the_source_is_locked(
    small_target: Pair, schema_of: Callable[[Server], str], tmp_path: Path
) -> None:
    """Changes from before the lock do not fit on the target. A server may end itself because of that."""
    source, target = small_target.source, small_target.target
    assert target.instance is not None
    schema = schema_of(source)
    rows = ", ".join(f"({number}, REPEAT('x', {100 * KIB}))" for number in range(100))
    source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY, b LONGBLOB)", f"INSERT INTO {schema}.t VALUES {rows}")
    cutover = {"watchFor": "0s", "maxLag": "10m", "deadline": f"{DEADLINE_SECONDS}s", "maxAttempts": 50}
    cli = FerryCli(tmp_path / "ferry", small_target, schema, cutover=cutover)
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        ballast = fill_disk(target.instance.folder / "data", 0)
        source.execute(f"UPDATE {schema}.t SET b = REPEAT('y', {400 * KIB})")
        process.post("cutover")
        wait_until(lambda: "cutover attempt 1 failed" in process.log.read_text(), "a failed attempt")
        assert source.value("SELECT @@global.read_only") == 0
        log = process.log.read_text()
        (blocked,) = re.findall(r"attempt 1 failed; writes were blocked for (\d+) ms", log)
        assert int(blocked) <= (DEADLINE_SECONDS + 1 + BUSY_SECONDS) * 1000
        assert re.search("(ServerResourceExhausted|ConnectionLost|ServerUnreachable): target 127.0.0.1", log)
        print(*sorted(set(re.findall(r"target [\d.:]+: [^;\n]*\(error \d+\)", log))), f"{blocked} ms", sep="\n")
        ballast.unlink()
        if not target.instance.running:
            target.start()
        finish(cli, process)
