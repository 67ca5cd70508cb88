"""Opens the sessions for preflight and runs it; a connection error becomes a result too. Called by ``check``."""

from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ferry_core.api.spec import ferry_uid
from ferry_core.checkpoint.marks import others_copied, read_marks
from ferry_core.errors import ConfigError, DataError, FerryError
from ferry_core.manifest import LoadedFerry
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.identity import KnownServer
from ferry_core.mysql.session import Purpose, Session
from ferry_core.preflight import CheckResult, PreflightContext, checked
from ferry_core.preflight.result import Server, Status
from ferry_core.run.setup import open_store
from ferry_core.schema.unfollowed import copied_as_needed
from ferry_core.tables.discovery import Discovered, explore


def preflight(loaded: LoadedFerry, state_path: Path | None) -> list[CheckResult]:
    """Results of every check. Checks of a server that cannot be reached are reported as skipped."""
    results: list[CheckResult] = []
    spec, uid = loaded.ferry.spec, ferry_uid(loaded.ferry)
    with ExitStack() as opened:
        source = _session(loaded.source, opened, results)
        target = _session(loaded.target, opened, results)
        try:
            found = explore(source, spec.tables) if source is not None else Discovered([], [])
            found = found.on_engine(spec.schema_.engine)
            if source is not None and target is not None:
                found = found.across(source.version, target.version)
            tables = copied_as_needed(source, found.tables) if source is not None else found.tables
            stored = _stored(target, state_path, uid, opened, results)
            context = PreflightContext(
                *(spec, uid, source, target, tables, stored.started, stored.at, found.problems),
                stateless=stored.missing,
                recreatable=stored.recreatable,
                own_objects=stored.objects,
                replicas=loaded.replicas(),
                by_gtid=stored.by_gtid,
                primary_session=_session(loaded.primary(), opened, results) if loaded.primary else None,
            )
            results.extend(checked(context))  # keep the results before an error
        except FerryError as error:  # a server became unreachable meanwhile
            results.append(_failed("connection", "both", error))
    return results


@dataclass(frozen=True)
class _Stored:
    """What the stored state says. For the fields see ``PreflightContext``."""

    started: Collection[str] | None = None
    at: str = "its state"
    missing: bool = False
    recreatable: Collection[str] = ()
    objects: Callable[[str], Collection[str]] = lambda _: ()
    by_gtid: bool = False


def _stored(
    target: Session | None, state_path: Path | None, uid: str, opened: ExitStack, results: list[CheckResult]
) -> _Stored:
    if target is None and state_path is None:
        return _Stored()
    try:
        store = open_store(state_path, lambda: _open(target), uid)
        opened.callback(store.close)
        state = store.load()
    except (ConfigError, DataError) as error:
        results.append(_failed("state", "target", error))
        return _Stored()
    if state is None or state.ferry_uid != uid:
        return _Stored((), store.describe(), missing=True)
    early = state_path is not None and target is not None and not state.tables
    stateless = early and others_copied(read_marks(_open(target), uid))
    return _Stored(state.started, store.describe(), stateless, state.recreatable, state.objects.may_be, state.by_gtid)


def _open(session: Session | None) -> Session:
    assert session is not None, "a state in a file needs no target"
    return session


def _session(endpoint: Endpoint, opened: ExitStack, results: list[CheckResult]) -> Session | None:
    known = KnownServer(endpoint.role, 0)  # further connections must not reach another server
    try:
        session = opened.enter_context(Session(replace(endpoint, known=known), Purpose.CONTROL))
    except FerryError as error:
        results.append(_failed("connection", "target" if endpoint.role == "target" else "source", error))
        return None
    return session


def _failed(name: str, server: Server, error: FerryError) -> CheckResult:
    return CheckResult(name, server, Status.FAILED, error.reason, error.message)
