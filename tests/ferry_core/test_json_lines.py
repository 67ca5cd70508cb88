"""Each line of a JSON log has the name of its kind, which never contains a value."""

import io
import json
import logging

import pytest

from ferry_core.json_lines import JsonLines
from ferry_core.reasons import Condition, Reason
from ferry_core.report.logged_progress import LoggedProgress


def line(record: logging.LogRecord) -> dict[str, object]:
    said: dict[str, object] = json.loads(JsonLines().format(record))
    return said


@pytest.mark.parametrize(
    ("template", "values", "event"),
    [
        ("table %s is copied: %s", ("shop.orders", "7 rows"), "table-is-copied"),
        ("all rows are copied: %d, %.1f s in this run", (7, 1.5), "all-rows-are-copied"),
        ("cutover attempt %d failed; writes were blocked for %d ms", (1, 20), "cutover-attempt-failed"),
        ("%s: deleted %s on the target before its copy", ("a", "1 row"), "deleted-on-the-target-before-its-copy"),
        ("%s", ("shop.secret appeared",), "some-function"),
    ],
)
def test_the_event_is_the_message_without_its_values(template: str, values: tuple[object, ...], event: str) -> None:
    record = logging.LogRecord("ferry_core.run", logging.INFO, "", 0, template, values, None, "_some_function")
    said = line(record)
    assert (said["event"], said["message"]) == (event, template % values)
    assert [*said] == ["time", "level", "logger", "event", "message"]


def test_a_line_of_a_library_has_the_librarys_name() -> None:
    record = logging.LogRecord("kopf.objects", logging.INFO, "", 0, "Handler 'orders' succeeded.", None, None)
    assert line(record)["event"] == "kopf.objects"


def test_a_condition_has_its_parts_as_fields() -> None:
    stream, log = io.StringIO(), logging.getLogger("ferry_core.report.logged_progress")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    log.addHandler(handler)
    before = log.level
    log.setLevel(logging.INFO)
    try:
        LoggedProgress(1).set_condition(Condition.COPY_COMPLETE, True, Reason.ALL_TABLES_COPIED)
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
    said = json.loads(stream.getvalue())
    told = said["event"], said["condition"], said["status"], said["reason"]
    assert told == ("condition", "CopyComplete", "True", "AllTablesCopied")
