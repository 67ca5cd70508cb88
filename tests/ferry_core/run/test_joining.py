"""``schema.onNewTable``: what becomes of the state, and which error a new table is."""

import pytest

from ferry_core.api.spec import Ferry
from ferry_core.checkpoint.state import RunState, TableState
from ferry_core.errors import DataError
from ferry_core.run.joining import join, refuse_new, without_joining
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


def test_a_table_that_joins_is_not_started_and_may_be_dropped_before_it_is() -> None:
    kept = state()
    join(kept, [NEW, SHADOW])
    assert set(kept.tables) == {"shop.t", "shop.fresh"}
    assert not kept.tables["shop.fresh"].started
    assert not kept.foreign_keys_added, "those of the new table are to come"
    assert without_joining(kept, ["shop.fresh", "shop.t"]) == ["shop.t"]
    assert set(kept.tables) == {"shop.t"}
