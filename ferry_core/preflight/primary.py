"""Checks that a source that is a replica and the primary that the spec names belong together.

Their rows are the same once the replica has applied everything (``mysql.upstream`` has the conditions), so rows and
changes may come from the one while writes stop at the other.
"""

from collections.abc import Iterator

from ferry_core.mysql.replication import running_replication
from ferry_core.mysql.upstream import Trouble, channels, errant, server_ids, troubles, troubles_of_primary
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import decoded
from ferry_core.preflight.result import Check, Finding, failed, passed, refused, warning
from ferry_core.reasons import Reason

_NATIVE = "innodb_native_foreign_keys"


def _alike(context: PreflightContext) -> Iterator[Finding]:
    """Both in a form in which their positions can be compared, with everything in the primary's binlog."""
    if context.spec.source.primary is None:
        return
    source, primary = context.source_facts, context.written_facts
    if source.mariadb != primary.mariadb:
        yield failed(
            Reason.FAMILIES_DIFFER,
            f"{source.where} is {source.version_text} and {primary.where} is {primary.version_text}: a replica of "
            "another family is not supported; use the primary as the source",
        )
        return
    if not primary.is_on("log_bin"):
        yield failed(Reason.BINLOG_DISABLED, f"{primary.where} writes no binlog: start it with log_bin (and server_id)")
    for name in ("do", "ignore"):
        if value := _binlog_filter(context, name):
            yield failed(
                Reason.BINLOG_FILTERED,
                f"{primary.where} runs with binlog_{name}_db={value}: its replica may lack changes; start it without",
            )
    if source.variable(_NATIVE) != primary.variable(_NATIVE):
        yield failed(
            Reason.FOREIGN_KEY_CASCADES,
            f"{_NATIVE} is {source.variable(_NATIVE) or 'unknown to the server'} on {source.where} and "
            f"{primary.variable(_NATIVE) or 'unknown to the server'} on {primary.where}: which of the two logs the "
            "rows that a foreign key changes is then unclear; give both the same value, or use the primary as "
            "the source",
        )


def _binlog_filter(context: PreflightContext, name: str) -> str:
    """A variable on newer MariaDB; elsewhere a column of the binlog's status."""
    primary = context.written_facts
    if f"binlog_{name}_db" in primary.variables:
        return primary.variable(f"binlog_{name}_db")
    rows = context.written.query(context.written.version.binlog_status) if primary.is_on("log_bin") else []
    return decoded(rows[0][2 if name == "do" else 3]) if rows else ""


def _follows(context: PreflightContext) -> Iterator[Finding]:
    if context.spec.source.primary is None:
        return
    ids = server_ids(context.written)
    for trouble in (*troubles(context.source, ids), *troubles_of_primary(context.written)):
        yield _told(trouble, begun=bool(context.started))
    for channel in channels(context.source):
        if channel.seconds_behind is not None:
            yield passed(f"{context.source_facts.where} is {channel.seconds_behind} s behind {ids.address}")


def _told(trouble: Trouble, *, begun: bool) -> Finding:
    """A run that has copied rows waits for what may pass."""
    if trouble.may_pass and begun:
        return warning(trouble.reason, f"{trouble.message}; until then there is no cutover")
    return failed(trouble.reason, trouble.message)


def _nothing_more(context: PreflightContext) -> Iterator[Finding]:
    if context.spec.source.primary is None:
        return
    if more := errant(context.source, context.written):
        source, primary = context.source_facts, context.written_facts
        yield refused(
            context,
            Reason.ERRANT_TRANSACTIONS,
            f"{source.where} has executed transactions that {primary.where} has not: {more}; somebody wrote there, or "
            "the primary's binlog was reset. Find out what they are: if they changed selected tables, make the replica "
            "anew or use the primary as the source",
        )


def _last_in_the_chain(context: PreflightContext) -> Iterator[Finding]:
    if context.spec.source.primary is None:
        return
    if running := running_replication(context.written):
        yield failed(
            Reason.SOURCE_IS_REPLICA,
            f"{context.written_facts.where} replicates itself, {'; '.join(running)}, which writes to it in spite of "
            "any lock: use a replica of the server that applications write to",
        )


CHECKS = (
    Check("primary: alike", "source", _alike),
    Check("primary: the source follows it", "source", _follows),
    Check("primary: nothing more on the source", "source", _nothing_more),
    Check("primary: applications write to it", "source", _last_in_the_chain),
)
