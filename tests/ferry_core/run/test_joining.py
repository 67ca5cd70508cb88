"""``schema.onNewTable``: what becomes of the state, and which error a new table is."""

import pytest

from ferry_core.api.spec import Ferry
from ferry_core.checkpoint.state import RunState, TableState
from ferry_core.errors import DataError
from ferry_core.run.joining import join, leave_out, refuse_new, without_joining
from ferry_core.run.new_tables import LOOK_SECONDS, QUIET_SECONDS, Ddl
from ferry_core.tables.table import TableName

NEW, SHADOW = TableName("shop", "fresh"), TableName("shop", "_t_gho")


def ferry(policy: str) -> Ferry:
    end = {"host": "db", "credentialsSecretRef": {"name": "secret"}}
    spec = {
        "source": end,
        "target": end | {"port": 3307},
        "tables": {"include": ["shop.*"]},
        "schema": {"onNewTable": policy},
    }
    head = {"apiVersion": "mysqlferry.io/v1alpha1", "kind": "Ferry", "metadata": {"name": "orders"}}
    return Ferry.model_validate(head | {"spec": spec})


def state() -> RunState:
    known = {"shop.t": TableState(started=True)}
    return RunState(ferry_uid="u", ferry_name="f", source_id="s", selection="{}", tables=known, foreign_keys_added=True)


@pytest.mark.parametrize(("policy", "appeared"), [("Copy", {"shop.fresh"}), ("Fail", set())])
def test_only_a_table_that_is_copied_begins_the_run_again(policy: str, appeared: set[str]) -> None:
    with pytest.raises(DataError, match=r"shop\.fresh") as raised:
        refuse_new(ferry(policy), [NEW, SHADOW], {"shop.t"})
    assert raised.value.appeared == appeared
    assert "_t_gho" not in raised.value.message


@pytest.mark.parametrize(("policy", "found"), [("Ignore", [NEW]), ("Fail", [SHADOW]), ("Copy", [])])
def test_what_ends_no_run(policy: str, found: list[TableName]) -> None:
    refuse_new(ferry(policy), found, {"shop.t"})


def test_what_changes_a_new_table_online_is_not_copied_with_it() -> None:
    news = [TableName("shop", "_fresh_gho"), TableName("shop", "_fresh_20300131235959_del"), NEW]
    kept = state()
    join(kept, news)
    assert set(kept.tables) == {"shop.t", "shop.fresh"}
    refuse_new(ferry("Fail"), news[:1], {"shop.t", "shop.fresh"})


def test_a_new_table_that_has_not_begun_may_be_left_out_again() -> None:
    kept = state()
    join(kept, [NEW, TableName("shop", "begun")])
    kept.tables["shop.begun"].started = True
    kept.created = ["shop.fresh"]
    assert kept.joined == ["shop.begun", "shop.fresh"]
    leave_out(kept)
    assert set(kept.tables) == {"shop.t", "shop.begun"}
    assert (kept.joined, kept.left_behind) == (["shop.begun"], ["shop.fresh"])
    join(kept, [NEW])
    assert (kept.joined, kept.left_behind) == (["shop.begun", "shop.fresh"], [])


def test_the_run_looks_at_new_tables_once_there_is_no_more_ddl() -> None:
    now, statements = [100.0], [0]
    ddl = Ddl(lambda: statements[0], lambda: now[0])

    def after(seconds: float, more: int = 0) -> bool:
        now[0] += seconds
        statements[0] += more
        return ddl.due()

    assert not after(60)
    assert not after(0, 1)
    assert not after(QUIET_SECONDS - 1, 1), "CREATE, and then ALTER"
    assert not after(QUIET_SECONDS - 1)
    assert after(1)
    seen = ddl.looks()
    assert seen == 2
    ddl.looked(seen)
    assert not after(60)
    assert not after(0, 1)
    looks = [after(1, 1) for _ in range(int(LOOK_SECONDS))]
    assert looks == [False] * (len(looks) - 1) + [True], "DDL all the time"
    ddl.looked(ddl.looks())
    assert ddl.unseen, "the newest may not be visible yet"
    assert not after(1)


def test_a_table_that_joins_is_not_started_and_may_be_dropped_before_it_is() -> None:
    kept = state()
    join(kept, [NEW, SHADOW])
    assert set(kept.tables) == {"shop.t", "shop.fresh"}
    assert not kept.tables["shop.fresh"].started
    assert not kept.foreign_keys_added, "those of the new table are to come"
    assert without_joining(kept, ["shop.fresh", "shop.t"]) == ["shop.t"]
    assert set(kept.tables) == {"shop.t"}
    assert not kept.left_behind, "it was not created on the target"
