"""Preflight: whatever could stop or corrupt a run, asked before it writes anything. Called by run and ``ferry check``.

One module a concern, each a chain of small functions. A check asks, and says what is wrong, where, and how to mend it.
"""

from collections.abc import Iterable, Iterator, Sequence

from ferry_core.api.reasons import Reason
from ferry_core.errors import ConfigError, DataError
from ferry_core.preflight import (
    binlog,
    cutover,
    foreign_keys,
    generated,
    privileges,
    row_filters,
    servers,
    sizes,
    tables,
    target,
)
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import ServerFacts
from ferry_core.preflight.result import Check, CheckResult, Status

__all__ = ["CheckResult", "PreflightContext", "ServerFacts", "Status", "refuse_failed", "run_checks"]

_CHAIN: tuple[Check, ...] = (
    *servers.CHECKS,
    *privileges.CHECKS,
    *binlog.CHECKS,
    *tables.CHECKS,
    *foreign_keys.CHECKS,
    *generated.CHECKS,
    *target.CHECKS,
    *cutover.CHECKS,
    *row_filters.CHECKS,
    *sizes.CHECKS,
)


def run_checks(context: PreflightContext) -> list[CheckResult]:
    """Every check, in the order in which their failures should be mended. Lost connections are raised."""
    results: list[CheckResult] = []
    for check in _CHAIN:
        results += _news(_run(check, context), results)
    if all(result.status is not Status.FAILED for result in results):
        results += [result for check in row_filters.LAST_CHECKS for result in _run(check, context)]
    return results


def _news(found: Iterable[CheckResult], before: Sequence[CheckResult]) -> Iterator[CheckResult]:
    """Without a server's refusals to answer a check where a missing privilege was named already, with its GRANT."""
    named = {result.server for result in before if result.reason == Reason.MISSING_PRIVILEGE}
    for result in found:
        refused = result.reason == Reason.MISSING_PRIVILEGE and "GRANT " not in result.message
        if not (refused and result.server in named):
            yield result


def refuse_failed(results: Sequence[CheckResult]) -> None:
    """Raise ConfigError with the first failure's reason and every failure's message."""
    failures = [result for result in results if result.status is Status.FAILED]
    if failures:
        others = [f"{result.reason}: {result.message}" for result in failures[1:]]
        raise ConfigError(failures[0].reason, "\n-- and ".join([failures[0].message, *others]))


def _run(check: Check, context: PreflightContext) -> Iterator[CheckResult]:
    findings = []
    try:
        findings = list(check.find(context))
    except (ConfigError, DataError) as error:
        # The server refuses the question itself, most often for want of a privilege that it names.
        yield CheckResult(check.name, check.server, Status.FAILED, error.reason, error.message)
        return
    for finding in findings:
        yield CheckResult(check.name, check.server, finding.status, finding.reason.value, finding.message)
    if not findings:
        yield CheckResult(check.name, check.server, Status.PASSED, Reason.PASSED.value, "")
