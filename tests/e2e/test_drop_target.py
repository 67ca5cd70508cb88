"""``deletionPolicy: DropTarget``: deleting a Ferry drops what it has copied, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.servers import Pair
from tests.support.waits import wait_until

ODD = 3
SLOW = {"maxRowsPerSecond": 1500}


def names(pair: Pair, schema: str) -> set[str]:
    return {row[0] for row in pair.target.query(f"SHOW TABLES FROM `{schema}`")}


def begun(under_load: FerryUnderLoad) -> None:
    """A Ferry that was killed in the middle of its copy."""
    under_load.ferry.start().wait_status(lambda status: status["progress"]["rowsCopied"] > 500)
    wait_until(lambda: under_load.moved() > 0, "a checkpoint with rows")
    under_load.ferry.kill()


@pytest.mark.parametrize("store", ["Volume", "Target"])
def test_copied_tables_are_dropped_with_the_ferry(pair: Pair, schema: str, tmp_path: Path, store: str) -> None:
    spec: dict[str, Any] = {} if store == "Volume" else {"checkpoint": {"store": "Target"}}
    with FerryUnderLoad(
        pair, schema, tmp_path, rows=5000, odd=ODD, throttle=SLOW, deletionPolicy="DropTarget", **spec
    ) as under_load:
        begun(under_load)
        copied = names(pair, schema)
        assert {"aim", "bulk"} < copied
        pair.target.execute(f"CREATE TABLE `{schema}`.theirs (id INT PRIMARY KEY)")
        before = pair.source.query(f"SELECT COUNT(*) FROM `{schema}`.bulk")
        done = under_load.ferry.command("cleanup")
        assert (done.code, names(pair, schema)) == (0, {"theirs"})
        assert all(f"{schema}.{name}" in done.stdout for name in copied)
        assert pair.source.query(f"SELECT COUNT(*) FROM `{schema}`.bulk") == before
        again = under_load.ferry.command("cleanup")
        assert (again.code, "nothing to clean up" in again.stdout) == (0, True)


def test_tables_that_others_use_are_kept_and_named(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(
        pair, schema, tmp_path, rows=5000, odd=1, throttle=SLOW, deletionPolicy="DropTarget"
    ) as under_load:
        begun(under_load)
        pair.target.execute(
            f"CREATE TABLE `{schema}`.theirs (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES `{schema}`.aim (id))",
            "INSERT INTO mysql_ferry.lease SELECT CONCAT('other-', ferry_uid), 'other', 1, 'Aborted', '',"
            f" JSON_ARRAY('{schema}.bulk'), 1, '{{}}', NOW(6) FROM mysql_ferry.lease"
            f" WHERE ferry_uid = '{under_load.uid}'",
        )
        done = under_load.ferry.command("cleanup")
        pair.target.execute(f"DELETE FROM mysql_ferry.lease WHERE ferry_uid = 'other-{under_load.uid}'")
        assert (done.code, names(pair, schema)) == (0, {"theirs", "aim", "bulk"})
        assert f"kept {schema}.aim, {schema}.bulk (not provably this Ferry's alone)" in done.stdout


def test_without_a_record_nothing_is_dropped(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(
        pair, schema, tmp_path, rows=5000, odd=1, throttle=SLOW, deletionPolicy="DropTarget"
    ) as under_load:
        begun(under_load)
        copied = names(pair, schema)
        under_load.ferry.state.unlink()
        done = under_load.ferry.command("cleanup")
        assert (done.code, names(pair, schema)) == (0, copied)
        assert "dropped no table" in done.stdout
        assert "no checkpoint records which tables it filled" in done.stdout


@pytest.mark.parametrize("policy", ["DropTarget", "Retain"])
def test_tables_are_kept_after_a_cutover_and_with_retain(pair: Pair, schema: str, tmp_path: Path, policy: str) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=1, throttle=SLOW, deletionPolicy=policy) as under_load:
        if policy == "DropTarget":
            under_load.ferry.start()
            under_load.finish()
        else:
            under_load.ferry.start().wait_stage("Streaming", "ReadyForCutover")
            under_load.ferry.kill()
        done = under_load.ferry.command("cleanup")
        assert done.code == 0
        assert ("they are live" in done.stdout) is (policy == "DropTarget")
        under_load.equal()


def test_a_table_that_a_hidden_schema_references_is_kept(pair: Pair, schema: str, tmp_path: Path) -> None:
    """The account cannot see that schema, so the server refuses the drop. Tables that reference each other are
    dropped.
    """
    unseen, user = f"{schema}_unseen", f"d{schema[-6:]}"
    pair.source.execute(
        f"CREATE TABLE `{schema}`.one (id INT PRIMARY KEY, two INT)",
        f"CREATE TABLE `{schema}`.two (id INT PRIMARY KEY, one INT,"
        f" CONSTRAINT to_one FOREIGN KEY (one) REFERENCES `{schema}`.one (id))",
        f"ALTER TABLE `{schema}`.one ADD CONSTRAINT to_two FOREIGN KEY (two) REFERENCES `{schema}`.two (id)",
    )
    pair.target.execute(
        f"CREATE USER {user}@'%' IDENTIFIED BY 'pw'",
        f"GRANT SELECT, INSERT, DELETE, DROP, TRIGGER, CREATE, ALTER, INDEX, REFERENCES ON `{schema}`.* TO {user}@'%'",
        rf"GRANT ALL ON `mysql\_ferry%`.* TO {user}@'%'",
    )
    with FerryUnderLoad(pair, schema, tmp_path, odd=1, deletionPolicy="DropTarget") as under_load:
        under_load.login("target", user, "pw")
        under_load.ferry.start().wait_stage("ReadyForCutover")
        wait_until(lambda: under_load.state()["foreign_keys_added"], "a checkpoint with the constraints")
        under_load.ferry.kill()
        assert {"aim", "one", "two"} < names(pair, schema)
        pair.target.execute(
            f"CREATE DATABASE `{unseen}`",
            f"CREATE TABLE `{unseen}`.theirs (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES `{schema}`.aim (id))",
        )
        done = under_load.ferry.command("cleanup")
        assert (done.code, names(pair, schema)) == (0, {"aim"})
        assert f"kept {schema}.aim (" in done.stdout
        pair.target.execute(f"DROP USER {user}@'%'")
