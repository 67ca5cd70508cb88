"""Runs preflight between two test servers as ``ferry check`` would, without a manifest."""

import contextlib
import struct
from collections.abc import Collection, Iterator
from dataclasses import replace

from pymysql.constants import COMMAND

from ferry_core.api.spec import Spec
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Purpose, Session
from ferry_core.preflight import CheckResult, PreflightContext, Status, run_checks
from ferry_core.schema.unfollowed import copied_as_needed
from ferry_core.tables.discovery import explore
from tests.support.servers import Server

PASSWORD = "preflight-Test-1"
FERRY_UID = "11111111-2222-3333-4444-555555555555"


def make_spec(schema: str, /, **fields: object) -> Spec:
    """A spec that selects ``schema`` whole; ``fields`` replace top-level ones."""
    server = {"credentialsSecretRef": {"name": "login"}}
    base: dict[str, object] = {
        "source": {"host": "source.test", **server},
        "target": {"host": "target.test", **server},
        "tables": {"include": [f"{schema}.*"]},
    }
    return Spec.model_validate(base | fields)


@contextlib.contextmanager
def opened(
    source: Server,
    target: Server,
    schema: str,
    /,
    *,
    source_user: str = "",
    target_user: str = "",
    password: str = PASSWORD,
    own_eyes: bool = False,
    primary: Endpoint | None = None,
    started: Collection[str] = (),
    **fields: object,
) -> Iterator[PreflightContext]:
    """A context over new sessions, closed at the end; users other than root have ``password``.

    ``primary``: that of a source that is a replica.

    Root discovers the tables, unless ``own_eyes`` says that ``source_user`` does.
    """
    if primary is not None:
        login = {"credentialsSecretRef": {"name": "login"}}
        fields["source"] = {"host": "source.test", **login, "primary": {"host": "primary.test"}}
    spec = make_spec(schema, **fields)
    endpoints = [source.endpoint("source"), target.endpoint("target")]
    for at, user in enumerate((source_user, target_user)):
        if user:
            endpoints[at] = replace(endpoints[at], user=user, password=password)
    with (
        Session(endpoints[0], Purpose.CONTROL) as on_source,
        Session(endpoints[1], Purpose.CONTROL) as on_target,
        Session(endpoints[0] if own_eyes else source.endpoint("source"), Purpose.CONTROL) as discovering,
    ):
        found = explore(discovering, spec.tables).on_engine(spec.schema_.engine)
        found = found.across(on_source.version, on_target.version)
        tables = copied_as_needed(discovering, found.tables)
        with Session(primary, Purpose.CONTROL) if primary is not None else contextlib.nullcontext() as on_primary:
            yield PreflightContext(
                *(spec, FERRY_UID, on_source, on_target, tables, started),
                problems=found.problems,
                primary_session=on_primary,
            )


def check(source: Server, target: Server, schema: str, /, **fields: object) -> list[CheckResult]:
    """All results of one preflight."""
    with opened(source, target, schema, **fields) as context:  # type: ignore[arg-type]
        return run_checks(context)


def told(results: list[CheckResult], status: Status = Status.FAILED) -> dict[str, str]:
    """Reason and message of every result with ``status``; several messages of one reason are joined."""
    found: dict[str, list[str]] = {}
    for result in results:
        if result.status is status:
            found.setdefault(result.reason, []).append(result.message)
    return {reason: "\n".join(messages) for reason, messages in found.items()}


@contextlib.contextmanager
def registered(server: Server, server_id: int) -> Iterator[None]:
    """Registers a replica with this id, which reports the host ``reporter.test``, until the end of the block."""
    host = b"reporter.test"
    command = struct.pack("<IB", server_id, len(host)) + host + struct.pack("<BBHII", 0, 0, 3306, 0, 0)
    with contextlib.closing(server.connect()) as replica:
        replica._execute_command(COMMAND.COM_REGISTER_SLAVE, command)  # type: ignore[attr-defined]
        replica._read_ok_packet()  # type: ignore[attr-defined]
        yield
