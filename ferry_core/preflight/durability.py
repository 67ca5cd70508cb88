"""What would either server lose of what it has committed, should it lose its power? Nothing here stops a run.

A run finds out what was lost where it can (docs/correctness.md), and then has to go on from an earlier place, to start
over, or to end with a difference: so whoever runs one is told before.
"""

from collections.abc import Iterator

from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import ServerFacts
from ferry_core.preflight.result import Check, Finding, warning
from ferry_core.reasons import Reason

DURABLE_FLUSHES = ("1", "3")  # 3 is MariaDB's: at the prepare and at the commit
WHOLE_PAGES = ("ON", "1", "DETECT_AND_RECOVER")


def _loose(server: ServerFacts) -> dict[str, str]:
    """Settings that lose commits or pages in a crash, and what they must be instead."""
    found = {}
    if server.is_on("log_bin") and server.variable("sync_binlog", "1") != "1":
        found["sync_binlog"] = "1"
    if server.variable("innodb_flush_log_at_trx_commit", "1") not in DURABLE_FLUSHES:
        found["innodb_flush_log_at_trx_commit"] = "1"
    if server.variable("innodb_doublewrite", "ON").upper() not in WHOLE_PAGES:
        found["innodb_doublewrite"] = "ON"
    return found


def _said(server: ServerFacts, loose: dict[str, str]) -> tuple[str, str]:
    """The settings as they are, and the statement that changes them."""
    now = " and ".join(f"{name}={server.variable(name)}" for name in loose)
    return now, f"SET GLOBAL {', GLOBAL '.join(f'{name} = {value}' for name, value in loose.items())}"


def _source(context: PreflightContext) -> Iterator[Finding]:
    server = context.source_facts
    if loose := _loose(server):
        now, fix = _said(server, loose)
        yield warning(
            Reason.SOURCE_LOSES_COMMITS,
            f"{server.where} has {now}: a crash can take back what it has committed and what was copied already, and "
            f"the run then has to start over (SourceHistoryLost) or ends with a difference; {fix}",
        )


def _target(context: PreflightContext) -> Iterator[Finding]:
    server = context.target_facts
    if loose := _loose(server):
        now, fix = _said(server, loose)
        yield warning(
            Reason.TARGET_LOSES_COMMITS,
            f"{server.where} has {now}: a crash can take back rows that were written, the record of the hand-over, and "
            f"what applications have written since; {fix}, at the latest before the cutover",
        )


CHECKS = (
    Check("commits survive a crash", "source", _source),
    Check("commits survive a crash", "target", _target),
)
