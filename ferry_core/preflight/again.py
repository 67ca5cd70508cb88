"""The checks that a start of tables repeats once the stream's position is fixed: minutes lie between it and preflight.

Only of what neither the stream nor an error would show later. Definitions are compared by ``run.definitions``, claims
and rows by ``run.claim``, what the source replicates by ``run.replicated``.
"""

from ferry_core.errors import ConfigError
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.privileges import follow_source
from ferry_core.preflight.result import Status
from ferry_core.preflight.tables import merged
from ferry_core.preflight.target import triggers, unlike

_AGAIN = (unlike, triggers, merged, follow_source)


def refuse_new_trouble(context: PreflightContext) -> None:
    """Raise ConfigError for the first of these checks that fails now."""
    for find in _AGAIN:
        for finding in find(context):
            if finding.status is Status.FAILED:
                raise ConfigError(finding.reason, finding.message)
