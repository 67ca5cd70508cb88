"""The text of a .sql file is split as the mysql client does, and a schema is filled with rows that it accepts."""

from hack.schemas.rows import fill
from hack.schemas.sources import listed
from hack.schemas.statements import load, statements
from tests.support.servers import Pair, Server

TEXT = """
-- a comment; with a semicolon
# another; 'one
CREATE DATABASE elsewhere; USE elsewhere; GRANT ALL ON *.* TO a@b;
CREATE TABLE a (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(20) DEFAULT 'a;\\';--' /* no; comment */,
  /*!50705 g GEOMETRY,*/ self INT, b INT NOT NULL, FOREIGN KEY (self) REFERENCES a (id)) ENGINE=InnoDB;
CREATE TABLE b (id INT AUTO_INCREMENT PRIMARY KEY, `x;y` INT UNIQUE, a INT NOT NULL,
  d DATE NOT NULL DEFAULT '0000-00-00',
  FOREIGN KEY (a) REFERENCES a (id) ON DELETE CASCADE);
ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b (id);
DELIMITER $$
CREATE TRIGGER tr BEFORE INSERT ON b FOR EACH ROW BEGIN SET @x = 1; SET @y = 2; END $$
DELIMITER ;
CREATE VIEW v AS SELECT 1 - 2 \\
  AS n
"""


def test_statements_end_at_their_delimiter_not_in_texts_comments_or_bodies() -> None:
    found = list(statements(TEXT))
    assert [one.split()[1] for one in found] == ["TABLE", "TABLE", "TABLE", "TRIGGER", "VIEW"]
    assert "'a;\\';--'" in found[0]
    assert "/*!50705 g GEOMETRY,*/" in found[0]
    assert "no; comment" not in found[0]
    assert found[3].endswith("SET @y = 2; END")
    assert " ".join(found[4].split()) == "CREATE VIEW v AS SELECT 1 - 2 AS n"


def test_tables_that_reference_each_other_in_a_circle_are_filled(pair: Pair, schema: str) -> None:
    _fills(pair.source, schema)


def _fills(server: Server, schema: str) -> None:
    server.execute(f"DROP DATABASE `{schema}`")
    load(server, schema, TEXT)
    rows, empty = fill(server, schema, 30, seed=1)
    assert rows > 20
    assert not empty
    orphans = f"SELECT COUNT(*) FROM `{schema}`.a LEFT JOIN `{schema}`.b ON a.b = b.id WHERE b.id IS NULL"
    assert server.value(orphans) == 0


def test_each_listed_schema_says_where_it_comes_from() -> None:
    for name, source in listed().items():
        assert bool(source.debian) + bool(source.maven) + bool(source.pypi) + bool(source.repository) == 1, name
        assert source.repository or source.files, name
    assert len(listed()) >= 20
