"""The ControlServer's answers over real HTTP: status, verbs, directives, polls, metrics, its OpenAPI document."""

import concurrent.futures
import io
import json
import threading
import time
from typing import Any

import pytest

from ferry_core.api.directive import Directive
from ferry_core.api.report import Report, TableReport
from ferry_core.api.safety_override import SafetyOverride
from ferry_core.control.managed import Managed
from ferry_core.control.server import ControlServer
from ferry_core.errors import ConfigError, DataError
from ferry_core.reasons import Reason
from ferry_core.report.heartbeat import ALIVE_SECONDS
from tests.support.control import Run, ask, refused, serving


def test_status_and_tables_are_the_contracts_models(server: ControlServer, run: Run) -> None:
    status, body = ask(server, "GET", "/api/v1/status")
    assert status == 200
    assert Report.model_validate_json(json.dumps(body)) == run.progress.report()
    assert body["progress"]["tablesTotal"] == 1
    status, body = ask(server, "GET", "/api/v1/tables")
    assert [TableReport.model_validate(table) for table in body["tables"]] == run.progress.tables()


@pytest.mark.parametrize("verb", ["pause", "resume", "cutover", "withdraw", "abort", "stop"])
@pytest.mark.parametrize("body", [None, "", "{}", " "])
def test_verbs(server: ControlServer, run: Run, verb: str, body: str | None) -> None:
    status, answer = ask(server, "POST", f"/api/v1/{verb}", data=body)
    assert (status, run.asked) == (200, [verb])
    assert answer["message"]
    assert all(name.startswith("control-verb") for name in run.threads), "it ran in the loop"


def test_throttle(server: ControlServer, run: Run) -> None:
    assert ask(server, "POST", "/api/v1/throttle", json={"maxRowsPerSecond": 5})[0] == 200
    assert ask(server, "POST", "/api/v1/throttle", json={"maxRowsPerSecond": None})[0] == 200
    assert run.asked == [("throttle", 5), ("throttle", None)]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("throttle", "{", "no JSON"),
        ("throttle", "\xff", "no JSON"),
        ("throttle", "[]", ""),
        ("throttle", "{}", "maxRowsPerSecond"),
        ("throttle", '{"maxRowsPerSecond": 0}', "maxRowsPerSecond"),
        ("throttle", '{"maxRowsPerSecond": "5"}', "maxRowsPerSecond"),
        ("throttle", '{"maxRowsPerSecond": 5, "x": 1}', "x"),
        ("pause", '{"now": true}', "now"),
        ("pause", "nope", "no JSON"),
    ],
)
def test_bad_bodies_get_one_clear_message(server: ControlServer, run: Run, path: str, body: str, said: str) -> None:
    status, answer = ask(server, "POST", f"/api/v1/{path}", data=body.encode("latin-1"))
    assert status == 400
    assert said in answer["message"]
    assert run.asked == []


def test_a_directive_is_applied_as_a_whole(server: ControlServer, run: Run) -> None:
    body = {
        "generation": 7,
        "paused": True,
        "throttle": {"maxRowsPerSecond": 9},
        "copy": {"workers": 2, "chunkTargetDuration": "1s"},
        "cutover": {"approved": True},
    }
    for _ in range(2):
        assert ask(server, "PUT", "/api/v1/directive", json=body) == (200, {"acknowledgedGeneration": 7})
    directive = run.asked[-1]
    assert isinstance(directive, Directive)
    assert directive.paused
    assert directive.copy_.workers == 2
    assert ask(server, "GET", "/api/v1/status")[1]["copier"]["acknowledgedGeneration"] == 7


@pytest.mark.parametrize(
    ("body", "status", "reason", "said"),
    [
        ("", 400, "InvalidField", "JSON"),
        ("{", 400, "InvalidField", "JSON"),
        ("{}", 400, "InvalidField", "generation"),
        ('{"generation": "7"}', 400, "InvalidField", "generation"),
        ('[{"generation": 7, "paused": true}]', 400, "InvalidField", "object"),
    ],
)
def test_an_invalid_directive_changes_nothing(
    server: ControlServer, run: Run, body: str, status: int, reason: str, said: str
) -> None:
    assert said in refused(ask(server, "PUT", "/api/v1/directive", data=body), status, reason)
    assert run.asked == []


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "unknown zone": ({"throttle": {"activeHours": "20:00-06:00 Nowhere"}}, 400, "InvalidField"),  # no schema sees it
    "invalid": ({"copy": {"workers": 0}}, 400, "InvalidField"),
    "unknown": ({"newer": 1}, 400, "InvalidField"),
    "needs restart": ({}, 422, "NeedsRestart"),
    "no space": ({}, 500, "InternalError"),
}


