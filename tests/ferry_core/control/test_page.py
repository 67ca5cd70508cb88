"""The status page in Chromium, as a person uses it: over a real ControlServer and a fake run."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from ferry_core.api.control import Settings
from ferry_core.api.durations import Duration
from ferry_core.api.report import Stage
from ferry_core.api.spec import ThreadsRunning
from ferry_core.control import live, routes
from ferry_core.control.managed import Managed
from ferry_core.control.server import ControlServer
from ferry_core.errors import DataError
from ferry_core.reasons import Condition, Reason
from tests.support.browser import chromium
from tests.support.control import TOKEN, Run, serving
from tests.support.tables import moves_of, simple_table
from tests.support.waits import PATIENCE_SECONDS

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
Open = Callable[..., Page]

pytestmark = pytest.mark.timeout(600)
expect.set_options(timeout=PATIENCE_SECONDS * 1000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open a server's page; the test fails if the page logs an error or an exception."""
    contexts, problems = [], []

    def opened(server: ControlServer, *, own_clock: bool = False, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_SECONDS * 1000)
        page = context.new_page()
        if own_clock:
            page.clock.install()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if "Security Policy" in said.text else None)
        page.goto(f"{server.url}/")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def asked(page: Page, run: Run, *what: object) -> None:
    """Wait until the page says that its command was answered."""
    expect(page.locator("#said")).not_to_have_text("")
    assert run.asked == list(what)


def test_it_says_what_happens_and_moves_with_the_run(server: ControlServer, run: Run, open_page: Open) -> None:
    run.progress.set_message("copying 1 of 1 tables")
    page = open_page(server)
    expect(page.locator("#phase")).to_have_text("Copying")
    expect(page.locator("#now")).to_have_text("Now: copying 1 of 1 tables")
    expect(page.locator("#next")).to_contain_text("Next: changes are applied")
    expect(page).to_have_title(re.compile(r"^Copying 0% shop/orders$"))
    run.progress.set_condition(Condition.COPY_COMPLETE, True, Reason.ALL_TABLES_COPIED, "")
    run.progress.set_condition(Condition.CAUGHT_UP, False, Reason.LAG_ABOVE_THRESHOLD, "lag 7 s")
    run.progress.set_stage(Stage.STREAMING, "streaming changes")
    expect(page.locator("#phase")).to_have_text("Streaming")
    expect(page.locator("#gates li").nth(1)).to_contain_text("All rows are copied: ✓ yes")
    expect(page.locator("#gates li").nth(2)).to_contain_text("✗ no (LagAboveThreshold) lag 7 s")
    expect(page.locator("#events li").first).to_contain_text("The stage is Streaming")
    expect(page.locator("#charts figure")).to_have_count(4)


def test_names_and_messages_are_never_markup(server: ControlServer, run: Run, open_page: Open) -> None:
    run.progress.begin(moves_of([simple_table(HOSTILE)]))
    run.progress.set_message(HOSTILE)
    run.progress.set_condition(Condition.VALIDATED, False, Reason.PASSED, HOSTILE)
    page = open_page(server)
    expect(page.locator("#rows td").first).to_contain_text(HOSTILE)
    expect(page.locator("#now")).to_have_text(f"Now: {HOSTILE}")
    expect(page.locator("#events li").filter(has_text="Validated")).to_contain_text(HOSTILE)
    assert page.locator("img").count() == 0
    assert "owned" not in page.title()


def test_five_thousand_tables_are_searched_sorted_and_filtered(
    server: ControlServer, run: Run, open_page: Open
) -> None:
    moves = moves_of([simple_table(f"t{number:04}", rows=number) for number in range(5000)])
    run.progress.begin(moves)
    page = open_page(server)
    rows, found = page.locator("#rows tr"), page.locator("#found")
    expect(found).to_have_text("5,000 of 5,000 tables")
    expect(rows).to_have_count(100)
    page.get_by_role("button", name="Next page").click()
    expect(page.locator("#page")).to_have_text("Page 2 of 50")
    page.get_by_label("Search").fill("T004")
    expect(found).to_have_text("10 of 5,000 tables")
    page.get_by_role("button", name="Table", exact=True).click()
    expect(rows.first).to_contain_text("shop.t0040")
    page.get_by_role("button", name="Table", exact=True).click()
    expect(rows.first).to_contain_text("shop.t0049")
    expect(page.get_by_role("columnheader", name="Table")).to_have_attribute("aria-sort", "descending")
    run.progress.set_pending({moves[44]: 12})
    page.get_by_role("button", name="Keys pending").click()
    expect(rows.first).to_contain_text("shop.t0044")
    page.get_by_label("State").select_option("Copied")
    expect(found).to_have_text("0 of 5,000 tables")


