"""Checks that writes on the source can be stopped at the cutover.

What applies to one ``sourceLock`` only says so.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from ferry_core.api.choices import SourceLockMode
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import decoded
from ferry_core.preflight.read_only import found_read_only, perhaps_cut_over
from ferry_core.preflight.result import Check, Finding, Status, failed, warning
from ferry_core.reasons import Reason
from ferry_core.schema.sequences import sequence_names
from ferry_core.text import shortlist


def _read_only(context: PreflightContext) -> Iterator[Finding]:
    source = context.written_facts
    if not (context.makes_source_read_only and source.is_on("read_only")):
        return
    if context.own_lease is not None and context.own_lease.locks_source:
        return  # locked by an attempt of this Ferry, which has stored the old values
    name = "super_read_only" if source.is_on("super_read_only") else "read_only"
    started = bool(context.own_lease and context.own_lease.tables)
    perhaps = f"{perhaps_cut_over(context.target.endpoint.address, context.ferry_uid)}: " if started else ""
    yield failed(
        Reason.SOURCE_READ_ONLY,
        f"{found_read_only(context.written, name)}, and the target records no cutover attempt that set it: after an "
        f"abort nobody would know what to restore. {perhaps}SET GLOBAL read_only = OFF, or, if it is to stay "
        f"read-only, stop the writes yourself with cutover.sourceLock: None",
    )


def _privileged_writers(context: PreflightContext) -> Iterator[Finding]:
    """MySQL's super_read_only stops everybody; MariaDB's read_only does not."""
    source = context.written_facts
    if not (source.mariadb and context.makes_source_read_only):
        return
    known = Reason.PRIVILEGED_WRITERS.value in {str(word) for word in context.spec.acknowledge}
    status = Status.ACKNOWLEDGED if known else Status.WARNING
    if not source.grants.on_schema("SELECT", "mysql"):
        yield Finding(
            status,
            Reason.PRIVILEGED_WRITERS,
            f"{source.where}: the account {source.account} may not see which accounts write through read_only (SELECT "
            "ON mysql.* would show them); make sure that no account with READ ONLY ADMIN writes during the cutover "
            "(its checks around the lock fail an attempt during which one does), and acknowledge it",
        )
        return
    privileges = ["'READ_ONLY ADMIN'", "'READ ONLY ADMIN'"] + ["'SUPER'"] * (source.version < (10, 11))
    rows = context.written.query(
        "SELECT DISTINCT GRANTEE FROM information_schema.USER_PRIVILEGES "
        f"WHERE PRIVILEGE_TYPE IN ({', '.join(privileges)}) ORDER BY 1"
    )
    accounts = [account for row in rows if (account := decoded(row[0])).replace("'", "`") != source.account]
    if accounts:
        yield Finding(
            status,
            Reason.PRIVILEGED_WRITERS,
            f"{source.where}: read_only does not stop {shortlist(accounts, 10)}; see that none of them writes during "
            "the cutover (its checks around the lock fail an attempt during which one does), or revoke READ ONLY ADMIN",
        )


def _events(context: PreflightContext) -> Iterator[Finding]:
    source = context.written_facts
    stops = context.makes_source_read_only or context.locks_source_tables
    if not (stops and source.is_on("event_scheduler")):
        return
    meanwhile = "they fail while it is read-only, and would write there again if it were unlocked after the cutover"
    if context.locks_source_tables:
        meanwhile = "what they write to locked tables waits, and is written there once cutover.watchFor is over"
    count = context.written.number("SELECT COUNT(*) FROM information_schema.EVENTS WHERE STATUS = 'ENABLED'")
    if not source.grants.in_every_schema("EVENT"):
        grant = f"GRANT EVENT ON *.* TO {source.account}"
        yield warning(
            Reason.EVENTS_ENABLED,
            f"{source.where} has event_scheduler = ON, and the account {source.account} may not see all of its events: "
            f"{meanwhile}; {grant}, or SET GLOBAL event_scheduler = OFF before the cutover",
            grant,
        )
    elif count:
        yield warning(
            Reason.EVENTS_ENABLED,
            f"{source.where} runs {count} scheduled events: {meanwhile}; move them, or SET GLOBAL event_scheduler = "
            "OFF before the cutover",
        )


def _prepared(context: PreflightContext) -> Iterator[Finding]:
    source = context.source_facts
    if context.source.version.dynamic_privileges and not source.grants.everywhere("XA_RECOVER_ADMIN"):
        return  # reported by the privileges check; MySQL's own message would speak of damaged data
    if rows := context.source.query("XA RECOVER"):
        yield warning(
            Reason.PREPARED_TRANSACTIONS,
            f"{source.where} holds {len(rows)} prepared XA transactions: the copy of a table waits until they are "
            "decided, and the cutover needs none; commit or roll back forgotten ones (XA RECOVER lists them)",
        )


def _open_xa(context: PreflightContext) -> Iterator[Finding]:
    source = context.written_facts
    if source.mariadb or not context.makes_source_read_only or source.grants.on_schema("SELECT", "performance_schema"):
        return
    grant = f"GRANT SELECT ON performance_schema.* TO {source.account}"
    yield warning(
        Reason.OPEN_XA_UNSEEN,
        f"{source.where}: the account may not see who is in an XA transaction, which MySQL lets commit in spite of "
        "super_read_only; the cutover then waits for every transaction that has changed rows: "
        f"{grant}",
        grant,
    )


def _sequences(context: PreflightContext) -> Iterator[Finding]:
    if context.crosses or not context.locks_source_tables:
        return
    found = sorted(sequence_names(context.source, context.spec.tables, context.tables))
    if found:
        yield warning(
            Reason.SEQUENCES_NOT_LOCKED,
            f"{context.source_facts.where}: LOCK TABLES keeps nobody from taking numbers of sequences "
            f"({shortlist([str(name) for name in found], 10)}), so numbers that the source gives after the attempt has "
            "read its sequences are given again by the target: stop the applications that take them before the attempt",
        )


def _window(context: PreflightContext) -> Iterator[Finding]:
    """A warning: rows can be copied, and the window be changed meanwhile."""
    not_after = context.spec.cutover.not_after
    if not_after is not None and datetime.now(UTC) > not_after:
        yield warning(
            Reason.WINDOW_MISSED,
            f"cutover.notAfter ({not_after}) has passed, so no cutover attempt starts: set a later one, or remove it",
        )


def _filtered(context: PreflightContext) -> Iterator[Finding]:
    """A lock of the source's stops everybody."""
    lock = context.spec.cutover.source_lock
    filtered = [table.id for table in context.tables if table.row_filter]
    if filtered and lock in (SourceLockMode.NONE, SourceLockMode.WEBHOOK):
        yield warning(
            Reason.FILTERED_TABLES_NOT_LOCKED,
            f"with cutover.sourceLock: {lock} stop the writes to all rows of {shortlist(filtered, 10)}, also to those "
            "that their row filter leaves out: the run cannot always tell which rows a change is about, so a change of "
            "others may fail an attempt (SourceStillWritten) or be reported after it (SourceWrittenAfterCutover)",
        )


