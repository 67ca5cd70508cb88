"""The checks that a start of tables repeats once the stream's position is fixed: minutes lie between it and preflight.

Only of what neither the stream nor an error would show later. Definitions are compared by ``run.definitions``, claims
and rows by ``run.claim``, what the source replicates by ``run.replicated``.
"""

from collections.abc import Iterable

from ferry_core.errors import ConfigError
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.privileges import follow_source
from ferry_core.preflight.result import Finding, Status
from ferry_core.preflight.tables import merged
from ferry_core.preflight.target import triggers, unlike

_AGAIN = (unlike, triggers, merged, follow_source)


def refuse_new_trouble(context: PreflightContext) -> None:
    """Raise ConfigError for the first of these checks that fails now."""
    for find in _AGAIN:
        _refuse(find(context))


def refuse_merge_tables(context: PreflightContext) -> None:
    """Raise ConfigError if a MERGE table writes to one of the tables."""
    _refuse(merged(context))


def _refuse(findings: Iterable[Finding]) -> None:
    for finding in findings:
        if finding.status is Status.FAILED:
            raise ConfigError(finding.reason, finding.message)
