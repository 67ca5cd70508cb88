"""Tables and foreign keys are created under their target names, whatever names, defaults and comments contain."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ferry_core.api.selection import Tables
from ferry_core.errors import FerryError
from ferry_core.mysql.session import Purpose, Session
from ferry_core.schema.create import Creation, create_missing, definition
from ferry_core.schema.definition import parse
from ferry_core.schema.foreign_keys import add_foreign_keys
from ferry_core.tables.discovery import discover
from ferry_core.tables.table import TableName
from hack.servers import Family
from tests.support.compare import assert_equal_tables
from tests.support.servers import Pair, set_global
from tests.support.table_pair import TablePair

ODD = r"""CREATE TABLE `o``dd, (t)` (
  `id` int NOT NULL AUTO_INCREMENT,
  `FOREIGN KEY` varchar(50) DEFAULT 'x, FOREIGN KEY (`a`) REFERENCES `p` (`b`)''\\' COMMENT 'it''s ) \\ `q`, /* no',
  `c,d` enum('a,b','(',')','''') CHARACTER SET gbk DEFAULT '(',
  `n` int DEFAULT NULL /* a comment, ( */,
  PRIMARY KEY (`id`),
  KEY `CONSTRAINT` (`n`),
  CONSTRAINT `fk ,1` FOREIGN KEY (`n`) REFERENCES `other``s`.`p, (` (`id`) ON DELETE SET NULL,
  CONSTRAINT `fk2` FOREIGN KEY (`n`) REFERENCES `o``dd, (t)` (`id`),
  CONSTRAINT `ck` CHECK (`n` <> ') FOREIGN KEY')
) ENGINE=InnoDB AUTO_INCREMENT=77 COMMENT=') , FOREIGN KEY'
 PARTITION BY HASH (`id`)
PARTITIONS 3"""


@pytest.fixture
def both(pair: Pair) -> Iterator[TablePair]:
    it = TablePair(pair)
    yield it
    it.close()


def test_definitions_are_parsed_by_tokens() -> None:
    table = TableName("s", "o`dd, (t)")
    read = parse(ODD, table)
    assert len(read.elements) == 7
    assert read.elements[1].endswith("/* no'")
    assert read.elements[-1] == "CONSTRAINT `ck` CHECK (`n` <> ') FOREIGN KEY')"
    assert read.options.startswith(" ENGINE=InnoDB AUTO_INCREMENT=77")
    assert read.options.endswith("PARTITIONS 3")
    first, second = read.foreign_keys
    assert (first.name, first.references) == ("fk ,1", TableName("other`s", "p, ("))
    assert (second.name, second.references) == ("fk2", table)
    renamed = first.referencing(TableName("x", "y"))
    assert renamed == "CONSTRAINT `fk ,1` FOREIGN KEY (`n`) REFERENCES `x`.`y` (`id`) ON DELETE SET NULL"
    assert read.create(TableName("n", "w")).startswith("CREATE TABLE `n`.`w` (\n  `id` int NOT NULL AUTO_INCREMENT,")


def test_unusual_definitions_arrive_under_new_names(pair: Pair, both: TablePair, schema: str) -> None:
    hidden = "INVISIBLE"
    functional = ", UNIQUE KEY expr ((LOWER(`a``b`)))" if pair.family is Family.MYSQL else ""
    pair.source.execute(
        f"ALTER DATABASE `{schema}` CHARACTER SET latin1 COLLATE latin1_bin",
        f"USE `{schema}`",
        "SET SESSION sql_mode = ''",
        f"CREATE TABLE `o``dd, (t)` (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, `a``b` VARCHAR(30) "
        rf"DEFAULT 'x, FOREIGN KEY (y)\'' COMMENT 'it''s, (\\ `q` ü', `c,d` ENUM('a,b', '(', '中') CHARACTER SET gbk, "
        f"h INT DEFAULT (1 + 1) {hidden}, g INT AS (h * 2) VIRTUAL, s INT AS (h + 1) STORED, t TIMESTAMP(3) NOT NULL "
        "DEFAULT '2020-01-01 00:00:00' ON UPDATE CURRENT_TIMESTAMP(3), z DATETIME DEFAULT '0000-00-00 00:00:00', "
        f"UNIQUE KEY `u,1` (s, h), KEY prefix (`a``b`(3)) {functional}, CONSTRAINT ck CHECK (h <> 7)) "
        "AUTO_INCREMENT=77 COMMENT=') FOREIGN KEY' CHARACTER SET utf8mb4",
        "INSERT INTO `o``dd, (t)` (id, `a``b`, `c,d`, h) VALUES (-1, 'ü', 3, 1), (0, 'B', 2, 2), (5, DEFAULT, 1, 3)",
        "CREATE TABLE parts (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) "
        "(PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)",
        "INSERT INTO parts VALUES (-5, 1), (9, 2), (10, 3), (500, 4)",
    )
    to = f"{schema}_to"
    rules = [{"match": f"{schema}.parts", "target": f"{to}.pieces"}]
    tables = both.selected(f"{schema}.*", renameSchemas={schema: to}, rules=rules)
    assert both.copy_all(tables) == 7
    for table in tables:
        assert_equal_tables(
            pair.source, pair.target, (table.source.schema, table.source.name), (table.target.schema, table.target.name)
        )
    assert (
        both.target.text(f"SELECT default_collation_name FROM information_schema.schemata WHERE schema_name = '{to}'")
        == "latin1_bin"
    )
    assert create_missing(both.control, both.target, tables, both.fence) == []
    for text in (b"PARTITION BY RANGE", b"pieces"):
        assert text in (both.target.query(f"SHOW CREATE TABLE `{to}`.pieces")[0][1] or b"")
    kept = definition(both.target, tables[0].target).options
    assert kept == definition(both.control, tables[0].source).options
    assert "AUTO_INCREMENT=80" in kept


RELATED = (
    "CREATE TABLE out_of_it (id INT PRIMARY KEY)",
    "CREATE TABLE p (id INT PRIMARY KEY, u INT UNIQUE)",
    """CREATE TABLE c (id INT PRIMARY KEY, pid INT, self INT, o INT,
       CONSTRAINT `a,b` FOREIGN KEY (pid) REFERENCES p (id) ON DELETE CASCADE,
       CONSTRAINT own FOREIGN KEY (self) REFERENCES c (id),
       CONSTRAINT lost FOREIGN KEY (o) REFERENCES out_of_it (id))""",
    "INSERT INTO p VALUES (1, 1)",
    "INSERT INTO c VALUES (1, 1, NULL, NULL), (2, 1, 1, NULL)",
)


@pytest.mark.parametrize("made", ["by_us", "without_keys"])
def test_foreign_keys_are_made_once_under_new_names(pair: Pair, both: TablePair, schema: str, made: str) -> None:
    """With the table; or by an ALTER, if somebody has made the table without them."""
    pair.source.execute(f"USE `{schema}`", *RELATED)
    to = f"{schema}_to"
    if made == "without_keys":
        bare = "CREATE TABLE c (id INT PRIMARY KEY, pid INT, self INT, o INT, KEY (pid), KEY (self), KEY (o))"
        pair.target.execute(f"CREATE DATABASE `{to}`", f"USE `{to}`", bare)
    rules = [{"match": f"{schema}.p", "target": f"{to}.parents"}]
    tables = both.selected(f"{schema}.[cp]", renameSchemas={schema: to}, rules=rules)
    assert (b"FOREIGN KEY" in (both.target.query(f"SHOW CREATE TABLE `{to}`.c")[0][1] or b"")) == (made == "by_us")
    both.copy_all(tables)
    for _ in range(2):
        notices = add_foreign_keys(both.control, both.target, tables, both.fence)
        assert len(notices) == 1
        assert "lost" in notices[0]
    text = (both.target.query(f"SHOW CREATE TABLE `{to}`.c")[0][1] or b"").decode()
    assert "CONSTRAINT `a,b` FOREIGN KEY (`pid`) REFERENCES `parents` (`id`) ON DELETE CASCADE" in text
    assert "CONSTRAINT `own` FOREIGN KEY (`self`) REFERENCES `c` (`id`)" in text
    assert text.count("FOREIGN KEY") == 2
    assert both.target.text("SELECT @@foreign_key_checks") == "0"
    assert both.target.text("SELECT @@character_set_connection") == "binary"


def test_many_related_tables_are_made_on_several_connections(pair: Pair, both: TablePair, schema: str) -> None:
    """In a cycle, so that no order would do, and from two schemas that use the same names of constraints."""
    count = 24
    schemas = (schema, f"{schema}_2")
    pair.source.execute(f"CREATE DATABASE `{schemas[1]}`")
    for at, of in enumerate(schemas):
        pair.source.execute(
            f"USE `{of}`",
            "SET foreign_key_checks = 0",
            *(
                f"CREATE TABLE `{at}_{n}` (id INT PRIMARY KEY, CONSTRAINT next_{n} FOREIGN KEY (id) REFERENCES "
                f"`{at}_{(n + 1) % count}` (id) ON UPDATE CASCADE)"
                for n in range(count)
            ),
        )
    selection = Tables.model_validate({"include": [f"{schema}*.*"], "renameSchemas": {schemas[1]: schema}})
    tables = discover(both.control, selection)
    made: list[str] = []
    creation = Creation(created=lambda table: made.append(table.id), connect=both.connect_target)
    assert create_missing(both.control, both.target, tables, both.fence, creation) == tables
    assert sorted(made) == sorted(table.id for table in tables)
    assert add_foreign_keys(both.control, both.target, tables, both.fence) == []
    named = 0
    for at, of in enumerate(schemas):
        for n in range(count):
            text = (both.target.query(f"SHOW CREATE TABLE `{schema}`.`{at}_{n}`")[0][1] or b"").decode()
            assert text.count(f"REFERENCES `{at}_{(n + 1) % count}` (`id`) ON UPDATE CASCADE") == 1, text
            named += f"CONSTRAINT `next_{n}`" in text
            if of == schema:
                assert_equal_tables(pair.source, pair.target, (of, f"{at}_{n}"))
    assert named == count


def test_a_table_that_the_target_refuses_does_not_keep_others_from_being_made(
    pair: Pair, both: TablePair, schema: str
) -> None:
    pair.source.execute(
        f"USE `{schema}`", *(f"CREATE TABLE t{n} (id INT PRIMARY KEY) ENGINE=InnoDB" for n in range(12))
    )
    tables = discover(both.control, Tables.model_validate({"include": [f"{schema}.*"]}))
    tables[3] = replace(tables[3], target_engine="NoSuchEngine")
    made: list[str] = []
    creation = Creation(created=lambda table: made.append(table.id), connect=both.connect_target)
    with pytest.raises(FerryError, match="NoSuchEngine"):
        create_missing(both.control, both.target, tables, both.fence, creation)
    assert len(made) == 11
    assert tables[3].id not in made


def test_the_targets_defaults_do_not_change_a_definition(pair: Pair, both: TablePair, schema: str) -> None:
    """Otherwise the application's next UPDATE would rewrite a TIMESTAMP that got ON UPDATE CURRENT_TIMESTAMP."""
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT NOT NULL, a TIMESTAMP NOT NULL, b TIMESTAMP NULL, UNIQUE KEY k (id))"
    )
    hostile = ["explicit_defaults_for_timestamp = 0"]
    if pair.family is Family.MYSQL:
        hostile.append("sql_generate_invisible_primary_key = 1")
    with set_global(pair.target, *hostile):
        both.target.close()
        both.target = Session(pair.target.endpoint("target"), Purpose.TARGET)
        both.selected(f"{schema}.t")
    assert_equal_tables(pair.source, pair.target, (schema, "t"), (schema, "t"))
