"""Row filters with text beyond ASCII: rows start and stop matching while the run goes on; the target holds the matching
ones.
"""

import random
from pathlib import Path

from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import FerryProcess
from tests.support.schemas import text
from tests.support.servers import Pair, Server
from tests.support.writers import seed_of_run

CITIES = ("Zürich", "ZÜRICH", "Zurich", "Zu\u0308rich", "Genève", "北京", "北京'", "\\北京", "🚢", "")
FILTERS = {
    # Table: character set and collation of the column, and the filter.
    "utf8mb4_ci": ("utf8mb4 COLLATE utf8mb4_general_ci", "stadt = 'Zürich' AND n >= 0"),
    "utf8mb4_bin": ("utf8mb4 COLLATE utf8mb4_bin", "stadt IN ('Zürich', '北京''', '🚢') -- a comment: it's odd"),
    "latin1": ("latin1", "stadt = 'Zürich' AND n <> 3 OR stadt LIKE 'Gen%è%'"),
    "gbk": ("gbk", "stadt LIKE '北京%' /* 北 */ OR `n` = 5"),
    "utf16": ("utf16", "CONCAT(stadt, 'ü') > 'Zürich'"),
}
ROWS = 3000


def create(server: Server, schema: str, rng: random.Random) -> None:
    server.execute("SET SESSION sql_mode = ''")
    for name, (charset, _) in FILTERS.items():
        rows = ", ".join(f"({number}, {city(rng, name)}, {rng.randrange(-9, 9)})" for number in range(ROWS))
        server.execute(
            f"CREATE TABLE `{schema}`.{name} (id INT PRIMARY KEY, stadt VARCHAR(40) CHARACTER SET {charset}, n INT)",
            f"INSERT IGNORE INTO `{schema}`.{name} VALUES {rows}",
        )
    # The filter is on the key itself, and keys change.
    server.execute(
        f"CREATE TABLE `{schema}`.by_key (stadt VARCHAR(40) CHARACTER SET gbk NOT NULL, n INT NOT NULL, v INT UNIQUE, "
        "PRIMARY KEY (stadt, n))",
        *(
            f"INSERT INTO `{schema}`.by_key VALUES (_utf8mb4'{'北京' if number % 2 else '南京'}', {number}, {number})"
            for number in range(300)
        ),
    )


def city(rng: random.Random, table: str) -> str:
    """A text that the column's character set can hold."""
    charset = "utf-8" if table.startswith("utf") else table
    return text(rng.choice([one for one in CITIES if one.encode(charset, "ignore").decode(charset) == one]))


def move(server: Server, schema: str, rng: random.Random, times: int) -> int:
    """Rows start and stop matching filters, are inserted and deleted, and change their keys."""
    done = 0
    for _ in range(times):
        name, low = rng.choice(list(FILTERS)), rng.randrange(ROWS)
        some = f"WHERE id BETWEEN {low} AND {low + rng.randrange(60)}"
        table = f"`{schema}`.{name}"
        statement = rng.choice(
            (
                f"UPDATE {table} SET stadt = {city(rng, name)} {some}",
                f"UPDATE {table} SET n = -n - 1 {some}",
                f"UPDATE {table} SET stadt = NULL {some}",
                f"DELETE FROM {table} WHERE id = {low}",
                f"REPLACE INTO {table} VALUES ({low}, {city(rng, name)}, {rng.randrange(9)})",
                f"UPDATE {table} SET id = id + {ROWS * 2 + rng.randrange(10**8)} WHERE id = {low}",
            )
        )
        other = rng.randrange(300)
        there, here = rng.sample(("北京", "南京"), 2)
        server.execute(
            statement,
            f"UPDATE IGNORE `{schema}`.by_key SET stadt = {text(there)} WHERE stadt = {text(here)} AND n = {other}",
        )
        done += 2
    return done


def test_rows_move_in_and_out_of_filters(pair: Pair, schema: str, tmp_path: Path) -> None:
    rng = random.Random(seed_of_run())
    create(pair.source, schema, rng)
    filters = {name: where for name, (_, where) in FILTERS.items()} | {"by_key": "stadt = '北京'"}
    tables = {
        "include": [f"{schema}.*"],
        "rules": [{"match": f"{schema}.{name}", "where": where} for name, where in filters.items()],
    }
    throttle = {"maxRowsPerSecond": 300}
    with FerryProcess(tmp_path / "ferry", pair, tables=tables, throttle=throttle) as ferry:
        ferry.start().wait_status(lambda status: status["progress"]["rowsCopied"] > 500)
        written = move(pair.source, schema, rng, 60)
        ferry.wait_stage("Copying")  # otherwise the copy would be over before the rows change
        ferry.post("throttle", {"maxRowsPerSecond": None})
        ferry.wait_stage("Streaming", "ReadyForCutover")
        written += move(pair.source, schema, rng, 120)
        ferry.cut_over()
    inside = 0
    for name, where in filters.items():
        found = assert_equal_tables(pair.source, pair.target, f"{schema}.{name}", where=f"{where}\n")
        total = pair.source.value(f"SELECT COUNT(*) FROM `{schema}`.{name}")
        assert 0 < found.rows < total, name
        inside += found.rows
    print(f"{inside} rows inside {len(filters)} filters, {written} statements moved rows in and out")
