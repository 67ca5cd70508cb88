"""Opens what preflight needs and runs it; what fails on the way becomes a line too. Called by ``check``."""

from contextlib import ExitStack
from pathlib import Path

from ferry_core.api.spec import ferry_uid
from ferry_core.errors import FerryError
from ferry_core.manifest import LoadedFerry
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Purpose, Session
from ferry_core.preflight import CheckResult, PreflightContext, run_checks
from ferry_core.preflight.result import Server, Status
from ferry_core.preflight.selection import selected_tables
from ferry_core.run.setup import open_store


def preflight(loaded: LoadedFerry, state_path: Path | None) -> list[CheckResult]:
    """Every check's result; with a server out of reach or a selection that is wrong, only what could be found out."""
    results: list[CheckResult] = []
    with ExitStack() as opened:
        source = _session(loaded.source, opened, results)
        target = _session(loaded.target, opened, results)
        if source is None or target is None:
            return results
        spec, uid = loaded.ferry.spec, ferry_uid(loaded.ferry)
        try:
            tables = selected_tables(source, spec.tables)
        except FerryError as error:
            return [*results, _failed("selection", "source", error)]
        try:
            store = open_store(state_path, lambda: target, uid)
            opened.callback(store.close)
            state = store.load()
        except FerryError as error:
            return [*results, _failed("state", "target", error)]
        started = state.started if state is not None and state.ferry_uid == uid else ()
        context = PreflightContext(spec, uid, source, target, tables, started, store.describe())
        try:
            return [*results, *run_checks(context)]
        except FerryError as error:  # a server went away meanwhile
            return [*results, _failed("connection", "both", error)]


def _session(endpoint: Endpoint, opened: ExitStack, results: list[CheckResult]) -> Session | None:
    try:
        session = opened.enter_context(Session(endpoint, Purpose.CONTROL))
    except FerryError as error:
        results.append(_failed("connection", "source" if endpoint.role == "source" else "target", error))
        return None
    return session


def _failed(name: str, server: Server, error: FerryError) -> CheckResult:
    return CheckResult(name, server, Status.FAILED, error.reason, error.message)
