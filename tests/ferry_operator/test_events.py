"""What fits into an Event."""

from ferry_operator.events import _fitting


def test_a_long_note_keeps_its_end_where_the_fix_is() -> None:
    note = _fitting("ä" * 2000 + " fix: add the grant")
    assert len(note.encode()) <= 1024
    assert note.startswith("ää")
    assert "(whole in the status)" in note
    assert note.endswith("fix: add the grant")
    assert _fitting("short") == "short"
