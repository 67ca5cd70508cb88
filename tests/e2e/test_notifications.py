"""A whole run that tells what happens: stages, the attempt, its end, and a failure."""

from pathlib import Path

from ferry_core.report.notifier import signature
from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.hooks import HANG, HookServer
from tests.support.servers import Pair

TOKEN = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bell"}, "stringData": {"token": "t0k"}}


def test_a_run_tells_its_stages_and_its_attempt(pair: Pair, schema: str, tmp_path: Path) -> None:
    with HookServer() as hooks:
        bell = {"url": hooks.url("/a"), "tokenSecretRef": {"name": "bell"}}
        hooks.answers["/hangs"] = [HANG] * 99
        silent = {"url": hooks.url("/hangs"), "events": ["Progress", "StageChanged"]}
        with FerryUnderLoad(pair, schema, tmp_path, odd=1, notifications=[bell, silent]) as under_load:
            under_load.ferry.edit(lambda documents: documents.append(TOKEN))
            under_load.ferry.start()
            under_load.finish()
        received = hooks.at("/a")
    stages = [one.body["value"] for one in received if one.body["event"] == "StageChanged"]
    assert stages[-3:] == ["ReadyForCutover", "CuttingOver", "Completed"]
    assert [one.body["sequence"] for one in received] == list(range(1, len(received) + 1))
    attempts = [(one.body["subject"], one.body["reason"]) for one in received if one.body["event"] == "Attempt"]
    assert attempts[-1] == ("CutOver", "Done")
    for one in received:
        stamp = one.headers["X-Ferry-Timestamp"]
        assert one.headers["X-Ferry-Signature"] == signature("t0k", stamp, one.raw)
    assert received[-1].body["ferry"]["uid"] == under_load.uid


def test_a_run_that_fails_tells_why(pair: Pair, schema: str, tmp_path: Path) -> None:
    with HookServer() as hooks:
        bell = {"url": hooks.url("/a"), "events": ["Error"]}
        with FerryUnderLoad(pair, schema, tmp_path, odd=1, notifications=[bell]) as under_load:
            ferry = under_load.ferry.start()
            ferry.wait_stage("ReadyForCutover")
            pair.source.execute(f"ALTER TABLE `{schema}`.aim ADD COLUMN w INT")
            assert ferry.wait_end() == 65
        errors = hooks.at("/a")
    assert {one.body["reason"] for one in errors} >= {"SchemaChanged"}
    assert errors[-1].body["status"]["failure"]["reason"] == "SchemaChanged"
