"""Tables that no key divides, an application that writes to them, and the judge: equal rows, each as often.

The judge asks each server for its rows and compares them as collections; it imports nothing of the engine.
"""

import contextlib
import random
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

import pymysql

from tests.support.servers import Server
from tests.support.writers import PASSWORD, USER

COLUMNS = "n INT, note VARCHAR(40) CHARACTER SET utf8mb4, at DATETIME(3) NULL, raw BLOB"
KEYLESS = {
    "plain": f"({COLUMNS})",
    "indexed": f"({COLUMNS}, INDEX (n), INDEX (note))",
    "nullable": f"({COLUMNS}, u INT NULL UNIQUE)",
    "prefixed": f"({COLUMNS}, url VARCHAR(300) NOT NULL DEFAULT 'x', INDEX (url(20)))",
}
VALUES = "(1, 'equal', NULL, NULL), (1, 'equal', NULL, NULL), (1, 'equal', NULL, NULL), (2, 'naïve', NOW(3), X'00FF27')"


URL = "url VARCHAR(300) CHARACTER SET utf8mb4 COLLATE {} NOT NULL DEFAULT (CONCAT(UUID(), '/', UUID()))"
OVER_PREFIXES = {
    "primary": f"({COLUMNS}, {URL.format('utf8mb4_bin')}, PRIMARY KEY (url(40)))",
    "composite": f"({COLUMNS}, shop INT NOT NULL DEFAULT 3, {URL.format('utf8mb4_general_ci')}, UNIQUE(shop, url(40)))",
}
"""Not without a key: it consists of prefixes."""
NULLABLE = {
    "single": f"({COLUMNS}, u BIGINT UNSIGNED NULL DEFAULT (UUID_SHORT()), UNIQUE by_u (u), INDEX (n))",
    "pair": f"({COLUMNS}, shop INT NULL DEFAULT 3, u VARCHAR(40) NULL DEFAULT (UUID()), UNIQUE by_both (shop, u))",
}
"""Not without a key until a row has NULL in it."""


PROMISED = {
    "counted": f"({COLUMNS}, u BIGINT UNSIGNED NOT NULL DEFAULT (UUID_SHORT()), INDEX by_u (u))",
    "named": f"({COLUMNS}, u VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL DEFAULT (UUID()), "
    "INDEX by_both (u, n))",
}
"""Without a key unless the spec says that u is one."""
PROMISED_NULLABLE = {
    "unset": f"({COLUMNS}, u BIGINT UNSIGNED NULL DEFAULT (UUID_SHORT()), INDEX by_u (u))",
    "half_set": f"({COLUMNS}, shop INT NULL DEFAULT 3, u VARCHAR(40) NULL DEFAULT (UUID()), INDEX by_both (shop, u))",
}
"""The same, until a row has NULL in it."""


def create_keyless(server: Server, schema: str, names: Sequence[str] = tuple(KEYLESS), doublings: int = 6) -> None:
    """Each with rows of which many are equal: 4 times 2 to the power of ``doublings``."""
    for name in names:
        table = f"`{schema}`.`{name}`"
        fields = "n, note, at, raw"
        server.execute(
            f"CREATE TABLE {table} {(KEYLESS | OVER_PREFIXES | NULLABLE | PROMISED | PROMISED_NULLABLE)[name]}",
            f"INSERT INTO {table} ({fields}) VALUES {VALUES}",
            *[f"INSERT INTO {table} ({fields}) SELECT {fields} FROM {table}" for _ in range(doublings)],
        )


