import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ferry_core.api.report import Progress, Replication, Report, TableReport, ThrottleReport
from ferry_core.cli import progress
from ferry_core.cli.live import LiveView
from ferry_core.cli.output import Output
from ferry_core.cli.progress import Line, News, Rate, shown, summary
from ferry_core.cli.units import count, lag, size, span


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Engine:
    def __init__(self) -> None:
        self.report = Report(stage="Copying", phase="Copying")
        self.found: list[TableReport] = []
        self.looked = threading.Event()

    def snapshot(self) -> Report:
        self.looked.set()
        return self.report

    def tables(self) -> list[TableReport]:
        return self.found

    def at(self, rows: int, size: int = 5 << 20) -> None:
        self.report = Report(
            stage="Copying",
            phase="Copying",
            message="copying rows" + " and more rows" * 20,
            progress=Progress(
                tables_total=3,
                tables_copied=1,
                rows_copied=rows,
                rows_estimated=100_000,
                bytes_copied=size,
                percent=43,
            ),
            replication=Replication(lag_seconds=0.42, pending_keys=1200),
            throttle=ThrottleReport(active=True, reason="rows 900/s >= 900/s"),
        )
        self.found = [
            TableReport(name="shop.orders", target="shop.orders", state="Copying", rows_copied=rows, percent=43.0),
            TableReport(name="shop.done", target="shop.done", state="Copied"),
        ]


def test_a_line_contains_the_whole_status() -> None:
    engine, clock = Engine(), Clock()
    line = Line(clock)
    engine.at(10_000)
    assert line.of(engine.report) == (
        "Copying, 43%, 1/3 tables, 10,000 of about 100,000 rows, 5.0 MiB, lag 0.4s, 1,200 keys pending, "
        "throttled: rows 900/s >= 900/s"
    )
    clock.now += 10
    engine.at(20_000, 15 << 20)
    assert "1,000 rows/s, 1.0 MiB/s, ETA 1m 20s, lag 0.4s" in line.of(engine.report)


def test_a_pipe_gets_a_line_for_news_and_one_a_minute() -> None:
    engine, clock = Engine(), Clock()
    news = News(clock)
    engine.report = Report(stage="ReadyForCutover", phase="ReadyForCutover", message="the cutover waits for approval")
    assert news.of(engine.report) == "ReadyForCutover, 0 rows, 0 B, lag unknown, the cutover waits for approval"
    clock.now += 10
    assert not news.of(engine.report.model_copy(update={"replication": Replication(lag_seconds=0.1), "revision": 9}))
    clock.now += 50
    assert news.of(engine.report)
    clock.now += 10
    assert "resumed" in news.of(engine.report.model_copy(update={"message": "resumed"}))


def test_unknown_lag_is_shown_as_unknown() -> None:
    assert summary(Report(), None) == "Pending, 0 rows, 0 B, lag unknown"


def test_a_rate_covers_only_the_last_seconds() -> None:
    clock = Clock()
    rate = Rate(clock)
    assert rate.look(0) is None
    for second in range(1, 100):
        clock.now += 1
        found = rate.look(second * 10 if second < 50 else 490 + (second - 49) * 1000)
    assert found == pytest.approx(1000)
    clock.now += 1
    assert rate.look(5) is None


def picture(view: LiveView, height: int) -> str:
    console = Console(file=io.StringIO(), width=100, height=height, color_system=None)
    console.print(view.picture(height))
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def test_the_live_view_has_a_line_per_active_table_and_a_total() -> None:
    engine, clock = Engine(), Clock()
    view = LiveView(engine, clock)
    engine.at(10_000)
    picture(view, 40)
    clock.now += 10
    engine.at(20_000)
    lines = picture(view, 40).splitlines()
    assert len(lines) == 4
    assert "shop.orders" in lines[0]
    assert "1,000 rows/s" in lines[0]
    assert lines[1].startswith("Copying, 43%")
    assert lines[-1].startswith("copying rows")
    assert all(len(line) <= 100 for line in lines)


def test_the_live_view_fits_the_terminal() -> None:
    engine = Engine()
    engine.found = [TableReport(name=f"s.t{n}", target=f"s.t{n}", state="Copying") for n in range(200)]
    lines = picture(LiveView(engine), 10).splitlines()
    assert len(lines) <= 10
    assert "and 196 more tables" in lines


@contextmanager
def _looking(engine: Engine, mode: str, out: Output) -> Iterator[None]:
    with shown(engine, mode, out):
        yield


@pytest.mark.parametrize("mode", ["auto", "plain"])
def test_in_a_pipe_a_plain_line_is_printed_at_intervals(
    mode: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert progress.PLAIN_SECONDS == 10
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.01)
    engine = Engine()
    with _looking(engine, mode, Output()):
        assert engine.looked.wait(60)
    assert "Copying, 0 rows" in capsys.readouterr().out


def test_lines_are_json_where_logs_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.01)
    engine, out = Engine(), Output()
    out.as_json = True
    with _looking(engine, "auto", out):
        assert engine.looked.wait(60)
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert first["message"].startswith("Copying")
    assert first["event"] == "progress"


def test_progress_none_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine()
    with _looking(engine, "none", Output()):
        pass
    assert not engine.looked.is_set()
    assert capsys.readouterr().out == ""


def test_a_view_that_breaks_does_not_break_the_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.01)

    class Broken(Engine):
        def snapshot(self) -> Report:
            self.looked.set()
            raise RuntimeError("no snapshot")

    engine = Broken()
    with _looking(engine, "plain", Output()):
        assert engine.looked.wait(60)
    assert "the run continues" in caplog.text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (60, "1m 00s"), (3599, "59m 59s"), (7265, "2h 01m"), (100_000, "1d 03h")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


@given(st.floats(0, 1e15))
def test_sizes_have_at_most_four_digits_unless_huge(number: float) -> None:
    digits, unit = size(number).split()
    assert unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    assert float(digits) <= 1024


def test_other_units() -> None:
    assert (count(1234567), lag(None), lag(0.04), lag(90)) == ("1,234,567", "lag unknown", "lag 0.0s", "lag 1m 30s")
