"""Directives that survive the process, and the plain port for metrics."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ferry_core.api.directive import Directive
from ferry_core.api.safety_override import SafetyOverride
from ferry_core.api.spec import Ferry
from ferry_core.control.directive_store import DirectiveStore, StoringVerbs
from ferry_core.control.server import ControlServer
from ferry_core.errors import ConfigError
from tests.support.control import Run, serving
from tests.support.manifests import ferry_data


def ferry(**spec: object) -> Ferry:
    return Ferry.model_validate_json(json.dumps(ferry_data(**spec)))


def directive(generation: int, **parts: object) -> Directive:
    return Directive.model_validate_json(json.dumps({"generation": generation} | parts))


def test_the_last_directive_applies_except_for_permissions(tmp_path: Path) -> None:
    kept = DirectiveStore(tmp_path / "directive.json")
    kept.write(directive(7, paused=True, copy={"workers": 2}, cutover={"approved": True, "maxAttempts": 9}))
    spec = kept.applied_to(ferry()).spec
    assert spec.paused
    assert spec.copy_.workers == 2
    assert spec.cutover.max_attempts == 9
    assert not spec.cutover.approved


@pytest.mark.parametrize("content", [None, "", "{", '{"generation": "x"}'])
def test_without_a_readable_file_the_manifest_applies_except_for_permissions(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "directive.json"
    if content is not None:
        path.write_text(content)
    spec = DirectiveStore(path).applied_to(ferry(paused=True, cutover={"mode": "Automatic"})).spec
    assert spec.paused
    assert spec.cutover.mode == "Manual"


def test_a_directive_is_stored_before_it_is_applied(tmp_path: Path) -> None:
    kept, run = DirectiveStore(tmp_path / "directive.json"), Run()
    run.refuse_with = RuntimeError("killed here")
    with pytest.raises(RuntimeError):
        StoringVerbs(run, kept, directive(0)).directive(directive(3, paused=True))
    last = kept.read()
    assert last is not None
    assert last.paused


def test_an_old_directive_is_not_stored(tmp_path: Path) -> None:
    kept, run = DirectiveStore(tmp_path / "directive.json"), Run()
    verbs = StoringVerbs(run, kept, directive(0))
    verbs.directive(directive(5, paused=True))
    verbs.directive(directive(4, paused=False))
    last = kept.read()
    assert last is not None
    assert last.generation == 5


def test_the_override_of_a_refused_directive_is_stored(tmp_path: Path) -> None:
    """Otherwise a restarted copier would move rows again, following the directive before it."""
    kept = DirectiveStore(tmp_path / "directive.json")
    verbs = StoringVerbs(Run(), kept, directive(0, copy={"workers": 3}))
    verbs.override(SafetyOverride(5, paused=True, withdrawn=True, aborted=False))
    verbs.override(SafetyOverride(4, paused=False, withdrawn=False, aborted=True))  # older
    spec = kept.applied_to(ferry()).spec
    assert (spec.paused, spec.aborted, spec.copy_.workers) == (True, False, 3)
    verbs.directive(directive(6, paused=False))
    assert not kept.applied_to(ferry()).spec.paused


def test_an_override_that_cannot_be_stored_is_applied_anyway(tmp_path: Path) -> None:
    run, override = Run(), SafetyOverride(5, paused=True, withdrawn=True, aborted=False)
    StoringVerbs(run, DirectiveStore(tmp_path / "no such folder" / "directive.json"), directive(0)).override(override)
    assert run.asked == [override]


def test_a_stored_abort_is_kept(tmp_path: Path) -> None:
    kept = DirectiveStore(tmp_path / "directive.json")
    kept.write(directive(2, aborted=True))
    assert kept.applied_to(ferry()).spec.aborted


def test_the_plain_metrics_port_serves_only_metrics() -> None:
    with serving(Run(), token="secret", metrics_listen="127.0.0.1:0") as server:
        with urllib.request.urlopen(f"http://{server.metrics_address}/metrics", timeout=60) as answer:
            assert b"ferry_copy_rows_estimated" in answer.read()
        for path in ("/api/v1/status", "/healthz", "/"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"http://{server.metrics_address}{path}", timeout=60)
            assert refused.value.code == 404
            refused.value.close()


def test_a_metrics_port_in_use_is_reported() -> None:
    with serving(Run(), metrics_listen="127.0.0.1:0") as server:
        second = ControlServer(Run(), "127.0.0.1:0", metrics_listen=str(server.metrics_address))
        with pytest.raises(ConfigError, match="in use"):
            second.start()