class KeylessWriters:
    """A thread that inserts equal rows, deletes one of several, and updates some, until stopped or refused."""

    def __init__(self, server: Server, schema: str, names: Sequence[str], seed: int, pause: float = 0.01) -> None:
        self._server, self._schema, self._names, self._pause = server, schema, names, pause
        self._rng = random.Random(seed)
        self._over = threading.Event()
        self.writes = 0
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Self:
        """An ordinary account, which read_only stops on both families."""
        for host in ("%", "localhost"):
            self._server.execute(
                f"CREATE USER IF NOT EXISTS '{USER}'@'{host}' IDENTIFIED BY '{PASSWORD}'",
                f"GRANT ALL PRIVILEGES ON `{self._schema}`.* TO '{USER}'@'{host}'",
            )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        with (
            contextlib.closing(self._server.connect(user=USER, password=PASSWORD)) as connection,
            connection.cursor() as cursor,
        ):
            while not self._over.wait(self._pause):
                try:
                    cursor.execute(self._statement())
                    connection.commit()
                except pymysql.err.MySQLError as error:
                    if error.args[0] in (1290, 1836):
                        return
                    if error.args[0] not in (1205, 1213):
                        raise
                else:
                    self.writes += 1

    def _statement(self) -> str:
        table, n = f"`{self._schema}`.`{self._rng.choice(self._names)}`", self._rng.randrange(4)
        return self._rng.choice(
            (
                f"INSERT INTO {table} (n, note) VALUES ({n}, 'equal'), ({n}, 'equal')",
                f"DELETE FROM {table} WHERE n = {n} LIMIT 1",
                f"UPDATE {table} SET note = 'other' WHERE n = {n} LIMIT 3",
                f"UPDATE {table} SET n = n + 1 WHERE n < 9 LIMIT 2",
            )
        )


class UrlWriters(KeylessWriters):
    """The same, and changes keys over prefixes: whole, or only behind the prefix."""

    def _statement(self) -> str:
        if self._rng.random() < 0.5:
            return super()._statement()
        table, n = f"`{self._schema}`.`{self._rng.choice(self._names)}`", self._rng.randrange(9)
        url = self._rng.choice(("CONCAT(UUID(), '/', UUID())", "CONCAT(LEFT(url, 40), RAND())"))
        return f"UPDATE {table} SET url = {url} WHERE n = {n} LIMIT 3"


class NullableWriters(KeylessWriters):
    """The same, and changes keys that may be NULL; once ``nulls`` is set also to NULL and back."""

    nulls = False

    def _statement(self) -> str:
        if self._rng.random() < 0.5:
            return super()._statement()
        table, n = f"`{self._schema}`.`{self._rng.choice(self._names)}`", self._rng.randrange(9)
        u = self._rng.choice(("UUID_SHORT()", *["NULL"] * self.nulls))
        return f"UPDATE {table} SET u = {u} WHERE n = {n} LIMIT 3"


class PromisedWriters(KeylessWriters):
    """The same, and changes keys, also to ones that are equal in SQL only; with ``twice`` gives one to several rows."""

    twice = False

    def _statement(self) -> str:
        if self._rng.random() < 0.5:
            return super()._statement()
        table, n = f"`{self._schema}`.`{self._rng.choice(self._names)}`", self._rng.randrange(9)
        u = self._rng.choice(("UUID_SHORT()", "IF(HEX(u) = HEX(LOWER(u)), UPPER(u), LOWER(u))", *["7"] * self.twice))
        return f"UPDATE {table} SET u = {u} WHERE n = {n} LIMIT 3"


def rows_of(server: Server, schema: str, name: str, where: str = "TRUE") -> Counter[tuple[Any, ...]]:
    """Every row as the server shows it, and how often."""
    return Counter(server.query(f"SELECT * FROM `{schema}`.`{name}` WHERE {where}"))


def assert_same_rows(source: Server, target: Server, schema: str, name: str, where: str = "TRUE") -> int:
    """Fail unless the target holds exactly the source's rows that ``where`` selects, each as often; gives how many."""
    here, there = rows_of(source, schema, name, where), rows_of(target, schema, name)
    missing, extra = here - there, there - here
    shown = f"missing: {missing.most_common(5)}, extra: {extra.most_common(5)}"
    assert not missing, f"{missing.total()} of {here.total()} rows of {name} are missing; {shown}"
    assert not extra, f"{extra.total()} rows of {name} too many; {shown}"
    return here.total()
