"""Opens what preflight needs and runs it; what fails on the way becomes a line too. Called by ``check``."""

from contextlib import ExitStack

from ferry_core.api.spec import ferry_uid
from ferry_core.errors import FerryError
from ferry_core.manifest import LoadedFerry
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Purpose, Session
from ferry_core.preflight import CheckResult, PreflightContext, run_checks
from ferry_core.preflight.result import Server, Status
from ferry_core.preflight.selection import selected_tables


def preflight(loaded: LoadedFerry) -> list[CheckResult]:
    """Every check's result; with a server out of reach or a selection that is wrong, only what could be found out."""
    results: list[CheckResult] = []
    with ExitStack() as opened:
        source = _session(loaded.source, opened, results)
        target = _session(loaded.target, opened, results)
        if source is None or target is None:
            return results
        spec = loaded.ferry.spec
        try:
            tables = selected_tables(source, spec.tables)
        except FerryError as error:
            return [*results, _failed("selection", "source", error)]
        context = PreflightContext(spec, ferry_uid(loaded.ferry), source, target, tables)
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
