"""Views, routines, triggers and events are the same on another server as on the source."""

import contextlib
from collections.abc import Iterator

import pytest

from ferry_core.api.choices import Definer
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Purpose, Session
from ferry_core.schema.object_maker import Made, ObjectMaker, differs
from ferry_core.schema.objects import Definition, Kind, Listed, list_objects, read
from tests.support.servers import Pair, Server

TABLES = (
    "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(40), n INT NOT NULL DEFAULT 0)",
    "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(80))",
)
# A view on a view whose name sorts first, a function that a view needs, triggers whose order matters.
OBJECTS = (
    "CREATE FUNCTION twice(a INT) RETURNS INT DETERMINISTIC RETURN a * 2",
    "CREATE PROCEDURE fill(IN k INT) COMMENT 'it''s' MODIFIES SQL DATA BEGIN INSERT INTO t (id) VALUES (k); END",
    "CREATE VIEW z AS SELECT id, twice(n) AS d, v FROM t WHERE n >= 0 WITH CHECK OPTION",
    "CREATE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW m AS SELECT id FROM z WHERE v <> 'x'",
    "CREATE VIEW a AS SELECT m.id, l.what FROM m LEFT JOIN log l ON l.id = m.id",
    "CREATE TRIGGER zz BEFORE INSERT ON t FOR EACH ROW SET NEW.n = NEW.n + 1",
    "CREATE TRIGGER aa BEFORE INSERT ON t FOR EACH ROW FOLLOWS zz SET NEW.n = NEW.n * 10",
    "CREATE TRIGGER mm BEFORE INSERT ON t FOR EACH ROW PRECEDES zz SET NEW.v = CONCAT(NEW.v, '!')",
    "CREATE TRIGGER gone AFTER DELETE ON t FOR EACH ROW INSERT INTO log (what) VALUES (OLD.id)",
    "CREATE EVENT tick ON SCHEDULE EVERY 1 DAY STARTS '2031-02-03 04:05:06' COMMENT 'ENABLE' DO DELETE FROM log",
    "CREATE EVENT tock ON SCHEDULE AT '2033-01-01 00:00:00' ON COMPLETION PRESERVE DISABLE DO SELECT 1",
)


def session_of(server: Server, role: str) -> Session:
    return Session(server.endpoint(role), Purpose.TARGET if role == "target" else Purpose.CONTROL)


