"""``schema.onChange: Recopy``: what is validated again, and what is not copied again without a word."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast
from unittest.mock import Mock

import pytest

from ferry_core.checkpoint.state import TableState
from ferry_core.errors import ConfigError, DataError, FerryError
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from ferry_core.run import copy_again
from ferry_core.run.copy_again import changes_named, refuse_only_copies, until_back
from ferry_core.run.setup import RunContext
from ferry_core.tables.table import TableName
from ferry_core.verify.difference import Difference, DifferenceKind, RowsKept
from tests.support.servers import Pair
from tests.support.tables import simple_table

GONE = DataError(Reason.SCHEMA_CHANGED, "t is gone")
FOUND = cast("RunContext", object())


def differs(how: str) -> ConfigError:
    return ConfigError(Reason.DEFINITION_DIFFERS, how)


def outcome(*failures: FerryError) -> RunContext:
    """What comes of validations that fail in these ways, and then succeed."""
    left = list(failures)

    def validate() -> RunContext:
        if left:
            raise left.pop(0)
        return FOUND

    return until_back(validate, lambda _text: None, lambda _seconds: None)


@pytest.mark.parametrize(
    "failures", [[], [GONE, GONE], [differs("2 columns"), differs("3 columns")], [differs("x"), GONE]]
)
def test_what_passes_is_repeated(failures: list[FerryError]) -> None:
    assert outcome(*failures) is FOUND


def test_what_fails_twice_in_the_same_way_ends_the_run() -> None:
    with pytest.raises(ConfigError, match="2 columns"):
        outcome(differs("2 columns"), differs("2 columns"))


def test_other_errors_end_the_run_at_once() -> None:
    with pytest.raises(DataError, match="lost"):
        outcome(DataError(Reason.TARGET_TABLE_LOST, "lost"))


def test_a_table_that_looks_different_each_time_ends_the_run_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_again, "GONE_SECONDS", -1)
    with pytest.raises(ConfigError, match="2 columns"):
        outcome(differs("2 columns"), differs("3 columns"))


def test_no_changed_definition_explains_rows_that_only_the_target_has() -> None:
    run = Mock(recorded=False)
    kept = RowsKept([Difference(simple_table("t"), ("1",), DifferenceKind.EXTRA)], "", ())
    with pytest.raises(RowsKept), changes_named(Mock(copies_again=True), lambda: run):
        raise kept
    assert not run.operations.definitions_read.called


@pytest.mark.parametrize("mark", ["rebuilt", "restarted"])
def test_what_may_be_the_only_copy_is_named_once_before_it_is_dropped(pair: Pair, schema: str, mark: str) -> None:
    names = [TableName(schema, name) for name in ("t", "empty", "gone", "sound")]
    tables = [replace(simple_table(), source=name, target=name) for name in names]
    for name in ("t", "empty", "sound"):
        pair.target.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}`", f"CREATE TABLE `{schema}`.{name} (id INT)")
    pair.target.execute(f"INSERT INTO `{schema}`.t VALUES (1)", f"INSERT INTO `{schema}`.sound VALUES (1)")
    known = {table.id: TableState(started=True) for table in tables}
    for table in tables[:3]:
        setattr(known[table.id], mark, True)
    stored = {name: table.forgotten for name, table in known.items()}
    context = cast("RunContext", SimpleNamespace(tables=tables, state=SimpleNamespace(tables=stored)))
    steps = Mock()
    with Session(pair.target.endpoint("target"), Purpose.CONTROL) as session:
        with pytest.raises(DataError, match=f"only copy of rows in {schema}.t: ") as raised:
            refuse_only_copies(context, session, steps.tell, steps.save)
        assert not raised.value.changed
        refuse_only_copies(context, session, steps.tell, steps.save)
    assert [name for name, *_ in steps.mock_calls] == ["tell", "save"]  # a kill in between repeats it
