"""The commit time that the stream reports for a transaction, from which the lag is computed."""

from tests.support.servers import Pair
from tests.support.stream import Streaming
from tests.support.tables import describe


def test_no_commit_is_dated_before_it_happened(pair: Pair, schema: str) -> None:
    """MariaDB's events contain whole seconds: dated by the start of the second, a source followed at once would seem to
    lag.
    """
    source = pair.source
    source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    moments = []
    with Streaming(source, [describe(source, schema, "t")]) as stream:
        for number in range(20):
            before = float(source.value("SELECT UNIX_TIMESTAMP(NOW(6))"))
            source.execute(f"INSERT INTO `{schema}`.t VALUES ({number})")
            moments.append((before, float(source.value("SELECT UNIX_TIMESTAMP(NOW(6))"))))
        stream.caught_up()
    dated = [change.committed_at for change in stream.sink.changes]
    assert len(dated) == len(moments)
    for (before, after), committed_at in zip(moments, dated, strict=True):
        assert committed_at is not None
        assert before <= committed_at <= after + 1
