"""Definitions are really tried on the target, in a temporary schema that is dropped afterwards."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferry_core.errors import ConnectionLost
from ferry_core.mysql.session import Purpose, Session
from ferry_core.preflight import Status, run_checks, trial
from ferry_core.preflight.result import CheckResult
from ferry_core.preflight.trial_schema import drop_leftovers, prefix_of, trial_schema
from ferry_core.schema.likeness import differences
from hack.servers import Family
from tests.support.ferry_cli import ROOT, FerryProcess
from tests.support.preflight import FERRY_UID, PASSWORD, check, opened, told
from tests.support.servers import Pair, Server, set_global
from tests.support.waits import wait_until

WIDE = f"(id INT PRIMARY KEY, {', '.join(f'c{at} TEXT' for at in range(20))}) ROW_FORMAT=COMPACT CHARSET latin1"
ACCOUNT = "preflight_trial"


def trials(server: Server) -> list[str]:
    """Trial schemas of this Ferry."""
    return [name for (name,) in server.query("SHOW DATABASES") if name.startswith(prefix_of(FERRY_UID))]


def tried(results: list[CheckResult]) -> str:
    """The check's message when it has tried something."""
    return "\n".join(one.message for one in results if one.name == "definitions tried" and one.status is Status.PASSED)


@pytest.fixture
def account(pair: Pair, schema: str) -> Iterator[str]:
    """An account with the documented grants on the target, for ``schema``."""
    pair.target.execute(
        f"DROP USER IF EXISTS {ACCOUNT}",
        f"CREATE USER {ACCOUNT} IDENTIFIED BY '{PASSWORD}'",
        f"GRANT SELECT, INSERT, DELETE, DROP, TRIGGER, CREATE, ALTER, INDEX, REFERENCES ON `{schema}`.* TO {ACCOUNT}",
        rf"GRANT ALL ON `mysql\_ferry`.* TO {ACCOUNT}",
    )
    yield ACCOUNT
    pair.target.execute(f"DROP USER {ACCOUNT}")


def only_on_the_source(pair: Pair, schema: str) -> tuple[str, str]:
    """A table whose definition works only on the source, and the target's error."""
    if pair.family is Family.MYSQL:
        space = f"ts_{schema[-6:]}"
        pair.source.execute(f"CREATE TABLESPACE {space} ADD DATAFILE '{space}.ibd'")
        return f"(id INT PRIMARY KEY) TABLESPACE {space}", "create that tablespace there"
    pair.source.execute(f"CREATE SEQUENCE `{schema}`.ids")
    return f"(id INT PRIMARY KEY DEFAULT nextval(`{schema}`.ids))", "first create there what it refers to"


def test_each_definition_that_the_target_refuses_is_named(pair: Pair, schema: str) -> None:
    body, advice = only_on_the_source(pair, schema)
    pair.source.execute(
        f"USE `{schema}`",
        f"CREATE TABLE one {body}",
        f"CREATE TABLE two {body}",
        f"CREATE TABLE third {body} COMMENT 'of another shape'",
        "CREATE TABLE good (id INT PRIMARY KEY)",
    )
    results = check(pair.source, pair.target, schema)
    found = told(results)
    assert list(found) == ["DefinitionRefused"]
    lines = found["DefinitionRefused"].splitlines()
    assert len(lines) == 2
    assert all(advice in line and "target 127.0.0.1" in line and "(error " in line for line in lines)
    assert f"{schema}.one, {schema}.two cannot be made" in found["DefinitionRefused"]
    assert f"{schema}.third cannot be made" in found["DefinitionRefused"]
    assert "4 tables of 3 shapes" in tried(results)
    assert trials(pair.target) == []
    assert (schema,) not in pair.target.query("SHOW DATABASES")
    if pair.family is Family.MYSQL:
        space = f"ts_{schema[-6:]}"
        pair.source.execute(f"USE `{schema}`", "DROP TABLE one, two, third", f"DROP TABLESPACE {space}")


def test_a_created_table_that_differs_from_the_sources(pair: Pair, schema: str) -> None:
    """Without strict mode the target shortens an index instead of refusing it."""
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(900) CHARSET latin1, KEY long_one (v))"
    )
    with set_global(pair.target, "innodb_default_row_format = 'compact'"):
        found = told(check(pair.source, pair.target, schema))
        assert trials(pair.target) == []
    assert list(found) in (["DefinitionDiffers"], ["DefinitionRefused"])
    assert "long_one" in found.get("DefinitionDiffers", "long_one")


