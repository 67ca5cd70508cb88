"""Small graphs of tables with every kind of cascade, and writers that change them at random.

Rows have few ids, so that they are deleted, moved and used again all the time.
"""

import random
import threading
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

import pymysql

from tests.support.servers import Server
from tests.support.waits import wait_until
from tests.support.writers import PASSWORD, USER, create_account, seed_of_run

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

IDS = 100
EXPECTED = {1205, 1213, 1062, 1216, 1451, 1452, 1290, 1761, 1762, 1836, 3008, 6575}
"""Lock waits, deadlocks, duplicates, refused by a constraint or by its depth, read-only."""


class Graph(NamedTuple):
    tables: Sequence[str]
    changes: Sequence[str]


TABLES = (
    "CREATE TABLE region (id INT PRIMARY KEY, code VARCHAR(9) UNIQUE)",
    (
        "CREATE TABLE customer (id INT PRIMARY KEY, region VARCHAR(9), v INT NOT NULL DEFAULT 0, "
        "CONSTRAINT in_region FOREIGN KEY (region) REFERENCES region (code) ON DELETE SET NULL ON UPDATE CASCADE)"
    ),
    (
        "CREATE TABLE orders (id INT PRIMARY KEY, customer INT, v INT NOT NULL DEFAULT 0, "
        "CONSTRAINT by_customer FOREIGN KEY (customer) REFERENCES customer (id) ON DELETE CASCADE ON UPDATE CASCADE)"
    ),
    (
        "CREATE TABLE line (orders INT, n INT, v INT NOT NULL DEFAULT 0, PRIMARY KEY (orders, n), "
        "CONSTRAINT of_order FOREIGN KEY (orders) REFERENCES orders (id) ON DELETE CASCADE ON UPDATE CASCADE)"
    ),
    (
        "CREATE TABLE part (orders INT, n INT, k INT, PRIMARY KEY (k, orders, n), "
        "CONSTRAINT of_line FOREIGN KEY (orders, n) REFERENCES line (orders, n) ON DELETE CASCADE ON UPDATE CASCADE)"
    ),
    (
        "CREATE TABLE note (id INT PRIMARY KEY, n INT, orders INT, "
        "CONSTRAINT on_line FOREIGN KEY (orders, n) REFERENCES line (orders, n) ON DELETE SET NULL ON UPDATE SET NULL)"
    ),
    (
        "CREATE TABLE tree (id INT PRIMARY KEY, p INT, CONSTRAINT above FOREIGN KEY (p) REFERENCES tree (id) "
        "ON DELETE CASCADE)"
    ),
    (
        "CREATE TABLE leaf (id INT PRIMARY KEY, t INT, CONSTRAINT of_tree FOREIGN KEY (t) REFERENCES tree (id) "
        "ON DELETE CASCADE)"
    ),
    (
        "CREATE TABLE chain (id INT PRIMARY KEY, p INT, CONSTRAINT before_it FOREIGN KEY (p) REFERENCES chain (id) "
        "ON DELETE SET NULL)"
    ),
    "CREATE TABLE one (id INT PRIMARY KEY, other INT)",
    (
        "CREATE TABLE two (id INT PRIMARY KEY, other INT, "
        "CONSTRAINT to_one FOREIGN KEY (other) REFERENCES one (id) ON DELETE CASCADE)"
    ),
    "ALTER TABLE one ADD CONSTRAINT to_two FOREIGN KEY (other) REFERENCES two (id) ON DELETE CASCADE",
)
CHANGES = (
    *("INSERT INTO region VALUES ({a}, '{b}')", "UPDATE region SET code = '{c}' WHERE id = {a}"),
    *("DELETE FROM region WHERE id = {a}", "REPLACE INTO region VALUES ({a}, '{b}')"),
    *("INSERT INTO customer VALUES ({a}, '{b}', {n})", "INSERT INTO customer VALUES ({a}, NULL, {n})"),
    *("UPDATE customer SET region = '{b}' WHERE id = {a}", "UPDATE customer SET id = {b} WHERE id = {a}"),
    *("DELETE FROM customer WHERE id = {a}", "UPDATE customer SET v = {n} WHERE id = {a}"),
    *("INSERT INTO orders VALUES ({a}, {b}, {n})", "UPDATE orders SET customer = {b} WHERE id = {a}"),
    *("UPDATE orders SET id = {b} WHERE id = {a}", "UPDATE orders SET v = {n} WHERE id = {a}"),
    *("INSERT INTO orders VALUES ({a}, {b}, {n})", "DELETE FROM orders WHERE id = {a}"),
    *("INSERT INTO line VALUES ({a}, {k}, {n})", "INSERT INTO line VALUES ({a}, {k}, {n})"),
    *("UPDATE line SET n = {k} + 1 WHERE orders = {a}", "DELETE FROM line WHERE orders = {a} AND n = {k}"),
    *("INSERT INTO part VALUES ({a}, {k}, {n})", "INSERT INTO part SELECT orders, n, {n} FROM line WHERE orders = {a}"),
    *("REPLACE INTO note SELECT {n}, n, orders FROM line WHERE orders = {a}", "DELETE FROM note WHERE id = {n}"),
    *("INSERT INTO tree VALUES ({a}, {b})", "INSERT INTO tree VALUES ({a}, NULL)", "DELETE FROM tree WHERE id = {a}"),
    *(
        "UPDATE tree SET p = {b} WHERE id = {a}",
        "INSERT INTO leaf VALUES ({n}, {a})",
        "DELETE FROM leaf WHERE id = {n}",
    ),
    *(
        "INSERT INTO chain VALUES ({a}, {b})",
        "INSERT INTO chain VALUES ({a}, NULL)",
        "DELETE FROM chain WHERE id = {a}",
    ),
    *("INSERT INTO one VALUES ({a}, NULL)", "INSERT INTO two VALUES ({b}, {a})", "DELETE FROM two WHERE id = {a}"),
    *("UPDATE one SET other = {b} WHERE id = {a}", "DELETE FROM one WHERE id = {a}"),
)

