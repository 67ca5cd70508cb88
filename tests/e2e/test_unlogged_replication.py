"""The source replicated while the run was stopped, and logs nothing of what it applied, as is MariaDB's default."""

from pathlib import Path

from tests.conftest import ServerFactory
from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryCli
from tests.support.replication import replicate, set_replicated
from tests.support.servers import Pair


def test_a_resume_is_refused_until_it_is_known_that_nothing_was_applied(
    mariadb_pair: Pair, make_server: ServerFactory, schema: str, tmp_path: Path
) -> None:
    source = mariadb_pair.source
    known = source.value("SELECT @@GLOBAL.gtid_slave_pos")
    source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)", f"INSERT INTO `{schema}`.t VALUES (1)")
    ferry = FerryCli(tmp_path / "ferry", mariadb_pair, schema, cutover={"watchFor": "0s"})
    with ferry.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    try:
        replicate(make_server("mariadb"), source)
        ferry.run().refused(65, "ReplicaChangesNotLogged", f"gtid_slave_pos was '{known}'")
    finally:
        set_replicated(source, known)  # as the message says
    with ferry.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.cut_over()
    assert_equal_schemas(source, mariadb_pair.target, schema, schema)
