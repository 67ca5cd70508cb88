"""The proof under the cutover's lock logs in anew: the password may have changed since the stream connected."""

import dataclasses
from collections.abc import Iterator

import pytest

from ferry_core.mysql.endpoint import Endpoint
from tests.support.servers import Pair
from tests.support.stream import Streaming, make
from tests.support.tables import describe

USER = "history_login"


@pytest.fixture
def account(pair: Pair) -> Iterator[str]:
    grants = "REPLICATION SLAVE, REPLICATION CLIENT ON *.*" if pair.family.value == "mysql" else "ALL ON *.*"
    pair.source.execute(f"CREATE USER {USER}@'%' IDENTIFIED BY 'first'", f"GRANT {grants} TO {USER}@'%'")
    yield f"{USER}@'%'"
    pair.source.execute(f"DROP USER {USER}@'%'")


def test_a_password_that_changed_while_streaming(pair: Pair, schema: str, account: str) -> None:
    make(pair.source, schema)
    password = "first"

    def login() -> Endpoint:
        return dataclasses.replace(pair.source.endpoint(), user=USER, password=password)

    with Streaming(pair.source, [describe(pair.source, schema, "t")], login=login) as stream:
        pair.source.execute(f"INSERT INTO `{schema}`.t VALUES (1, '')")
        stream.caught_up()
        password = "second"
        pair.source.execute(f"ALTER USER {account} IDENTIFIED BY 'second'")
        stream.streamer.prove_history()