FOLLOWED = Graph(TABLES, CHANGES)

UNFOLLOWED = Graph(
    (
        "CREATE TABLE grp (id INT PRIMARY KEY, v INT NOT NULL DEFAULT 0)",
        (
            "CREATE TABLE item (id INT PRIMARY KEY, g INT, x INT NOT NULL, UNIQUE (g, x), "
            "CONSTRAINT in_grp FOREIGN KEY (g) REFERENCES grp (id) ON DELETE SET NULL ON UPDATE CASCADE)"
        ),
        (
            "CREATE TABLE node (id INT PRIMARY KEY, g INT, u INT UNIQUE, "
            "CONSTRAINT of_grp FOREIGN KEY (g) REFERENCES grp (id) ON DELETE CASCADE)"
        ),
        (
            "CREATE TABLE leaf (id INT PRIMARY KEY, n INT, v INT UNIQUE, "
            "CONSTRAINT of_node FOREIGN KEY (n) REFERENCES node (id) ON DELETE CASCADE)"
        ),
        (
            "CREATE TABLE twig (id INT PRIMARY KEY, l INT, "
            "CONSTRAINT of_leaf FOREIGN KEY (l) REFERENCES leaf (id) ON DELETE CASCADE)"
        ),
        (
            "CREATE TABLE by_u (id INT PRIMARY KEY, u INT, "
            "CONSTRAINT to_u FOREIGN KEY (u) REFERENCES node (u) ON DELETE SET NULL ON UPDATE CASCADE)"
        ),
        (
            "CREATE TABLE bag (k INT UNIQUE, g INT, "
            "CONSTRAINT bag_of FOREIGN KEY (g) REFERENCES grp (id) ON DELETE CASCADE)"
        ),
        (
            "CREATE TABLE bagged (id INT PRIMARY KEY, k INT, "
            "CONSTRAINT in_bag FOREIGN KEY (k) REFERENCES bag (k) ON DELETE CASCADE)"
        ),
    ),
    (
        *("INSERT INTO grp VALUES ({k}, {n})", "DELETE FROM grp WHERE id = {k}", "UPDATE grp SET v = {n}"),
        *("INSERT INTO item VALUES ({a}, {k}, {k})", "UPDATE item SET g = {k}, x = {k} WHERE id = {a}"),
        *("REPLACE INTO item VALUES ({a}, {k}, {b})", "UPDATE item SET x = {b} WHERE id = {a}"),
        *("INSERT INTO node VALUES ({a}, {k}, {b})", "UPDATE node SET u = {b} WHERE id = {a}"),
        *("INSERT INTO node VALUES ({b}, {k}, {c})", "REPLACE INTO node VALUES ({a}, {k}, {b})"),
        *("INSERT INTO leaf VALUES ({n}, {a}, {b})", "UPDATE leaf SET v = {c} WHERE n = {a} LIMIT 1"),
        *("INSERT INTO twig SELECT {n}, id FROM leaf WHERE n = {a} LIMIT 1", "DELETE FROM twig WHERE id = {n}"),
        *("INSERT INTO by_u VALUES ({n}, {b})", "UPDATE by_u SET u = {c} WHERE id = {n}"),
        *("INSERT INTO bag VALUES ({a}, {k})", "INSERT INTO bag VALUES (NULL, {k})"),
        *("UPDATE bag SET k = {b} WHERE k = {a}", "INSERT INTO bagged VALUES ({n}, {a})"),
    ),
)
"""Lookups by value do not find all rows that these cascades change."""