def test_commands(server: ControlServer, run: Run, open_page: Open) -> None:
    page = open_page(server)
    page.get_by_role("button", name="Pause").click()
    asked(page, run, "pause")
    run.wanted = run.wanted.model_copy(update={"paused": True})
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#said")).to_have_text("rows move again")
    run.wanted = run.wanted.model_copy(update={"paused": False})
    page.get_by_role("button", name="Throttle").click()
    page.get_by_role("dialog").get_by_label("Rows per second").fill("500")
    page.get_by_role("button", name="Apply").last.click()
    expect(page.locator("#said")).to_have_text("at most 500 rows a second")
    run.refuse_with = DataError(Reason.ALREADY_CUT_OVER, "it is done")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#said")).to_have_text("Refused: it is done")
    assert run.asked == ["pause", "resume", ("throttle", 500)]


@pytest.mark.parametrize(("button", "yes", "verb"), [
    ("Cut over", "Approve the cutover", "cutover"), ("Abort", "Abort for good", "abort"),
])  # fmt: skip
def test_what_cannot_be_undone_is_asked_first(
    server: ControlServer, run: Run, open_page: Open, button: str, yes: str, verb: str
) -> None:
    page = open_page(server)
    for key in ("Escape", "Enter"):  # Enter, because Cancel has the focus
        page.get_by_role("button", name=button).click()
        expect(page.get_by_role("dialog")).to_contain_text("cannot be undone")
        expect(page.get_by_role("button", name="Cancel")).to_be_focused()
        page.keyboard.press(key)
        expect(page.get_by_role("dialog")).to_have_count(0)
    assert run.asked == []
    page.get_by_role("button", name=button).click()
    page.get_by_role("button", name=yes).click()
    asked(page, run, verb)


def test_an_approval_can_be_withdrawn(server: ControlServer, run: Run, open_page: Open) -> None:
    cutover = run.wanted.cutover.model_copy(update={"approved": True})
    run.wanted = run.wanted.model_copy(update={"cutover": cutover})
    page = open_page(server)
    page.get_by_role("button", name="Withdraw approval").click()
    asked(page, run, "withdraw")
    expect(page.get_by_role("button", name="Cut over")).to_have_count(0)


def test_settings_are_shown_and_changed(server: ControlServer, run: Run, open_page: Open) -> None:
    page = open_page(server)
    expect(page.get_by_label("Workers")).to_have_value("4")
    page.get_by_label("Workers").fill("2")
    page.locator("[name='throttle.maxRowsPerSecond']").fill("7")
    page.get_by_label("Running threads, target").fill("60")
    page.get_by_label("Largest lag of a replica").fill("5s")
    page.get_by_label("Active hours").fill("20:00-06:00 Europe/Berlin")
    page.locator("#settings button").click()
    expect(page.locator("#said")).to_have_text("The settings are applied.")
    (settings,) = run.asked
    assert isinstance(settings, Settings)
    assert (settings.copy_.workers, settings.throttle.max_rows_per_second) == (2, 7)
    assert settings.throttle.max_threads_running == ThreadsRunning(target=60)
    assert settings.throttle.max_replica_lag == Duration("5s")
    assert settings.throttle.query is None
    assert settings.copy_.chunk_target_duration == 0.5


