"""Row images of real servers: every column type is skipped correctly in FULL, MINIMAL and NOBLOB images, with and
without NULLs.
"""

import pytest

from ferry_core.errors import DataError
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support import all_types
from tests.support.servers import Server
from tests.support.stream import Streaming
from tests.support.tables import describe

IMAGES = ["FULL", "MINIMAL", "NOBLOB"]


@pytest.fixture(params=[family.value for family in Family], scope="module")
def server(request: pytest.FixtureRequest, make_module_server: ServerFactory) -> Server:
    """A server that rotates its binlog after every few events."""
    started = make_module_server(request.param, max_binlog_size=4096)
    started.execute("CREATE DATABASE images CHARACTER SET utf8mb4")
    return started


@pytest.fixture(params=IMAGES)
def image(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def in_image(image: str) -> str:
    return f"SET SESSION binlog_row_image = '{image}'"


def test_every_column_type_can_be_skipped(server: Server, image: str) -> None:
    name = f"all_{image.lower()}"
    server.execute(all_types.SESSION, all_types.ddl(server.family, "images", name))
    table = describe(server, "images", name)
    count = all_types.row_count(server.family)
    ids = [(str(number - 3),) for number in range(count)]
    with Streaming(server, [table]) as stream:
        server.execute(in_image(image), *all_types.rows(server.family, "images", name))
        server.execute(in_image(image), *all_types.updates(server.family, "images", name))
        server.execute(in_image(image), f"UPDATE images.{name} SET id = id + 1000, c_int = NULL WHERE id > 0")
        server.execute(in_image(image), f"DELETE FROM images.{name}")
        stream.caught_up()
    moved = [one for one in ids if int(one[0]) > 0]
    both = [key for (one,) in moved for key in ((one,), (str(int(one) + 1000),))]
    kept = ids[: count - len(moved)]
    gone = sorted(int(key[0]) for key in stream.sink.keys[-count:])
    assert stream.sink.keys[: 2 * count - 1] == ids + ids[1:]
    assert stream.sink.keys[2 * count - 1 : -count] == both
    assert gone == sorted([int(one) for (one,) in kept] + [int(one) + 1000 for (one,) in moved])
    assert stream.streamer.status().events["rotate"] > 5


def test_partial_json_updates(server: Server, image: str) -> None:
    """Nine JSON columns, so that their bits take two bytes; NULLs, keys that change, and rows without a partial one."""
    if server.family is not Family.MYSQL:
        pytest.skip("MariaDB has no type JSON")
    name = f"json_{image.lower()}"
    documents = ", ".join(f"j{at} JSON" for at in range(9))
    text = "x" * 300
    server.execute(
        f"CREATE TABLE images.{name} (j JSON, v TEXT, id INT PRIMARY KEY, {documents})",
        f"INSERT INTO images.{name} (id, j, j0, j8) VALUES "
        f"""(1, '{{"a": "{text}", "b": 2}}', NULL, '[1, 2, "{text}"]'), (2, NULL, '[]', '{{}}'),"""
        f"""(3, '{{"a": "{text}"}}', '{{"k": [1, "{text}"]}}', NULL)""",
    )
    table = describe(server, "images", name)
    with Streaming(server, [table]) as stream:
        server.execute(
            in_image(image),
            "SET SESSION binlog_row_value_options = 'PARTIAL_JSON'",
            f"UPDATE images.{name} SET j = JSON_SET(j, '$.b', 3), j8 = JSON_REPLACE(j8, '$[0]', 9) ORDER BY id",
            f"UPDATE images.{name} SET id = id + 10, j0 = JSON_REMOVE(j0, '$.k[0]'), v = 'v' WHERE id = 3",
            f"UPDATE images.{name} SET v = REPEAT('w', 400) WHERE id = 1",
            f"UPDATE images.{name} SET j = '1', j8 = NULL WHERE id = 1",
        )
        stream.caught_up()
    assert stream.streamer.status().events["partial_update_rows"]
    assert [int(key[0]) for key in stream.sink.keys] in ([1, 2, 3, 3, 13, 1, 1], [1, 3, 3, 13, 1, 1])


def test_a_minimal_update_overlays_the_parts_of_a_key(server: Server, image: str) -> None:
    name = f"parts_{image.lower()}"
    server.execute(
        f"CREATE TABLE images.{name} (a INT NOT NULL, x TEXT, b VARCHAR(10) NOT NULL, c DATE NOT NULL, "
        "PRIMARY KEY (c, a, b))"
    )
    table = describe(server, "images", name)
    with Streaming(server, [table]) as stream:
        server.execute(
            in_image(image),
            f"INSERT INTO images.{name} VALUES (1, 'x', 'one', '2026-01-01'), (2, NULL, 'two', '2026-01-02')",
            f"UPDATE images.{name} SET b = 'uno' WHERE a = 1",
            f"UPDATE images.{name} SET c = '2027-01-01', x = 'y'",
            f"UPDATE images.{name} SET x = 'z' WHERE a = 2",
        )
        stream.caught_up()
    one, uno, two = "_utf8mb4 0x6f6e65", "_utf8mb4 0x756e6f", "_utf8mb4 0x74776f"
    assert stream.sink.keys == [
        ("'2026-01-01'", "1", one),
        ("'2026-01-02'", "2", two),
        ("'2026-01-01'", "1", one),
        ("'2026-01-01'", "1", uno),
        ("'2026-01-01'", "1", uno),
        ("'2027-01-01'", "1", uno),
        ("'2026-01-02'", "2", two),
        ("'2027-01-01'", "2", two),
        ("'2027-01-01'", "2", two),
    ]


def test_generated_hidden_and_functional_columns_do_not_shift_the_key(server: Server, image: str) -> None:
    name = f"odd_{image.lower()}"
    functional = ", INDEX f ((UPPER(s)))" if server.family is Family.MYSQL else ", UNIQUE (long_text)"
    server.execute(
        f"CREATE TABLE images.{name} (v INT AS (n + 1) VIRTUAL, s VARCHAR(20), w INT AS (n * 2) STORED, n INT, "
        f"hidden INT INVISIBLE DEFAULT 7, long_text TEXT, id INT NOT NULL, UNIQUE KEY by_id (id), "
        f"INDEX (v){functional})"
    )
    table = describe(server, "images", name, "by_id")
    with Streaming(server, [table]) as stream:
        server.execute(
            in_image(image),
            f"INSERT INTO images.{name} (s, n, long_text, id) VALUES ('a', 1, 'l', 41), (NULL, NULL, NULL, 42)",
            f"UPDATE images.{name} SET n = 5 WHERE id = 41",
            f"UPDATE images.{name} SET id = 43 WHERE id = 42",
            f"DELETE FROM images.{name} WHERE id = 41",
        )
        stream.caught_up()
    assert [int(key[0]) for key in stream.sink.keys] == [41, 42, 41, 42, 43, 41]


def test_wide_tables_have_wide_bitmaps(server: Server, image: str) -> None:
    """With 300 columns the column count itself takes three bytes."""
    name = f"wide_{image.lower()}"
    columns = ", ".join(f"c{n} {'INT' if n % 3 else 'VARCHAR(9)'}" for n in range(300))
    server.execute(f"CREATE TABLE images.{name} ({columns}, id INT PRIMARY KEY) ROW_FORMAT=DYNAMIC")
    table = describe(server, "images", name)
    with Streaming(server, [table]) as stream:
        server.execute(
            in_image(image),
            f"INSERT INTO images.{name} (id, c0, c299) VALUES (1, 'x', 2), (2, NULL, 5)",
            f"UPDATE images.{name} SET id = id + 10, c3 = 'long' ORDER BY id",
        )
        stream.caught_up()
    assert [int(key[0]) for key in stream.sink.keys] == [1, 2, 1, 11, 2, 12]


def test_an_insert_with_a_default_key(server: Server, image: str) -> None:
    """In a MINIMAL image the key may be missing: then the run stops, because it cannot guess."""
    name = f"defaults_{image.lower()}"
    server.execute(f"CREATE TABLE images.{name} (id INT NOT NULL DEFAULT 5 PRIMARY KEY, n INT)")
    table = describe(server, "images", name)
    with Streaming(server, [table]) as stream:
        server.execute(in_image(image), f"INSERT INTO images.{name} (n) VALUES (1)")
        if image != "MINIMAL":
            stream.caught_up()
            assert stream.sink.keys == [("5",)]
            return
        failure = stream.failed()
    assert isinstance(failure, DataError)
    assert failure.reason == "RowImageIncomplete"
