"""What a run creates for itself on the target is removed after its end, even if it was killed in between."""

from pathlib import Path

import pytest

from tests.support.ferry_cli import FerryCli, ferry
from tests.support.proxy import Proxy
from tests.support.servers import Pair

OWN = {"lease", "holder", "checkpoint"}


@pytest.mark.slow
def test_a_kill_while_the_record_is_flushed_to_disk(pair: Pair, schema: str, tmp_path: Path) -> None:
    """The next start drops the helper table for that; if there is no next start, ``ferry cleanup`` does."""
    source, target = pair.source, pair.target
    source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)", f"INSERT INTO `{schema}`.t VALUES (1)")
    cli = FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "0s"})

    def own_tables() -> set[str]:
        return {name for (name,) in target.query("SHOW TABLES FROM mysql_ferry")}

    with Proxy(target.host, target.port) as proxy:
        cli.spec["target"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        proxy.hold(b"`to_disk_", skip=2)  # its DROP TABLE
        with cli.process() as process:
            process.start().wait_stage("ReadyForCutover")
            process.post("cutover")
            proxy.wait_held()
            process.kill()
            source.execute("SET GLOBAL read_only = OFF")
            (left,) = own_tables() - OWN
            proxy.cut()
            process.start().succeed()
        assert own_tables() == OWN
        target.execute(f"CREATE TABLE mysql_ferry.{left} (id INT PRIMARY KEY)")
        done = ferry("cleanup", "-f", str(cli.manifest()), "--state", str(cli.state), cwd=cli.folder)
        assert done.code == 0, done.stderr
        assert own_tables() == OWN
