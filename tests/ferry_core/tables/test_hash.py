"""The hash expression distinguishes different rows and equals for equal ones, in every kind of session."""

from ferry_core.tables.codecs import codec
from tests.support.all_types import ddl, rows
from tests.support.servers import Pair
from tests.support.table_pair import TablePair


def test_rows_hash_alike_in_every_session_and_apart_from_others(pair: Pair, both: TablePair, schema: str) -> None:
    pair.source.execute(ddl(pair.family, schema), *rows(pair.family, schema))
    table = both.selected(f"{schema}.*")[0]
    both.copy_all([table])
    for column in table.copied_columns:
        expression = codec(column, both.plain.flavor).hash_expression()
        asked = f"SELECT {expression}, `{column.name}` IS NULL FROM `{schema}`.all_types ORDER BY id"
        found = both.plain.query(asked)
        assert found == both.text.query(asked) == both.control.query(asked) == both.target.query(asked)
        assert all(text is not None for text, _ in found), column.name
        nulls = {text for text, null in found if null == b"1"}
        assert not nulls & {text for text, null in found if null == b"0"}, column.name


def test_neighbouring_fields_are_kept_apart(pair: Pair, both: TablePair, schema: str) -> None:
    values = ("''", "NULL", "','", "'N'", "'1:N'", "'a'", "'a,1:b'", "'0:'", "'b'", "'N,N'")
    pairs = [(one, other) for one in values for other in values]
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, a VARCHAR(20), b VARBINARY(20), c TEXT, d BLOB)",
        f"INSERT INTO `{schema}`.t VALUES "
        + ",".join(f"({at}, {one}, {other}, {other}, {one})" for at, (one, other) in enumerate(pairs)),
    )
    table = both.selected(f"{schema}.t")[0]
    codecs = [codec(column, both.plain.flavor) for column in table.copied_columns[1:]]
    for chosen in (codecs[:2], codecs[2:], codecs[1:3]):
        expression = f"CONCAT_WS(',',{','.join(each.hash_expression() for each in chosen)})"
        texts = [row[0] for row in both.plain.query(f"SELECT {expression} FROM {table.source.sql}")]
        same = len(values) if chosen == codecs[1:3] else len(pairs)  # b and c are equal to each other
        assert len(set(texts)) == same
