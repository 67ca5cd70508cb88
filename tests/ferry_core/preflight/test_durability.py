"""Settings that lose commits in a crash cause warnings on both servers, never a refusal."""

import pytest

from ferry_core.preflight import Status, run_checks
from tests.support.preflight import check, opened, told
from tests.support.servers import Pair, set_global

REASONS = {"SourceLosesCommits", "TargetLosesCommits"}


@pytest.fixture
def tables(pair: Pair, schema: str) -> str:
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)")
    return schema


def test_settings_of_both_servers_cause_warnings(pair: Pair, tables: str) -> None:
    """The test servers are temporary, and run with such settings."""
    results = check(pair.source, pair.target, tables)
    warned = told(results, Status.WARNING)
    for end, reason in (("source", "SourceLosesCommits"), ("target", "TargetLosesCommits")):
        assert f"{end} 127.0.0.1" in warned[reason]
        assert "sync_binlog=0 and innodb_flush_log_at_trx_commit=2" in warned[reason]
        assert "SET GLOBAL sync_binlog = 1, GLOBAL innodb_flush_log_at_trx_commit = 1" in warned[reason]
    assert not REASONS.intersection(told(results))


def test_durable_servers_cause_no_warning(pair: Pair, tables: str) -> None:
    durable = ("sync_binlog = 1", "innodb_flush_log_at_trx_commit = 1")
    with set_global(pair.source, *durable), set_global(pair.target, *durable):
        assert not REASONS.intersection(told(check(pair.source, pair.target, tables), Status.WARNING))


@pytest.mark.parametrize(
    ("value", "fix"),
    [("OFF", ", and start it with innodb_doublewrite=ON"), ("DETECT_ONLY", ", GLOBAL innodb_doublewrite = ON")],
)
def test_torn_pages(pair: Pair, tables: str, value: str, fix: str) -> None:
    """Neither family lets a server that was started without the doublewrite buffer turn it on."""
    with opened(pair.source, pair.target, tables) as context:
        context.target_facts.variables["innodb_doublewrite"] = value
        warned = told(run_checks(context), Status.WARNING)
    assert f"innodb_doublewrite={value}" in warned["TargetLosesCommits"]
    assert f"GLOBAL innodb_flush_log_at_trx_commit = 1{fix}, at the latest" in warned["TargetLosesCommits"]
