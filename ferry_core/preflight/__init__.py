"""Checks everything that could stop or corrupt a run, before it writes anything. Called by the run and ``ferry check``.

Each module covers one concern with a series of small functions. A check asks a server, and reports what is wrong,
where, and how to fix it.
"""

from collections.abc import Iterator, Sequence

from ferry_core.errors import ConfigError, DataError
from ferry_core.preflight import (
    binlog,
    cutover,
    durability,
    families,
    foreign_keys,
    generated,
    objects,
    primary,
    privileges,
    replicas,
    row_filters,
    samples,
    selection,
    servers,
    sight,
    sizes,
    tables,
    target,
    tenant,
    trial,
)
from ferry_core.preflight.context import CannotAskError, PreflightContext
from ferry_core.preflight.facts import ServerFacts
from ferry_core.preflight.result import Check, CheckResult, Finding, Status, passed, skipped
from ferry_core.reasons import Reason

__all__ = ["CheckResult", "PreflightContext", "ServerFacts", "Status", "checked", "refuse_failed", "run_checks"]

_CHAIN: tuple[Check, ...] = (
    *selection.CHECKS,
    *servers.CHECKS,
    *privileges.CHECKS,
    *objects.PRIVILEGES,
    *sight.CHECKS,
    *binlog.CHECKS,
    *primary.CHECKS,
    *durability.CHECKS,
    *replicas.CHECKS,
    *tables.CHECKS,
    *families.CHECKS,
    *foreign_keys.CHECKS,
    *generated.CHECKS,
    *target.CHECKS,
    *cutover.CHECKS,
    *tenant.CHECKS,
    *row_filters.CHECKS,
    *sizes.CHECKS,
    *samples.CHECKS,
    *trial.CHECKS,
    *objects.CHECKS,
)

_BEFORE_WRITING = {"versions", "different servers", "writable", "no cluster", "privileges: write"}
"""A check that creates something on the target requires these to pass. Other checks may fail."""


def run_checks(context: PreflightContext) -> list[CheckResult]:
    """All of ``checked``."""
    return list(checked(context))


def checked(context: PreflightContext) -> Iterator[CheckResult]:
    """Every check, in the order in which to fix failures. Checks run even if earlier ones failed.

    A check that lacks its input is *skipped* and says why. Lost connections are raised.
    """
    results: list[CheckResult] = []
    for check in _CHAIN:
        for result in _run(check, context, results):
            results.append(result)
            yield result


def refuse_failed(results: Sequence[CheckResult]) -> None:
    """Raise ConfigError with the first failure's reason and all failures' messages."""
    failures = [result for result in results if result.status is Status.FAILED]
    if failures:
        others = [f"{result.reason}: {result.message}" for result in failures[1:]]
        raise ConfigError(failures[0].reason, "\n-- and ".join([failures[0].message, *others]))


def _run(check: Check, context: PreflightContext, before: Sequence[CheckResult]) -> Iterator[CheckResult]:
    findings: list[Finding] = []
    try:
        if check.writes:
            _refuse_to_write(before)
        findings = list(check.find(context))
    except CannotAskError as lack:
        findings = [skipped(str(lack))]
    except (ConfigError, DataError) as error:
        # The server refused the query itself, usually because of a missing privilege that it names.
        yield _refused(check, error, before)
        return
    for finding in findings or [passed("")]:
        yield CheckResult(
            check.name,
            check.server,
            finding.status,
            finding.reason,
            finding.message,
            finding.tables,
            finding.statement,
            finding.keys,
        )


def _refuse_to_write(before: Sequence[CheckResult]) -> None:
    failures = [one.name for one in before if one.status is Status.FAILED and one.name in _BEFORE_WRITING]
    if failures:
        raise CannotAskError(
            f"it creates a table on the target, and waits until {', '.join(dict.fromkeys(failures))} passes"
        )


def _refused(check: Check, error: ConfigError | DataError, before: Sequence[CheckResult]) -> CheckResult:
    """If a missing privilege was reported already, with its GRANT, the server's refusal adds nothing."""
    named = {one.server for one in before if one.reason == Reason.MISSING_PRIVILEGE and one.status is Status.FAILED}
    if error.reason == Reason.MISSING_PRIVILEGE and (check.server in named or (check.server == "both" and named)):
        why = f"the account lacks a privilege that is named above; {error.message}"
        return CheckResult(check.name, check.server, Status.SKIPPED, Reason.NOT_ASKED, why)
    return CheckResult(check.name, check.server, Status.FAILED, error.reason, error.message)
