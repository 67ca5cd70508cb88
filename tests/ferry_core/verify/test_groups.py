import time
from collections.abc import Sequence

import pytest

from ferry_core.api.selection import Tables
from ferry_core.cancellation import Cancellation
from ferry_core.moves.move import TableMove
from ferry_core.mysql.session import Session
from ferry_core.mysql.warned import Warned
from ferry_core.tables.discovery import discover
from ferry_core.verify.groups import TABLES_PER_STATEMENT, Part, doubtful, grouped
from ferry_core.verify.narrow import KEYS_PER_STATEMENT
from ferry_core.verify.sessions import ReadSessions
from ferry_core.verify.verifier import Verifier
from tests.support.table_pair import TablePair
from tests.support.tables import decode, moves_of, simple_table

TABLES = 40
WARNING = Warned("Warning", 1301, "Result of concat_ws() was larger than max_allowed_packet - truncated")


def counted(both: TablePair, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Filled with the queries about tables of the schema that any session sends from now on."""
    statements: list[str] = []
    query = Session.query

    def counting(session: Session, statement: str | bytes) -> list[tuple[bytes | None, ...]]:
        if both.schema in str(statement):
            statements.append(str(statement))
        return query(session, statement)

    monkeypatch.setattr(Session, "query", counting)
    return statements


@pytest.fixture
def moves(both: TablePair) -> Sequence[TableMove]:
    """Tables of which rows 1 and 2 are unproven, copied and equal. The last ones have a row filter."""
    statements = []
    for name in (f"t{number:02}" for number in range(TABLES)):
        statements += [
            f"CREATE TABLE {name} (id int PRIMARY KEY, v varchar(20), w varchar(9) AS (UPPER(v)) STORED)",
            f"INSERT INTO {name} (id, v) VALUES (1, '{name}'), (2, 'two')",
        ]
    both.on_both(*statements)
    rules = [{"match": f"{both.schema}.t3[5-9]", "where": "v <> 'never' -- a comment"}]
    return moves_of(discover(both.control, Tables.model_validate({"include": [f"{both.schema}.*"], "rules": rules})))


def changed(both: TablePair, moves: Sequence[TableMove]) -> Verifier:
    verifier = Verifier(moves, both.connect_source, both.connect_target, workers=3)
    for move in moves:
        verifier.unproven.begin(move)
        verifier.changed(move, [b"1", b"2"], decode)
    return verifier


def test_many_tables_take_few_statements(
    both: TablePair, moves: Sequence[TableMove], monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier, statements = changed(both, moves), counted(both, monkeypatch)
    assert verifier.prove_all(time.monotonic() + 300, lambda: None) == []
    assert verifier.unproven.size() == 0
    assert 2 <= len(statements) <= 2 * 3


def test_what_differs_is_found_and_the_rest_is_proven(both: TablePair, moves: Sequence[TableMove]) -> None:
    verifier = changed(both, moves)
    both.on_target("UPDATE t05 SET v = 'other' WHERE id = 2", "DELETE FROM t06 WHERE id = 1", "DELETE FROM t39")
    both.on_source("DELETE FROM t07 WHERE id = 1", "UPDATE t38 SET v = 'never' WHERE id = 2")
    found = verifier.prove_all(time.monotonic() + 300, lambda: None)
    assert sorted(f"{one.kind} {one.table.source.name} {one.key[0]}" for one in found) == [
        "changed t05 2",
        "extra t07 1",
        "extra t38 2",
        "missing t06 1",
        "missing t39 1",
        "missing t39 2",
    ]
    unproven = {move.table.source.name for move in moves if verifier.unproven.size(move)}
    assert unproven == {"t05", "t06", "t07", "t38", "t39"}


def test_the_background_proof_takes_few_statements_too(
    both: TablePair, moves: Sequence[TableMove], monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier, statements = changed(both, moves), counted(both, monkeypatch)
    both.on_target("UPDATE t05 SET v = 'other' WHERE id = 2")
    proof = verifier.prove_some(lambda move, key: move is moves[9] and key == b"1")
    assert (proof.looked_at, proof.proven, proof.pending) == (2 * TABLES, 2 * TABLES - 2, 1)
    assert [one.table.source.name for one in proof.differing] == ["t05"]
    assert verifier.unproven.size() == 2
    assert len(statements) < TABLES  # one for each table on each server would be twice as many


def test_a_warning_leaves_the_whole_group_to_the_comparison_row_by_row(
    both: TablePair, moves: Sequence[TableMove], monkeypatch: pytest.MonkeyPatch
) -> None:
    group = [Part(move.table, [("1",)]) for move in moves[:3]]
    with ReadSessions(both.connect_source, both.connect_target) as sessions:
        assert doubtful(group, sessions, Cancellation(), 60) == []
        monkeypatch.setattr(Session, "warnings", lambda session: [WARNING] if session is sessions.target else [])
        assert doubtful(group, sessions, Cancellation(), 60) == group


def test_a_group_shares_a_statement_that_stays_small() -> None:
    def sizes(*parts: Part) -> list[int]:
        return [len(group) for group in grouped(parts)]

    small = [Part(simple_table(), [("1",)])] * 40
    assert sizes(*small) == [TABLES_PER_STATEMENT, 40 - TABLES_PER_STATEMENT]
    large = Part(simple_table(), [("1",)] * (KEYS_PER_STATEMENT // 2))
    assert sizes(large, large, large) == [2, 1]
    assert sizes() == []