def _hooks(context: PreflightContext) -> Iterator[Finding]:
    cutover = context.spec.cutover
    if cutover.webhooks is not None and cutover.source_lock is not SourceLockMode.WEBHOOK:
        yield warning(
            Reason.WEBHOOKS_NOT_CALLED,
            f"cutover.webhooks are not called with cutover.sourceLock: {cutover.source_lock}: set sourceLock to "
            "Webhook if they are to stop the writes, or remove webhooks",
        )
        return
    hook = cutover.webhooks.lock if cutover.webhooks is not None else None
    if hook is not None and hook.timeout > cutover.deadline:
        yield warning(
            Reason.WEBHOOK_TIMEOUT_TOO_LONG,
            f"cutover.webhooks.lock.timeout ({hook.timeout}) is longer than cutover.deadline ({cutover.deadline}), "
            "which ends the attempt: a call without an answer is not repeated; set a shorter timeout or a longer "
            "deadline",
        )


CHECKS = (
    Check("writable before the cutover", "source", _read_only),
    Check("writers past the lock", "source", _privileged_writers),
    Check("scheduled events", "source", _events),
    Check("prepared transactions", "source", _prepared),
    Check("open XA transactions", "source", _open_xa),
    Check("sequences", "source", _sequences),
    Check("window of the cutover", "both", _window),
    Check("writers of other rows", "source", _filtered),
    Check("webhooks", "both", _hooks),
)