def test_the_targets_page_compression_is_ignored(mariadb_pair: Pair, schema: str) -> None:
    mariadb_pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    with set_global(mariadb_pair.target, "innodb_compression_default = ON"):
        assert not told(check(mariadb_pair.source, mariadb_pair.target, schema))


def test_constraints_are_tried_between_all_tables_that_they_connect(pair: Pair, schema: str) -> None:
    """In a circle, to itself, between schemas, to an existing parent; only refused ones are reported."""
    other = f"{schema}_other"
    pair.source.execute(
        f"CREATE DATABASE `{other}`",
        f"USE `{schema}`",
        "CREATE TABLE there (id INT PRIMARY KEY, u INT, w INT, UNIQUE KEY (u), UNIQUE KEY (w))",
        "CREATE TABLE a (id INT PRIMARY KEY, b INT, t INT, CONSTRAINT same FOREIGN KEY (t) REFERENCES there (u))",
        "CREATE TABLE b (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES a (id))",
        "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b (id)",
        "ALTER TABLE a ADD COLUMN up INT, ADD FOREIGN KEY (up) REFERENCES a (id)",
        f"CREATE TABLE `{other}`.a (id INT PRIMARY KEY, t INT, "
        f"CONSTRAINT same FOREIGN KEY (t) REFERENCES `{schema}`.there (w))",
    )
    pair.target.execute(
        f"CREATE DATABASE `{schema}`",
        f"USE `{schema}`",
        "CREATE TABLE there (id INT PRIMARY KEY, u INT, w INT, UNIQUE KEY (u), UNIQUE KEY (w))",
    )
    tables = {"include": [f"{schema}.*", f"{other}.*"]}
    assert not told(check(pair.source, pair.target, schema, tables=tables))
    pair.target.execute(f"ALTER TABLE `{schema}`.there DROP INDEX w")
    found = told(check(pair.source, pair.target, schema, tables=tables))
    assert f"the foreign key same of {other}.a cannot be made" in found["DefinitionRefused"]
    assert len(found["DefinitionRefused"].splitlines()) == 1
    pair.target.execute(f"CREATE DATABASE `{other}`", f"CREATE TABLE `{other}`.a (id INT PRIMARY KEY, t INT)")
    found = told(check(pair.source, pair.target, schema, tables=tables))
    assert f"the foreign key same of {other}.a" in found["DefinitionRefused"], "it would be added when all rows are in"
    assert trials(pair.target) == []
    assert pair.target.query(f"SHOW TABLES IN `{schema}`") == [("there",)]


