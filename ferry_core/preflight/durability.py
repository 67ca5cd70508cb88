"""Settings with which a server loses commits in a crash or power cut. They cause warnings and never stop a run.

A run that notices such a loss (docs/correctness.md) resumes from an earlier place, starts over, or fails with a
difference.
"""

from collections.abc import Iterator

from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import ServerFacts
from ferry_core.preflight.result import Check, Finding, warning
from ferry_core.reasons import Reason

DURABLE_FLUSHES = ("1", "3")  # 3 is MariaDB's: sync at prepare and at commit
WHOLE_PAGES = ("ON", "1", "DETECT_AND_RECOVER")


def _loose(server: ServerFacts) -> dict[str, str]:
    """Settings that lose commits or pages in a crash, and their safe values."""
    found = {}
    if server.is_on("log_bin") and server.variable("sync_binlog", "1") != "1":
        found["sync_binlog"] = "1"
    if server.variable("innodb_flush_log_at_trx_commit", "1") not in DURABLE_FLUSHES:
        found["innodb_flush_log_at_trx_commit"] = "1"
    if server.variable("innodb_doublewrite", "ON").upper() not in WHOLE_PAGES:
        found["innodb_doublewrite"] = "ON"
    return found


def _findings(server: ServerFacts, reason: Reason, lost: str, when: str = "") -> Iterator[Finding]:
    """A warning that a crash can undo ``lost``, with the statement that prevents it."""
    if loose := _loose(server):
        now = " and ".join(f"{name}={server.variable(name)}" for name in loose)
        yield warning(reason, f"{server.where} has {now}: a crash can take back {lost}; {_fix(server, loose)}{when}")


def _fix(server: ServerFacts, loose: dict[str, str]) -> str:
    """How to fix it. A server started without its doublewrite buffer cannot enable it while it runs."""
    at_start = [name for name in loose if name == "innodb_doublewrite" and server.variable(name).upper() == "OFF"]
    running = [f"{name} = {value}" for name, value in loose.items() if name not in at_start]
    steps = [f"SET GLOBAL {', GLOBAL '.join(running)}"] if running else []
    steps += [f"start it with {name}={loose[name]}" for name in at_start]
    return ", and ".join(steps)


def _source(context: PreflightContext) -> Iterator[Finding]:
    return _findings(
        context.source_facts,
        Reason.SOURCE_LOSES_COMMITS,
        "transactions that it has committed and that were copied; the run then has to start over (SourceHistoryLost) "
        "or ends with a difference (RowsDiffer)",
    )


def _target(context: PreflightContext) -> Iterator[Finding]:
    return _findings(
        context.target_facts,
        Reason.TARGET_LOSES_COMMITS,
        "rows that were written, the record of the cutover, and what applications have written since",
        ", at the latest before the cutover",
    )


CHECKS = (
    Check("commits survive a crash", "source", _source),
    Check("commits survive a crash", "target", _target),
)
