"""A whole move between MySQL and MariaDB, with every type that both have."""

from pathlib import Path

from tests.support import all_types
from tests.support.ferry_cli import ferry
from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.servers import Pair

BULK_ROWS = 3_000
LEFT_OUT = {"c_vector", "c_gb18030"}
"""Types without a counterpart."""


def move_across(pair: Pair, folder: Path, schema: str = "across") -> None:
    """Move a schema with writers, a kill and an automatic cutover; the rows must be the same."""
    since = pair.source.release.number if pair.source.release else ()
    left_out = LEFT_OUT | ({"c_uuid", "c_inet4"} if since[:2] == (10, 5) else set())
    pair.source.execute(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")
    for name, shift in (("every_type", 0), ("later", 1)):
        pair.source.execute(all_types.ddl(pair.family, schema, name, left_out))
        pair.source.execute(*all_types.rows(pair.family, schema, name, shift=shift, left_out=left_out))
    pair.source.execute(
        f"CREATE TABLE {schema}.by_name (k VARCHAR(9) CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci, "
        "n DOUBLE, v INT, PRIMARY KEY (k, n))",
        f"INSERT INTO {schema}.by_name VALUES ('a', 1.5, 1), ('é', 1e20, 2), ('', 0, 3), ('b', -1e-7, 4)",
        f"CREATE TABLE {schema}.counted (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
        f"INSERT INTO {schema}.counted (v) VALUES (1), (2), (3)",
        f"DELETE FROM {schema}.counted WHERE id = 3",
        f"CREATE TABLE {schema}.without_key (j JSON, d DOUBLE, at TIMESTAMP NULL)",
        f"INSERT INTO {schema}.without_key VALUES ('[1]', 1e20, NULL), ('[1]', 1e20, NULL), (NULL, 1e-7, NOW())",
    )
    with FerryUnderLoad(pair, schema, folder, rows=BULK_ROWS) as moving, moving.writers() as writers:
        moving.ferry.start().wait_stage("Copying", "Streaming", "ReadyForCutover")
        writers.wait_for_every_kind()
        moving.ferry.kill()
        pair.source.execute(*all_types.updates(pair.family, schema, "later", shift=2, left_out=left_out))
        pair.source.execute(
            f"UPDATE {schema}.by_name SET v = v + 10 WHERE v < 3", f"DELETE FROM {schema}.by_name WHERE v = 4"
        )
        moving.automatic()
        moving.ferry.start()
        moving.finish(writers=writers, approve=False)
        compared = ferry("verify", "-f", str(moving.ferry.manifest), cwd=folder)
        assert compared.code == 0, compared
        assert "source and target are equal" in compared.stdout
    pair.target.execute(f"INSERT INTO {schema}.counted (v) VALUES (4)")
    assert pair.target.value(f"SELECT id FROM {schema}.counted WHERE v = 4") == 4, "no id is given twice"
