"""A shop that takes orders all the time: fills its tables, writes until its database becomes read-only, prints totals.

It runs in a Pod with mysql-ferry's image, of which it uses Python and PyMySQL. Called by ``app.yaml``.
"""

import random
import time
from pathlib import Path

import pymysql

ROWS = 200_000
READ_ONLY = 1290
CONFLICTS = (1062, 1205, 1213)
TABLES = (
    """CREATE TABLE orders (
        id BIGINT AUTO_INCREMENT PRIMARY KEY, customer INT NOT NULL, code CHAR(36) NOT NULL,
        amount DECIMAL(10,2) NOT NULL, weight DOUBLE, note VARCHAR(200), placed DATETIME(6) NOT NULL, details JSON,
        UNIQUE (code), KEY (customer)
    )""",
    "CREATE TABLE stock (item VARCHAR(20) PRIMARY KEY, free INT NOT NULL, shelf INT UNIQUE)",
)
ORDER = (
    "INSERT INTO orders (customer, code, amount, weight, note, placed, details)"
    " VALUES (%s, UUID(), %s, RAND(), 'naïve café 船', NOW(6), JSON_OBJECT('n', %s))"
)


def fill(cursor: "pymysql.cursors.Cursor") -> None:
    """Double the rows until there are enough."""
    for table in TABLES:
        cursor.execute(table)
    cursor.executemany("INSERT INTO stock VALUES (%s, 1000, %s)", [(f"item-{n}", n) for n in range(1000)])
    cursor.executemany(ORDER, [(n, n, n) for n in range(1000)])
    rows = 1000
    while rows < ROWS:
        rows += cursor.execute(
            "INSERT INTO orders (customer, code, amount, weight, note, placed, details)"
            " SELECT customer + 1, UUID(), amount, RAND(), note, placed, details FROM orders LIMIT %s",
            [ROWS - rows],
        )


def order(cursor: "pymysql.cursors.Cursor") -> None:
    """Some typical work of a shop in one transaction."""
    number = random.randrange(ROWS)
    cursor.execute("START TRANSACTION")
    cursor.execute(ORDER, [number, number, number])
    cursor.execute("UPDATE stock SET free = free - 1 WHERE item = %s", [f"item-{number % 1000}"])
    cursor.execute("UPDATE orders SET amount = amount + 1, note = %s WHERE id = %s", [f"changed {number}", number])
    if number % 5 == 0:
        cursor.execute("DELETE FROM orders WHERE id = %s", [random.randrange(ROWS)])
    if number % 7 == 0:  # two items swap places under a UNIQUE index, one changes its key and back
        one, other = (f"item-{each}" for each in random.sample(range(1000), 2))
        cursor.execute("SELECT item, shelf FROM stock WHERE item IN (%s, %s) FOR UPDATE", [one, other])
        shelves = dict(cursor.fetchall())
        for item, shelf in ((one, None), (other, shelves[one]), (one, shelves[other])):
            cursor.execute("UPDATE stock SET shelf = %s WHERE item = %s", [shelf, item])
        cursor.execute("UPDATE stock SET item = 'moving' WHERE item = %s", [one])
        cursor.execute("UPDATE stock SET item = %s WHERE item = 'moving'", [one])
    cursor.execute("COMMIT")


def connect() -> "pymysql.connections.Connection[pymysql.cursors.Cursor]":
    """Connect. For a moment after its Pod has become ready, a Service has no endpoint."""
    end = time.monotonic() + 60
    while True:
        try:
            return pymysql.connect(host="source", user="app", password="app", database="shop", autocommit=True)
        except pymysql.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def main() -> None:
    """Run until the database refuses writes."""
    connection = connect()
    cursor = connection.cursor()
    fill(cursor)
    Path("/tmp/filled").touch()
    written, began = 0, time.monotonic()
    while True:
        try:
            order(cursor)
            written += 1
        except pymysql.MySQLError as error:
            if error.args[0] == READ_ONLY:
                break
            if error.args[0] not in CONFLICTS:
                raise
            cursor.execute("ROLLBACK")
        time.sleep(0.005)
    print(f"{written} transactions in {time.monotonic() - began:.0f} s, until the source refused to write", flush=True)


if __name__ == "__main__":
    main()