@pytest.mark.parametrize("by", REFUSED)
@pytest.mark.parametrize(
    ("brakes", "held"),
    [
        ({"paused": True}, (True, True, False)),
        ({"cutover": {"approved": True}}, (False, False, False)),
        ({"cutover": {"mode": "Automatic"}}, (False, False, False)),
        ({"cutover": {"approved": True, "notAfter": "soon"}}, (False, True, False)),
        ({"cutover": {"mode": "Scheduled"}}, (False, True, False)),
        ({"cutover": {"approved": True, "maxAttempts": 0}}, (False, True, False)),
        ({"cutover": {"approved": True}, "paused": True, "aborted": True}, (True, False, True)),
    ],
)
def test_a_refused_directive_only_pauses_withdraws_or_aborts(
    server: ControlServer, run: Run, by: str, brakes: dict[str, Any], held: tuple[bool, bool, bool]
) -> None:
    """An unsupported field must not keep a pause or a withdrawn approval from taking effect."""
    fields, status, reason = REFUSED[by]
    if by == "needs restart":
        run.refuse_directives_with = ConfigError(Reason.NEEDS_RESTART, "stop it")
        held = (held[0], True, held[2])
    if by == "no space":
        run.refuse_with = OSError("No space left on device")
    answer = ask(server, "PUT", "/api/v1/directive", json={"generation": 7, **fields, **brakes})
    assert answer[0] >= 400
    if "cutover" not in brakes:  # otherwise either error may be named
        refused(answer, status, reason)
    paused, withdrawn, aborted = held
    assert run.asked == [SafetyOverride(7, paused, withdrawn, aborted)]
    assert ask(server, "GET", "/api/v1/status")[1]["copier"]["acknowledgedGeneration"] != 7


def test_a_refusal_by_the_run_is_answered_with_its_reason(server: ControlServer, run: Run) -> None:
    run.refuse_with = DataError(Reason.ALREADY_CUT_OVER, "it is done")
    assert refused(ask(server, "POST", "/api/v1/abort"), 409, "AlreadyCutOver") == "it is done"
    run.refuse_with = RuntimeError("secret detail")
    assert "secret" not in refused(ask(server, "POST", "/api/v1/abort"), 500, "InternalError")
    run.refuse_with = None
    assert ask(server, "POST", "/api/v1/abort")[0] == 200


@pytest.mark.parametrize("managed", [None, Managed("shop", "orders")])
def test_a_pass_is_asked_for(run: Run, managed: Managed | None) -> None:
    """Under an operator too: no directive undoes a pass."""
    with serving(run, managed=managed) as server:
        code, told = ask(server, "POST", "/api/v1/verify")
        assert (code, told["request"]) == (200, 7)
        code, told = ask(server, "POST", "/api/v1/verify", json={"tables": ["shop.a", "shop.b"]})
        assert (code, told["message"][:12]) == (200, "2 tables are")
        refused(ask(server, "POST", "/api/v1/verify", json={"tables": [7]}), 400, "InvalidField")
    assert run.asked == [("verify",), ("verify", "shop.a", "shop.b")]


def test_wrong_paths_and_methods(server: ControlServer) -> None:
    refused(ask(server, "GET", "/api/v1/nothing"), 404, "NotFound")
    assert "POST" in refused(ask(server, "GET", "/api/v1/pause"), 405, "MethodNotAllowed")
    refused(ask(server, "PUT", "/api/v1/directive", data=io.BytesIO(b"x" * (2 << 20))), 413, "BodyTooLarge")


@pytest.mark.parametrize(
    "query", ["wait=soon&since=1", "wait=1s&since=-1", "wait=1s&since=x", "wait=&since=1", "only=x"]
)
def test_bad_polls(server: ControlServer, query: str) -> None:
    refused(ask(server, "GET", f"/api/v1/status?{query}"), 400, "BadRequest")


def test_a_poll_answers_at_once_after_a_change(server: ControlServer, run: Run) -> None:
    known = run.progress.report().revision
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = [pool.submit(ask, server, "GET", f"/api/v1/status?wait=60s&since={known}") for _ in range(20)]
        assert not concurrent.futures.wait(waiting, 0.5).done
        started = time.monotonic()
        run.progress.set_message("news")
        answers = [future.result(50) for future in waiting]
    assert time.monotonic() - started < 50
    assert {body["message"] for _, body in answers} == {"news"}
    assert all(body["revision"] > known for _, body in answers)