def test_an_account_that_cannot_create_a_schema_is_told_the_grant(pair: Pair, schema: str, account: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    results = check(pair.source, pair.target, schema, target_user=account)
    warned = told(results, Status.WARNING)["DefinitionsNotTried"]
    assert not told(results)
    assert not tried(results)
    pair.target.execute(f"GRANT {warned.partition('GRANT ')[2]}")
    results = check(pair.source, pair.target, schema, target_user=account)
    assert "DefinitionsNotTried" not in told(results, Status.WARNING)
    assert "1 table of 1 shape" in tried(results)


def test_strict_mode_is_turned_off_if_the_account_may(pair: Pair, schema: str, account: str) -> None:
    """Any account on MariaDB; on MySQL one with SESSION_VARIABLES_ADMIN, which the message asks for."""
    pair.source.execute("SET SESSION innodb_strict_mode = 0", f"CREATE TABLE `{schema}`.wide {WIDE}")
    pair.target.execute(rf"GRANT ALL ON `mysql\_ferry%`.* TO {account}")
    found = told(check(pair.source, pair.target, schema, target_user=account))
    if pair.family is Family.MYSQL:
        assert "Row size too large" in found["DefinitionRefused"]
        grant = found["DefinitionRefused"].partition("GRANT ")[2].partition(",")[0]
        pair.target.execute(f"GRANT {grant}")
        found = told(check(pair.source, pair.target, schema, target_user=account))
    assert not found


def test_a_table_that_needs_another_sql_mode_does_not_hide_the_others(pair: Pair, schema: str) -> None:
    body, _ = only_on_the_source(pair, schema)
    below = "CREATE TABLE below (id INT UNSIGNED PRIMARY KEY, g BIGINT AS (id - 10) STORED)"
    if pair.family is Family.MYSQL:  # which lets a session without it not even read the definition
        below = (
            "CREATE TABLE below (id INT UNSIGNED PRIMARY KEY) PARTITION BY RANGE (id - 10) "
            "(PARTITION low VALUES LESS THAN (-5), PARTITION high VALUES LESS THAN MAXVALUE)"
        )
    pair.source.execute(
        f"USE `{schema}`",
        "SET SESSION sql_mode = 'NO_UNSIGNED_SUBTRACTION'",
        below,
        f"CREATE TABLE refused {body}",
    )
    found = told(check(pair.source, pair.target, schema))["DefinitionRefused"]
    assert "CAST(... AS SIGNED)" in next(line for line in found.splitlines() if "below" in line)
    assert f"{schema}.refused" in found
    if pair.family is Family.MYSQL:
        pair.source.execute(f"DROP TABLE `{schema}`.refused", f"DROP TABLESPACE ts_{schema[-6:]}")


def test_only_leftovers_of_a_killed_check_are_dropped(pair: Pair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    left, held, foreign = prefix_of(FERRY_UID) + "00000001", prefix_of(FERRY_UID) + "00000002", prefix_of("x") + "1"
    pair.target.execute(
        *(f"CREATE DATABASE {name}" for name in (left, held, foreign)), f"CREATE TABLE {left}.t (id INT PRIMARY KEY)"
    )
    with contextlib.closing(pair.target.connect()) as at_work:
        at_work.cursor().execute(f"SELECT GET_LOCK('{held}', 0)")
        assert not told(check(pair.source, pair.target, schema))
        assert trials(pair.target) == [held]
    with Session(pair.target.endpoint("target"), Purpose.CONTROL) as session:
        assert drop_leftovers(session, FERRY_UID) == [held]
    assert (foreign,) in pair.target.query("SHOW DATABASES")
    pair.target.execute(f"DROP DATABASE {foreign}")


def test_two_checks_at_once(pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are between creating and dropping at the same moment."""
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    both, seen, results = threading.Barrier(2, timeout=180), [], []

    def meet(*arguments: object) -> object:
        both.wait()
        seen.append(len(trials(pair.target)))
        both.wait()
        return differences(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("ferry_core.preflight.trial.differences", meet)
    threads = [
        threading.Thread(target=lambda: results.append(check(pair.source, pair.target, schema))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [2, 2]
    assert all("1 table of 1 shape" in tried(one) and not told(one) for one in results)
    assert len(results) == 2
    assert trials(pair.target) == []


@pytest.mark.parametrize("how", ["interrupted", "lost"])
def test_the_trial_schema_is_dropped_on_every_exit(pair: Pair, how: str) -> None:
    session = Session(pair.target.endpoint("target"), Purpose.CONTROL)
    expected = KeyboardInterrupt if how == "interrupted" else ConnectionLost
    with pytest.raises(expected), trial_schema(session, FERRY_UID) as name:  # noqa: PT012 - a way out of the block
        session.execute(f"CREATE TABLE {name}.t (id INT PRIMARY KEY)")
        assert trials(pair.target) == [name]
        if how == "interrupted":
            raise KeyboardInterrupt
        session.abort()
        session.execute("SELECT 1")
    session.close()
    assert trials(pair.target) == []


def test_without_time_the_check_names_what_was_not_tried(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE p (id INT PRIMARY KEY)",
        "CREATE TABLE c (id INT PRIMARY KEY, p INT, CONSTRAINT it FOREIGN KEY (p) REFERENCES p (id))",
    )
    monkeypatch.setattr(trial, "BUDGET_SECONDS", -1.0)
    results = check(pair.source, pair.target, schema)
    warned = told(results, Status.WARNING)["DefinitionsNotTried"]
    assert f"{schema}.p" in warned
    assert f"the foreign key it of {schema}.c" in warned
    assert not told(results)


def test_nothing_is_tried_where_nothing_would_be_created(pair: Pair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    pair.target.execute(f"CREATE DATABASE `{schema}`", f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    for create in ("IfMissing", "Never"):
        with opened(pair.source, pair.target, schema, schema={"create": create}) as context:
            assert not tried(run_checks(context))


def test_a_stopped_check_leaves_nothing(pair: Pair, schema: str, tmp_path: Path) -> None:
    """Stopped while the target is about to create the schema, which it would then do without its client."""
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    ferry = FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]})
    making = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'CREATE DATABASE `mysql_ferry_trial%'"
    with contextlib.closing(pair.target.connect()) as holder:
        holder.cursor().execute("FLUSH TABLES WITH READ LOCK")
        command = [sys.executable, "-m", "ferry_core", "check", "-f", str(ferry.manifest)]
        checking = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: pair.target.value(making) > 0, "the schema is about to be made")
        checking.terminate()
        assert checking.wait(180) == 143
        holder.cursor().execute("UNLOCK TABLES")
    everywhere = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE LEFT(SCHEMA_NAME, 18) = 'mysql_ferry_trial_'"
    wait_until(lambda: pair.target.value(everywhere) + pair.target.value(making) == 0, "nothing is left")
