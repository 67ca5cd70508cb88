"""Random rows for a schema of which nothing is known in advance: first they fill it, then writers change them.

``trial.py`` calls it. Foreign keys take values of parents that are there. What a server refuses, such as a duplicate or
a failed CHECK, is not written; a table that stays empty is counted. The seed makes the first rows repeatable.
"""

import contextlib
import threading
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Self

import pymysql

from hack.schemas.catalogue import Column, Reference, Table, tables
from hack.schemas.values import placeholder, value

if TYPE_CHECKING:
    from pymysql.cursors import Cursor

    from tests.support.servers import Server

WRITER, PASSWORD = "schemas_writer", "writes"
_READ_ONLY = (1290, 1836)
_GONE = (2006, 2013, 1053, 1927, 4031)


def fill(server: "Server", schema: str, rows: int, seed: int) -> tuple[int, list[str]]:
    """``rows`` tries for each table. Returns how many rows there are, and which tables are empty."""
    chance = Random(seed)
    known = tables(server, schema)
    with contextlib.closing(server.connect(database=schema, sql_mode="", autocommit=False)) as connection:
        cursor = connection.cursor()
        cursor.execute("SET foreign_key_checks = 0")  # tables may reference each other in a circle
        for table in known.values():
            for _ in range(rows):
                with contextlib.suppress(pymysql.Error):
                    _insert(cursor, table, chance)
            connection.commit()
        while any(
            _delete_orphans(cursor, table, reference) for table in known.values() for reference in table.references
        ):
            connection.commit()
        counts = {name: _count(cursor, name) for name in known}
    return sum(counts.values()), [name for name, count in counts.items() if not count]


def _count(cursor: "Cursor", table: str) -> int:
    cursor.execute(f"SELECT COUNT(*) FROM {_quoted(table)}")
    return int(cursor.fetchall()[0][0])


def _delete_orphans(cursor: "Cursor", table: Table, reference: Reference) -> int:
    """Rows whose parent does not exist, since its insertion was refused or it is a later one of a circle."""
    pairs = list(zip(reference.columns, reference.parent_columns, strict=True))
    joined = " AND ".join(f"c.{_quoted(own)} = p.{_quoted(theirs)}" for own, theirs in pairs)
    given = " AND ".join(f"c.{_quoted(own)} IS NOT NULL" for own in reference.columns)
    with contextlib.suppress(pymysql.Error):  # a trigger of the schema may forbid it
        return cursor.execute(
            f"DELETE c FROM {_quoted(table.name)} c LEFT JOIN {_quoted(reference.parent)} p ON {joined} "
            f"WHERE {given} AND p.{_quoted(reference.parent_columns[0])} IS NULL"
        )
    return 0


def _insert(cursor: "Cursor", table: Table, chance: Random) -> int:
    row = {column.name: value(column, chance, distinct=column.name in table.unique) for column in table.columns}
    for reference in table.references:
        row |= _parent(cursor, table, reference, chance)
    taken = ", ".join(placeholder(column) for column in table.columns)
    names = ", ".join(_escaped(name) for name in row)
    return cursor.execute(f"INSERT INTO {_escaped(table.name)} ({names}) VALUES ({taken})", list(row.values()))


def _parent(cursor: "Cursor", table: Table, reference: Reference, chance: Random) -> dict[str, object]:
    """The referencing columns' values: NULL at times, else those of a random parent."""
    own = {column.name: column for column in table.columns}
    nullable = all(own[name].nullable for name in reference.columns if name in own)
    if nullable and chance.random() < 0.2:
        return dict.fromkeys(reference.columns)
    names = ", ".join(_quoted(name) for name in reference.parent_columns)
    there = " AND ".join(f"{_quoted(name)} IS NOT NULL" for name in reference.parent_columns)
    parent = _quoted(reference.parent)
    skipped = chance.randrange(max(1, _count(cursor, reference.parent)))
    cursor.execute(f"SELECT {names} FROM {parent} WHERE {there} LIMIT 1 OFFSET {skipped}")
    found = cursor.fetchall()
    if found:
        return dict(zip(reference.columns, found[0], strict=True))
    if nullable:
        return dict.fromkeys(reference.columns)
    return {name: chance.randint(1, 20) for name in reference.columns}  # an AUTO_INCREMENT value of a circle's table


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _escaped(name: str) -> str:
    """For a statement with values, in which a percent sign stands for one."""
    return _quoted(name).replace("%", "%%")


class Writers:
    """Threads that insert, update and delete rows of every table and change keys, until the source refuses writes."""

    def __init__(self, server: "Server", schema: str, seed: int, threads: int = 2) -> None:
        self.acknowledged: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()
        self.server = server
        self.schema = schema
        self.tables = list(tables(server, schema).values())
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(Random(seed + number),), daemon=True) for number in range(threads)
        ]

    def __enter__(self) -> Self:
        self.server.execute(
            f"CREATE USER {WRITER}@'%' IDENTIFIED BY '{PASSWORD}'",
            f"GRANT ALL ON `{self.schema}`.* TO {WRITER}@'%'",
        )
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, chance: Random) -> None:
        login = {"user": WRITER, "password": PASSWORD, "database": self.schema, "sql_mode": ""}
        while not self._stopping.is_set():
            with (
                contextlib.suppress(pymysql.err.OperationalError),
                contextlib.closing(self.server.connect(**login)) as connection,
            ):
                while self._once(connection.cursor(), chance):
                    self._stopping.wait(0.02)

    def _once(self, cursor: "Cursor", chance: Random) -> bool:
        """One write of a random kind; False to connect again."""
        kind = chance.choices((self._inserts, self._updates, self._changes_key, self._deletes), (40, 35, 10, 15))[0]
        try:
            self.acknowledged[kind.__name__.strip("_")] += kind(cursor, chance.choice(self.tables), chance)
        except pymysql.Error as error:
            code = int(error.args[0]) if error.args and isinstance(error.args[0], int) else 0
            self.refused[code] += 1
            if code in _READ_ONLY:
                self._stopping.wait(0.05)
            if code in _GONE:
                return False
        return not self._stopping.is_set()

    def _inserts(self, cursor: "Cursor", table: Table, chance: Random) -> int:
        return _insert(cursor, table, chance)

    def _updates(self, cursor: "Cursor", table: Table, chance: Random) -> int:
        free = [one for one in table.columns if one.name not in table.unique | table.referencing]
        return self._sets(cursor, table, free, chance)

    def _changes_key(self, cursor: "Cursor", table: Table, chance: Random) -> int:
        return self._sets(cursor, table, [one for one in table.columns if one.name in table.unique], chance)

    def _sets(self, cursor: "Cursor", table: Table, columns: list[Column], chance: Random) -> int:
        if not columns:
            return 0
        column = chance.choice(columns)
        new = value(column, chance, distinct=column.name in table.unique)
        if column.automatic:
            new = chance.randint(1, 10**4)
        changed = f"{_escaped(column.name)} = {placeholder(column)}"
        # ORDER BY RAND(): any row, also of a table without a key
        return cursor.execute(f"UPDATE {_escaped(table.name)} SET {changed} ORDER BY RAND() LIMIT 1", [new])

    def _deletes(self, cursor: "Cursor", table: Table, _: Random) -> int:
        return cursor.execute(f"DELETE FROM {_quoted(table.name)} ORDER BY RAND() LIMIT 1")