def test_a_poll_ends_after_its_wait(server: ControlServer, run: Run) -> None:
    known = run.progress.report().revision
    started = time.monotonic()
    status, body = ask(server, "GET", f"/api/v1/status?wait=300ms&since={known}")
    assert 0.3 <= time.monotonic() - started < 30
    assert (status, body["revision"]) == (200, known)
    status, body = ask(server, "GET", f"/api/v1/status?wait=1s&since={known - 1}&only=news")
    assert (status, body["revision"]) == (200, known)


def test_polls_and_a_slow_verb_do_not_block_other_requests(server: ControlServer, run: Run) -> None:
    known = run.progress.report().revision
    run.block = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        polls = [pool.submit(ask, server, "GET", f"/api/v1/status?wait=60s&since={known}") for _ in range(30)]
        slow = pool.submit(ask, server, "POST", "/api/v1/pause")
        assert not concurrent.futures.wait([slow], 0.3).done
        assert ask(server, "GET", "/api/v1/tables")[0] == 200
        assert ask(server, "GET", "/healthz")[0] == 200
        assert not slow.done()
        run.block.set()
        assert slow.result(60)[0] == 200
        run.progress.set_message("end")
        for poll in polls:
            poll.result(60)


def test_metrics_and_probes(server: ControlServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    status, text = ask(server, "GET", "/metrics")
    assert status == 200
    assert 'ferry_copy_rows_estimated{table="shop.<b>orders</b>"} 100.0' in text
    assert ask(server, "GET", "/healthz") == (200, {"status": "ok"})
    assert ask(server, "GET", "/readyz") == (200, {"status": "ok"})
    monkeypatch.setattr(run.progress.heartbeat, "_last", run.progress._now() - 2 * ALIVE_SECONDS)
    refused(ask(server, "GET", "/healthz"), 503, "Hanging")
    run.progress.failed(DataError(Reason.ROWS_DIFFER, "y"))
    refused(ask(server, "GET", "/readyz"), 503, "NotReady")


# Under an operator


@pytest.mark.parametrize(
    ("verb", "body", "patch"),
    [
        ("pause", None, {"paused": True}),
        ("resume", None, {"paused": False}),
        ("throttle", {"maxRowsPerSecond": 5}, {"throttle": {"maxRowsPerSecond": 5}}),
        ("throttle", {"maxRowsPerSecond": None}, {"throttle": {"maxRowsPerSecond": None}}),
        ("cutover", None, {"cutover": {"approved": True}}),
        ("withdraw", None, {"cutover": {"approved": False}}),
        ("abort", None, {"aborted": True}),
        ("stop", None, {"paused": True}),
    ],
)
def test_under_an_operator_verbs_name_the_patch(run: Run, verb: str, body: object, patch: object) -> None:
    with serving(run, managed=Managed("shop", "orders")) as server:
        said = refused(ask(server, "POST", f"/api/v1/{verb}", json=body or {}), 409, "ManagedByOperator")
        assert "kubectl patch ferry orders -n shop --type merge -p '" in said
        assert json.loads(said.split(" -p ")[1].strip("'")) == {"spec": patch}
        assert ask(server, "PUT", "/api/v1/directive", json={"generation": 2})[0] == 200
    assert [type(one) for one in run.asked] == [Directive]


@pytest.mark.parametrize("mode", ["Automatic", "Scheduled"])
def test_withdrawing_a_cutover_that_needs_no_approval(run: Run, mode: str) -> None:
    cutover = {"mode": mode, "notBefore": "2030-01-01T00:00:00Z"}
    run.wanted = Directive.model_validate({"generation": 1, "cutover": cutover})
    with serving(run, managed=Managed("shop", "orders")) as server:
        said = refused(ask(server, "POST", "/api/v1/withdraw"), 409, "ManagedByOperator")
        assert json.loads(said.split(" -p ")[1].strip("'")) == {"spec": {"cutover": {"mode": "Manual"}}}
    with serving(run) as server:
        status, answer = ask(server, "POST", "/api/v1/withdraw")
        assert (status, run.asked) == (200, ["withdraw"])
        assert "set cutover.mode to Manual in the manifest too" in answer["message"]


# The description


def test_the_openapi_document_covers_every_route(server: ControlServer) -> None:
    status, document = ask(server, "GET", "/openapi.json")
    assert status == 200
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    for method, path in described - {("GET", "/api/v1/events")}:  # which does not end
        assert ask(server, method, path)[0] not in (404, 405), (method, path)


def test_the_openapi_documents_references_resolve(server: ControlServer) -> None:
    document = ask(server, "GET", "/openapi.json")[1]
    names: set[str] = set()

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                names.add(node["$ref"].removeprefix("#/components/schemas/"))
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)
    assert names <= set(document["components"]["schemas"])
    assert {"Report", "TableReport", "Directive", "NewThrottle", "Error"} <= names