VERSIONED = Graph(
    (
        *UNFOLLOWED.tables,
        "CREATE TABLE kept (id INT PRIMARY KEY, v INT NOT NULL DEFAULT 0) WITH SYSTEM VERSIONING",
        (
            "CREATE TABLE of_kept (id INT PRIMARY KEY, p INT, "
            "CONSTRAINT to_kept FOREIGN KEY (p) REFERENCES kept (id) ON DELETE CASCADE)"
        ),
    ),
    (
        *UNFOLLOWED.changes,
        *("INSERT INTO kept VALUES ({a}, {n})", "DELETE FROM kept WHERE id = {a}"),
        "INSERT INTO of_kept VALUES ({n}, {a})",
    ),
)
"""The same, and one from a system-versioned table of MariaDB."""


def create(server: Server, schema: str, seed: int, changes: int, graph: Graph = FOLLOWED) -> None:
    """The tables, with the rows that so many random changes leave."""
    server.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}`", f"USE `{schema}`")
    server.execute(f"USE `{schema}`", *graph.tables)
    rng = random.Random(seed)
    with server.connect(database=schema) as connection:
        for _ in range(changes):
            _try(connection, _statement(rng, graph), Counter())


def _statement(rng: random.Random, graph: Graph) -> str:
    numbers = {name: rng.randrange(IDS) for name in "abc"}
    return rng.choice(graph.changes).format(**numbers, k=rng.randrange(4), n=rng.randrange(1000))


def _try(connection: "Connection[Cursor]", statement: str, done: Counter[str]) -> bool:
    """False if the server refuses writes."""
    try:
        with connection.cursor() as cursor:
            done[statement.split(maxsplit=1)[0]] += cursor.execute(statement)
    except pymysql.MySQLError as error:
        if error.args[0] not in EXPECTED:
            raise
        return error.args[0] not in (1290, 1836)
    return True


class RelatedWriters:
    """``with RelatedWriters(server, schema): ...`` writes until then, also while the server refuses it."""

    def __init__(self, server: Server, schema: str, seed: int, graph: Graph = FOLLOWED) -> None:
        self._server, self._schema, self._graph = server, schema, graph
        self._seed = seed_of_run(seed)
        self._stopping = threading.Event()
        self._errors: list[BaseException] = []
        self.done: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(3)]

    def __enter__(self) -> Self:
        create_account(self._server, self._schema)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        print(f"  rows written: {dict(self.done)}")
        if self._errors:
            raise self._errors[0]

    def wait(self, rows: int) -> None:
        """Wait until that many more rows are written."""
        goal = self.done.total() + rows
        wait_until(lambda: self._errors or self.done.total() >= goal, f"{rows} more rows are written")

    def _run(self, number: int) -> None:
        rng = random.Random(f"{self._seed} {number}")
        try:
            with self._server.connect(user=USER, password=PASSWORD, database=self._schema) as connection:
                while not self._stopping.wait(0.005):
                    self._transaction(connection, rng)
        except BaseException as error:  # noqa: BLE001 - raised where the writers are stopped
            self._errors.append(error)

    def _transaction(self, connection: "Connection[Cursor]", rng: random.Random) -> None:
        alone = rng.random() < 0.5
        if not alone:
            connection.begin()
        for _ in range(1 if alone else rng.randrange(2, 5)):
            _try(connection, _statement(rng, self._graph), self.done)
        if not alone:
            try:
                if rng.random() < 0.8:
                    connection.commit()
            except pymysql.MySQLError as error:
                if error.args[0] not in EXPECTED:
                    raise
            connection.rollback()  # a refused commit leaves the transaction open, and the next BEGIN would commit it