def test_only_edited_settings_are_sent_and_edits_survive_a_reload(
    server: ControlServer, run: Run, open_page: Open
) -> None:
    page = open_page(server)
    workers, rate = page.get_by_label("Workers"), page.locator("[name='throttle.maxRowsPerSecond']")
    expect(workers).to_have_value("4")
    workers.fill("2")
    others = Settings.model_validate({"copy": {"workers": 8}, "throttle": {"maxRowsPerSecond": 77}})
    run.wanted = run.wanted.model_copy(update={"copy_": others.copy_, "throttle": others.throttle})
    page.get_by_role("button", name="Throttle").click()
    page.get_by_role("dialog").get_by_label("Rows per second").fill("500")
    page.get_by_role("button", name="Apply").last.click()  # loads the settings again
    expect(rate).to_have_value("77")
    expect(workers).to_have_value("2")
    page.locator("#settings button").click()
    expect(page.locator("#said")).to_have_text("The settings are applied.")
    settings = run.asked[-1]
    assert isinstance(settings, Settings)
    assert (settings.copy_.workers, settings.throttle.max_rows_per_second) == (2, 77)


def test_under_an_operator_it_shows_the_line_to_copy(run: Run, open_page: Open) -> None:
    with serving(run, managed=Managed("shop", "orders")) as server:
        page = open_page(server)
        for button in ("Pause", "Abort"):
            expect(page.locator("#name")).to_have_text("shop/orders")
            page.get_by_role("button", name=button).click()
            expect(page.locator("#ask-command")).to_contain_text("kubectl patch ferry orders -n shop --type merge -p")
            page.get_by_role("button", name="Cancel").click()
            expect(page.get_by_role("dialog")).to_have_count(0)
    assert run.asked == []


def test_it_asks_for_the_token(run: Run, open_page: Open) -> None:
    with serving(run, token=TOKEN) as server:
        page = open_page(server)
        expect(page.get_by_label("Token")).to_be_focused()
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#connection")).to_have_text("This token is not accepted.")
        expect(page.locator("#main")).to_be_hidden()


def test_it_says_that_the_run_is_away_and_comes_back(run: Run, open_page: Open) -> None:
    with serving(run) as server:
        listen = str(server.address)
        page = open_page(server)
        expect(page.locator("#phase")).to_have_text("Copying")
    expect(page.locator("#connection")).to_contain_text("No answer from the run")
    run.progress.set_stage(Stage.STREAMING)
    with serving(run, listen):
        expect(page.locator("#phase")).to_have_text("Streaming")
        expect(page.locator("#connection")).to_have_text("")


def test_a_connection_that_fell_silent_is_given_up(server: ControlServer, run: Run, open_page: Open) -> None:
    """A machine that vanishes closes nothing, and old figures would look like the present."""
    page = open_page(server, own_clock=True)
    expect(page.locator("#phase")).to_have_text("Copying")
    page.clock.run_for(46_000)
    expect(page.locator("#connection")).to_contain_text("it has been silent")
    run.progress.set_stage(Stage.STREAMING)
    page.clock.run_for(3_000)
    expect(page.locator("#phase")).to_have_text("Streaming")
    expect(page.locator("#connection")).to_have_text("")


def test_it_says_why_it_is_refused(server: ControlServer, open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_STREAMS", 0)
    page = open_page(server)
    expect(page.locator("#connection")).to_contain_text("The run refuses: 0 clients follow the events already")


def test_a_page_of_another_version_loads_itself_again(
    server: ControlServer, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page(server)
    expect(page.locator("#phase")).to_have_text("Copying")
    with page.expect_navigation():
        monkeypatch.setattr(routes, "version", lambda _: "99.0")
    expect(page.locator("#phase")).to_have_text("Copying")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 375)])
def test_it_is_accessible_and_fits(server: ControlServer, run: Run, open_page: Open, scheme: str, width: int) -> None:
    run.progress.begin(moves_of([simple_table(f"a_rather_long_table_name_{number}", rows=9) for number in range(300)]))
    run.progress.set_condition(Condition.STALLED, True, Reason.ROWS_DIFFER, "see the log")
    page = open_page(server, color_scheme=scheme, viewport={"width": width, "height": 800})
    expect(page.locator("#rows tr")).to_have_count(100)
    found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("button", name="Abort").click()
    assert Axe().run(page).response["violations"] == []
