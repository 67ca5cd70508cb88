"""The table that every tool of the bench copies: 12 columns of common types, one secondary index.

The server itself generates the rows from hashes of the row number, so they are the same every time and cost no CPU of a
client. Called once by ``bench/run.py``; afterwards the table is only read.
"""

from ferry_core.mysql.literals import identifier, qualified
from ferry_core.mysql.session import Session

SCHEMA = "ferry_bench"
TABLE = "orders"
BATCH = 50_000

DEFINITION = """CREATE TABLE {table} (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  tenant_id bigint NOT NULL,
  state varchar(32) NOT NULL,
  email varchar(128),
  total decimal(12,2),
  f double,
  note text,
  payload varbinary(64),
  created_at datetime(6) NOT NULL,
  updated_at timestamp(6) NULL,
  qty int,
  flag tinyint(1),
  KEY tenant (tenant_id, id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4"""

# h is a string of 64 hexadecimal digits made from the row number; each column uses a different part of it.
ROWS = """INSERT INTO {table}
SELECT n,
  1 + CONV(SUBSTR(h, 1, 6), 16, 10) % 100,
  ELT(1 + CONV(SUBSTR(h, 7, 2), 16, 10) % 4, 'open', 'paid', 'shipped', 'it''s'),
  CONCAT('u', CONV(SUBSTR(h, 9, 7), 16, 10), '@example.com'),
  CONV(SUBSTR(h, 16, 4), 16, 10) / 65.536,
  CONV(SUBSTR(h, 20, 12), 16, 10) / 281474976710656e0,
  CONCAT('note ', REPEAT('x', 10 + CONV(SUBSTR(h, 32, 4), 16, 10) % 110), '\\n', '''q'),
  UNHEX(h),
  TIMESTAMP('2024-01-01 10:00:00.123456') + INTERVAL CONV(SUBSTR(h, 36, 2), 16, 10) % 28 DAY,
  '2024-02-01 00:00:00',
  1 + CONV(SUBSTR(h, 38, 4), 16, 10) % 100,
  CONV(SUBSTR(h, 42, 1), 16, 10) % 2
FROM (
  SELECT n, SHA2(n, 256) AS h FROM (
    SELECT {start} + 10000 * e.d + 1000 * f.d + 100 * g.d + 10 * i.d + j.d AS n
    FROM {digits} e, {digits} f, {digits} g, {digits} i, {digits} j WHERE e.d < {tens}
  ) numbers
) hashed"""


def table_name(schema: str = SCHEMA) -> str:
    """The quoted name of the bench's table."""
    return qualified(schema, TABLE)


def fill(session: Session, rows: int, schema: str = SCHEMA) -> None:
    """Create the table with ``rows`` rows (a multiple of the batch), unless it already has them."""
    tables = session.number(
        f"SELECT COUNT(*) FROM information_schema.tables WHERE table_schema='{schema}' AND table_name='{TABLE}'"
    )
    if tables and session.number(f"SELECT COUNT(*) FROM {table_name(schema)}") == rows:
        return
    if rows % BATCH:
        raise ValueError(f"rows must be a multiple of {BATCH}")
    digits = qualified(schema, "digits")
    session.execute(f"DROP DATABASE IF EXISTS {identifier(schema)}")
    session.execute(f"CREATE DATABASE {identifier(schema)} CHARACTER SET utf8mb4")
    session.execute(DEFINITION.format(table=table_name(schema)))
    session.execute(f"CREATE TABLE {digits} (d int PRIMARY KEY)")
    session.execute(f"INSERT INTO {digits} VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)")
    for start in range(1, rows + 1, BATCH):
        session.execute(ROWS.format(table=table_name(schema), start=start, digits=digits, tens=BATCH // 10_000))
    session.execute(f"DROP TABLE {digits}")
    session.query(f"ANALYZE TABLE {table_name(schema)}")
