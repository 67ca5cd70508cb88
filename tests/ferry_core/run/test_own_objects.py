"""What a checkpoint remembers of views, routines and events, and when it forgets them."""

from ferry_core.checkpoint.state import ObjectsState, RunState
from ferry_core.run.own_objects import forget_gone, recognised, restored_late, stored_late
from ferry_core.schema.fingerprints import fingerprint
from ferry_core.schema.objects import Definition, Kind, Listed
from ferry_core.tables.table import TableName


def view(name: str, text: str = "SELECT 1", definer: str = "`app`@`%`") -> Definition:
    statement = f"CREATE DEFINER={definer} VIEW `{name}` AS {text}".encode()
    return Definition(Kind.VIEW, "shop", name, statement, "", "utf8mb4", "utf8mb4_bin", "", "")


def test_a_fingerprint_tells_text_and_definer_apart() -> None:
    mine = fingerprint(view("v"))
    assert recognised(view("v"), [mine])
    assert not recognised(view("v", "SELECT 2"), [mine])
    assert not recognised(view("v", definer="`person`@`%`"), [mine])
    assert recognised(view("v", definer='"app"@"%"'), [mine])


def test_only_what_is_provably_ours_is_dropped_when_the_source_drops_it() -> None:
    kept = ObjectsState(
        ours={f"VIEW shop.{name}": [fingerprint(view(name))] for name in ("gone", "changed", "missing", "wanted")},
        planned={"VIEW shop.planned": [fingerprint(view("planned"))]},
    )
    kept.ours["EVENT shop.e"] = ["created by an earlier run; events are not wanted any more"]
    there = {f"VIEW shop.{name}": view(name) for name in ("gone", "planned", "wanted")}
    there["VIEW shop.changed"] = view("changed", "SELECT 5")
    assert forget_gone(kept, there, {"VIEW shop.wanted"}, {Kind.VIEW}) == ["VIEW shop.gone"]
    assert set(kept.ours) == {"VIEW shop.gone", "VIEW shop.wanted", "EVENT shop.e"}
    assert not kept.planned


def test_definitions_in_any_character_set_survive_the_checkpoint() -> None:
    one = Listed(Kind.TRIGGER, TableName("shop", "t"), "orders", 2, b"")
    text = b"CREATE TRIGGER `t` SET NEW.v = '" + bytes(range(256)) + b"'"
    trigger = Definition(Kind.TRIGGER, "shop", "t", text, "ANSI_QUOTES", "latin1", "latin1_bin", "utf8mb4_bin", "")
    state = RunState(ferry_uid="u", ferry_name="n", source_id="s", selection="")
    state.objects.late = stored_late({one: trigger})
    read = RunState.model_validate_json(state.model_dump_json())
    assert read.objects.late is not None
    assert restored_late(read.objects.late) == {one: trigger}
