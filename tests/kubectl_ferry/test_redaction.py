"""What a support bundle leaves out."""

import json

import pytest

from ferry_core.verify.difference import readable
from kubectl_ferry.redaction import Redaction

FERRY = {
    "metadata": {
        "name": "orders",
        "namespace": "shop",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "tenant 4711"},
    },
    "spec": {
        "tables": {"include": ["shop.*"], "rules": [{"match": "shop.a", "where": "tenant = 4711 OR vip"}]},
        "throttle": {"query": "SELECT busy FROM gate"},
        "cutover": {"webhooks": {"lock": {"url": "https://user:hunter2@hooks.example/x?key=abc"}}},
        "notifications": [{"url": "https://bell.example/T0K3N/hunter2"}],
        "copier": {"template": {"env": [{"name": "PROXY", "value": "http://u:hunter2@proxy"}]}},
    },
}


@pytest.mark.parametrize(
    "message",
    [
        "2 rows differ: shop.a (id=4711): missing; shop.b (code='4711', n=4711): other values",
        f"shop.a (name={readable('_utf8mb4 0x4F27344243')}, n=1)",
        "1062 Duplicate entry 'O'Brien 4711 (x=3)' for key 'a.PRIMARY'",
        "row 0x34373131 of shop.a, and (n = -4711.5)",
        'near "4711" at line 1',
        "filter tenant = 4711 OR vip of shop.a is refused",
        "DELETE FROM shop.a WHERE id IN (4711, 4712)",
    ],
)
def test_values_of_rows_are_removed_from_messages(message: str) -> None:
    said = Redaction(FERRY).text(message)
    assert "4711" not in said
    assert "Brien" not in said
    assert "34373131" not in said
    assert "O'4B" not in said


@pytest.mark.parametrize(
    "message",
    [
        "the copier's Pod is ending; a new one will be created",
        "lag 7.0 s, over 1 s; 120 keys pending",
        "throttled: rows-per-second 15000 >= 15000",
        "moved 280,485 rows of 42 tables at the source's pace",
        "shop.orders: 3 of 17 chunks, epoch 4",
    ],
)
def test_other_messages_stay(message: str) -> None:
    assert Redaction(FERRY).text(message) == message


def test_a_log_stays_readable() -> None:
    redaction = Redaction(FERRY)
    line = json.dumps({"level": "error", "message": "shop.a (id=4711): missing", "n": 3})
    log = redaction.log(f"{line}\nnot JSON: '4711'\n")
    first, second = log.splitlines()
    assert json.loads(first) == {"level": "error", "message": "shop.a (id=(left out)): missing", "n": 3}
    assert second == "not JSON: '(left out)'"


def test_a_spec_keeps_no_filter_query_password_or_annotation() -> None:
    text = json.dumps(Redaction(FERRY).ferry(FERRY))
    for secret in ("4711", "hunter2", "gate", "key=abc"):
        assert secret not in text
    assert "hooks.example" in text
    assert "bell.example" in text
    assert "T0K3N" not in text
    assert "PROXY" in text
