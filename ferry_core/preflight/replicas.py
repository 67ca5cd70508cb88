"""Checks the replicas that ``throttle.maxReplicaLag`` watches: an unobservable one would hold the run back for good.

What only a person can change is a failure. What may pass by itself is a warning, because the run then waits for it.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from ferry_core.errors import FerryError, RetriableError
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.replication import Followed, followed
from ferry_core.mysql.session import Purpose, Session
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import ServerFacts
from ferry_core.preflight.result import Check, Finding, failed, passed, warning
from ferry_core.reasons import Reason

PATIENCE_SECONDS = 5.0
THROTTLES = "throttle.maxReplicaLag holds the run back until that changes"


def _watched(context: PreflightContext) -> Iterator[Finding]:
    source, target = context.source_facts, context.target_facts
    if not context.replicas:
        return
    with ThreadPoolExecutor(len(context.replicas)) as pool:  # each may take its whole patience
        answers = list(pool.map(_ask, context.replicas))
    of_source = len(context.spec.source.replicas)
    for number, (replica, answer) in enumerate(zip(context.replicas, answers, strict=True)):
        yield from _judged(replica, answer, source if number < of_source else target)


def _ask(replica: Endpoint) -> list[Followed] | FerryError:
    try:
        with Session(
            replica, Purpose.CONTROL, connect_timeout=PATIENCE_SECONDS, read_timeout=PATIENCE_SECONDS
        ) as session:
            return followed(session)
    except FerryError as error:
        return error


def _judged(replica: Endpoint, answer: list[Followed] | FerryError, facts: ServerFacts) -> Iterator[Finding]:
    if isinstance(answer, FerryError):
        yield _unanswered(replica, answer)
        return
    if not answer:
        yield failed(
            Reason.NOT_A_REPLICA,
            f"{replica.where} does not replicate from any server, so its lag is never known: correct or remove it",
        )
    if answer and facts.number("server_id") not in {one.server_id for one in answer}:
        names = ", ".join(f"{one.name} (server_id {one.server_id})" for one in answer)
        yield warning(
            Reason.NOT_A_REPLICA,
            f"{replica.where} replicates {names}, not from {facts.where} (server_id {facts.number('server_id')}): "
            "correct it, unless it follows through another replica",
        )
    for one in answer:
        if one.seconds_behind is None:
            yield warning(
                Reason.REPLICA_LAG, f"{replica.where}: replication {one.name} is not running: {THROTTLES}; start it"
            )
    lags = [one.seconds_behind for one in answer if one.seconds_behind is not None]
    if lags:
        yield passed(f"{replica.address} is {max(lags)} s behind")


def _unanswered(replica: Endpoint, error: FerryError) -> Finding:
    if isinstance(error, RetriableError):
        return warning(error.reason, f"{error.message}; {THROTTLES}")
    if error.reason == Reason.MISSING_PRIVILEGE:
        user = f"'{replica.user}'"
        return failed(
            error.reason,
            f"{error.message}; to see its lag, run there: GRANT REPLICATION CLIENT ON *.* TO {user}, on MariaDB "
            f"GRANT REPLICA MONITOR ON *.* TO {user}",
        )
    return failed(error.reason, error.message)


CHECKS = (Check("replicas", "both", _watched),)
