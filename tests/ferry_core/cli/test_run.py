"""What ``ferry run`` passes to the engine and prints around it, with a fake engine."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from ferry_core.api.report import Report, TableReport
from ferry_core.cli import engine
from ferry_core.cli.main import main
from ferry_core.errors import DataError, ExitCode, FerryError
from ferry_core.manifest import LoadedFerry
from ferry_core.reasons import Reason
from ferry_core.run.options import RunOptions
from tests.support.manifests import ferry_data, write_ferry


class FakeEngine:
    def __init__(self, outcome: ExitCode | FerryError) -> None:
        self.outcome = outcome
        self.options: RunOptions | None = None
        self.loaded: LoadedFerry | None = None

    def run(self) -> ExitCode:
        if isinstance(self.outcome, FerryError):
            raise self.outcome
        return self.outcome

    def stop(self) -> None:
        raise AssertionError("nobody asked")

    def snapshot(self) -> Report:
        return Report()

    def tables(self) -> list[TableReport]:
        return []

    def result_line(self) -> str:
        return "1,000 rows in 3s"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[ExitCode | FerryError], FakeEngine]:
    def make(outcome: ExitCode | FerryError = ExitCode.DONE) -> FakeEngine:
        made = FakeEngine(outcome)

        def start(loaded: LoadedFerry, options: RunOptions) -> FakeEngine:
            made.loaded, made.options = loaded, options
            return made

        monkeypatch.setattr(engine, "make_engine", start)
        return made

    return make


Make = Callable[..., FakeEngine]


def test_the_defaults(stand_in: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = stand_in()
    done = CliRunner().invoke(main, ["run", "-f", str(write_ferry(tmp_path, ferry_data()))])
    assert done.exit_code == 0, done.output
    assert made.options == RunOptions(state_path=Path("shop-orders.ferry.db"), listen="127.0.0.1:8080")
    assert done.stdout.splitlines()[-1] == "1,000 rows in 3s"
    assert "not supported yet" not in done.stderr
    assert "resumes" not in done.stderr


def test_every_option_reaches_the_engine(stand_in: Make, tmp_path: Path) -> None:
    made = stand_in()
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    state = tmp_path / "state.db"
    state.touch()
    file = write_ferry(tmp_path, ferry_data(checkpoint={"store": "Target"}))
    options = ["--state", str(state), "--listen", "[::]:0", "--token-file", str(token), "--tls-dir", str(tmp_path)]
    done = CliRunner().invoke(main, ["run", "-f", str(file), *options, "--progress", "none", "--log-level", "debug"])
    assert done.exit_code == 0, done.output
    assert made.options == RunOptions(state_path=state, listen="[::]:0", tokens={"token": "s3cret"}, tls_dir=tmp_path)
    assert f"{state} exists: this run resumes" in done.stderr
    assert "s3cret" not in done.output + repr(made.options)


def test_only_a_manifest_that_says_target_stores_the_state_on_the_target(stand_in: Make, tmp_path: Path) -> None:
    made = stand_in()
    file = write_ferry(tmp_path, ferry_data(checkpoint={"store": "Target"}))
    assert CliRunner().invoke(main, ["run", "-f", str(file), "--listen", "none"]).exit_code == 0
    assert made.options == RunOptions(state_path=None, listen=None)


def test_an_error_of_the_run_is_one_line_and_its_exit_code(stand_in: Make, tmp_path: Path) -> None:
    stand_in(DataError(Reason.SCHEMA_CHANGED, "ALTER TABLE shop.a"))
    done = CliRunner().invoke(main, ["run", "-f", str(write_ferry(tmp_path, ferry_data()))])
    assert done.exit_code == 65
    assert done.stderr.splitlines()[-1] == "ferry: SchemaChanged: ALTER TABLE shop.a"
    assert "1,000 rows" not in done.stdout


def test_json_logs_are_json_to_the_last_line(stand_in: Make, tmp_path: Path) -> None:
    stand_in()
    done = CliRunner().invoke(main, ["run", "-f", str(write_ferry(tmp_path, ferry_data())), "--log-format", "json"])
    assert all(line.startswith("{") for line in done.output.splitlines())