@pytest.fixture
def both(pair: Pair, schema: str) -> Iterator[tuple[Session, Session]]:
    """Sessions on a source with tables, and on a target with the same tables."""
    pair.target.execute(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4")
    for server in (pair.source, pair.target):
        server.execute(f"USE `{schema}`", *TABLES)
    with session_of(pair.source, "source") as source, session_of(pair.target, "target") as target:
        yield source, target


def definitions(session: Session, schema: str) -> list[Definition]:
    return [read(session, one) for one in list_objects(session, [schema], list(Kind))]


def brought(both: tuple[Session, Session], schema: str, definer: Definer = Definer.KEEP) -> Made:
    """Create all of the source's objects on the target; the results must be equal."""
    source, target = both
    wanted = definitions(source, schema)
    maker = ObjectMaker(target, schema, definer)
    made = maker.create(wanted)
    assert not made.refused, made.refused
    for event in (one for one in wanted if one.kind is Kind.EVENT):
        maker.give_status(event)
    there = definitions(target, schema)
    assert [(one.kind, one.name) for one in there] == [(one.kind, one.name) for one in wanted]
    assert [differs(a, b, definer, statuses=True) for a, b in zip(wanted, there, strict=True)] == [""] * len(wanted)
    return made


def test_all_kinds_in_an_order_that_works(both: tuple[Session, Session], pair: Pair, schema: str) -> None:
    pair.source.execute(f"USE `{schema}`", *OBJECTS)
    made = brought(both, schema)
    assert not made.without_definer
    for server in (pair.source, pair.target):
        server.execute(
            f"USE `{schema}`", "INSERT INTO t (id, v, n) VALUES (1, 'v', 2)", "DELETE FROM t", "CALL fill(7)"
        )
        assert server.query(f"SELECT what FROM `{schema}`.log") == [("1",)]
        assert server.query(f"SELECT id, d FROM `{schema}`.z") == [(7, 20)]


def test_under_the_settings_that_they_were_created_under(
    both: tuple[Session, Session], pair: Pair, schema: str
) -> None:
    texts = (
        "CREATE VIEW v AS SELECT 'é' AS `ü`, id FROM t WHERE v = 'ß'",
        "CREATE PROCEDURE p() BEGIN DECLARE x VARCHAR(9) DEFAULT 'é'; SELECT \"x\" || x; END",
        "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW SET NEW.v = 'ö'",
        "CREATE EVENT e ON SCHEDULE EVERY 2 HOUR STARTS '2030-06-01 12:00:00' DO INSERT INTO log (what) VALUES ('ä')",
    )
    with (
        contextlib.closing(pair.source.connect(charset="latin1", database=schema)) as author,
        author.cursor() as cursor,
    ):
        cursor.execute("SET sql_mode = 'PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,NO_ZERO_DATE', time_zone = '+05:30'")
        cursor.execute("SET collation_connection = latin1_german2_ci")
        for text in texts:
            cursor.execute(text)
    with contextlib.closing(pair.source.connect(database=schema)) as author, author.cursor() as cursor:
        cursor.execute("SET sql_mode = 'ANSI_QUOTES'")
        cursor.execute('CREATE FUNCTION "f""f`"() RETURNS VARCHAR(9) DETERMINISTIC RETURN \'\\n日本\'')
    brought(both, schema)
    answers = [
        server.query(f'SELECT v.*, HEX(`{schema}`.`f"f``{""}`()) FROM `{schema}`.v')
        for server in (pair.source, pair.target)
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("definer", list(Definer))
def test_definers(both: tuple[Session, Session], pair: Pair, schema: str, definer: Definer) -> None:
    """A view whose definer does not exist, and a view on it."""
    nobody = "`no``body`@`%`"
    pair.source.execute(
        f"USE `{schema}`",
        f"CREATE USER {nobody}",
        f"GRANT ALL ON `{schema}`.* TO {nobody}",
        f"CREATE DEFINER={nobody} VIEW z AS SELECT id FROM t",
        f"CREATE DEFINER={nobody} VIEW a AS SELECT id FROM z",
        f"CREATE DEFINER={nobody} PROCEDURE p() SELECT 1",
        f"CREATE DEFINER={nobody} EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2031-02-03' DO SELECT 1",
        f"CREATE DEFINER={nobody} TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.n = 1",
    )
    try:
        made = brought(both, schema, definer)
    finally:
        pair.source.execute(f"DROP USER {nobody}")
    lacking = {one.name for one in made.without_definer}
    assert lacking == ({"z", "a", "p", "e", "g"} if definer is Definer.KEEP else set())
    definers = {one.definer for one in definitions(both[1], schema)}
    assert (definers == {b" DEFINER=" + nobody.encode()}) is (definer is Definer.KEEP)


def test_what_is_refused_is_told_and_the_rest_is_created(
    both: tuple[Session, Session], pair: Pair, schema: str
) -> None:
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE elsewhere (id INT PRIMARY KEY)",
        "CREATE VIEW bad AS SELECT id FROM elsewhere",
        "CREATE VIEW worse AS SELECT id FROM bad",
        "CREATE VIEW good AS SELECT id FROM t",
    )
    source, target = both
    made = ObjectMaker(target, schema, Definer.KEEP).create(definitions(source, schema))
    assert {one.name: error.code for one, error in made.refused.items()} == {"bad": 1146, "worse": 1146}
    assert [one.name for one in definitions(target, schema)] == ["good"]


def test_packages_of_mariadb(mariadb_pair: Pair, schema: str) -> None:
    pair = mariadb_pair
    pair.target.execute(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4")
    with contextlib.closing(pair.source.connect(database=schema)) as author, author.cursor() as cursor:
        cursor.execute("SET sql_mode = 'ORACLE'")
        cursor.execute("CREATE PACKAGE pk AS FUNCTION f RETURN INT; END")
        cursor.execute("CREATE PACKAGE BODY pk AS FUNCTION f RETURN INT AS BEGIN RETURN 5; END; END")
    with session_of(pair.source, "source") as source, session_of(pair.target, "target") as target:
        brought((source, target), schema)
    assert pair.target.query(f"SELECT `{schema}`.`pk.f`()" if pair.flavor is Flavor.MYSQL else "SELECT 5") == [(5,)]


def test_another_version_of_a_listing_is_another_object(both: tuple[Session, Session], pair: Pair, schema: str) -> None:
    def versions() -> dict[str, Listed]:
        return {one.name.name: one for one in list_objects(both[0], [schema], list(Kind))}

    pair.source.execute(f"USE `{schema}`", *OBJECTS)
    before = versions()
    assert versions() == before
    pair.source.execute(
        f"USE `{schema}`",
        "ALTER VIEW a AS SELECT 1 AS x",
        "DROP TRIGGER gone",
        "CREATE TRIGGER gone AFTER DELETE ON t FOR EACH ROW SET @x = 1",
        "ALTER EVENT tick DISABLE",
        "DROP FUNCTION twice",
    )
    after = versions()
    assert {name for name in before if after.get(name) != before[name]} == {"a", "gone", "tick", "twice"}


def test_each_kind_is_listed_alone(both: tuple[Session, Session], pair: Pair, schema: str) -> None:
    pair.source.execute(f"USE `{schema}`", *OBJECTS)
    every = list_objects(both[0], [schema], list(Kind))
    assert {Kind.FUNCTION, Kind.PROCEDURE, Kind.VIEW, Kind.TRIGGER, Kind.EVENT} <= {one.kind for one in every}
    for kind in Kind:
        assert list_objects(both[0], [schema], [kind]) == [one for one in every if one.kind is kind]
