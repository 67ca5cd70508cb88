"""What the status says of verification passes, and of rows that differ."""

from ferry_core.report.metrics import exposition, registry_of
from ferry_core.report.progress import Progress
from ferry_core.report.verification_reporter import VerificationReporter
from tests.support.tables import moves_of, simple_table


def counted(progress: Progress) -> list[tuple[int, int]]:
    """Rows that differed and rows that were repaired: of each table, and of all together."""
    tables = [(table.rows_differing, table.rows_repaired) for table in progress.tables()]
    verification = progress.report().verification
    return [*tables, (verification.rows_differing, verification.rows_repaired)]


def test_rows_that_differ_and_are_repaired_are_counted_by_table() -> None:
    """A run that starts again knows its tables as new objects, and its counters go on."""
    progress = Progress()
    reporter = VerificationReporter(progress)
    progress.begin(moves_of(simple_table(name) for name in ("orders", "users")))
    reporter.differ({"shop.orders": 7, "shop.users": 1})
    reporter.repaired({"shop.orders": 3})
    assert counted(progress) == [(7, 3), (1, 0), (8, 3)]
    progress.begin(moves_of(simple_table(name) for name in ("users", "orders")))
    assert counted(progress) == [(1, 0), (7, 3), (8, 3)]
    assert 'ferry_verify_repaired_rows_total{table="shop.orders"} 3.0' in exposition(registry_of(progress)).decode()


def test_rows_that_a_restart_keeps_from_being_compared_count_anew() -> None:
    """Else the alert FerryRowsDiffer would fire until the process ends."""
    progress = Progress()
    reporter = VerificationReporter(progress)
    progress.begin(moves_of([simple_table("t")]))
    reporter.differ({"shop.t": 7})
    reporter.repaired({"shop.t": 2})
    reporter.begins_again()
    assert counted(progress) == [(7, 7), (7, 7)]
