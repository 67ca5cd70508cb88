"""A person moves a schema with nothing but the status page: watches, pauses, resumes, verifies and cuts over."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import chromium
from tests.support.ferry_cli import LONG_SECONDS, FerryCli
from tests.support.servers import Pair

ROWS = 6000
NUMBERS = " UNION ALL ".join(f"SELECT {n} AS n" for n in range(10))

pytestmark = pytest.mark.timeout(1200)


def click(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_a_move_from_the_page_alone(tmp_path: Path, mysql_pair: Pair, schema: str) -> None:
    pair = mysql_pair  # the page is the same for both families
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE `<i>orders</i>` (id INT PRIMARY KEY, v VARCHAR(80)) ENGINE=InnoDB",
        f"INSERT INTO `<i>orders</i>` WITH d AS ({NUMBERS}) SELECT a.n + b.n * 10 + c.n * 100 + e.n * 1000, 'x'"
        f" FROM d a, d b, d c, d e WHERE e.n < {ROWS // 1000}",
    )
    cutover = {"watchFor": "5m"}  # so that the end is seen; the test ends the run
    cli = FerryCli(tmp_path / "ferry", pair, schema, throttle={"maxRowsPerSecond": 200}, cutover=cutover)
    with cli.process() as process, chromium() as browser:
        process.start().wait_stage("Copying")
        page = browser.new_page()
        page.set_default_timeout(LONG_SECONDS * 1000)
        expect.set_options(timeout=LONG_SECONDS * 1000)
        page.goto(f"http://127.0.0.1:{process.port}/")
        phase = page.locator("#phase")
        expect(phase).to_have_text("Copying")
        expect(page.locator("#rows td").first).to_contain_text("<i>orders</i>")
        expect(page.locator("#percent")).not_to_have_text("0%")
        expect(page.locator("#facts")).to_contain_text("rows-per-second 200 >= 200")
        click(page, "Pause")
        expect(phase).to_have_text("Paused")
        assert process.status()["phase"] == "Paused"
        click(page, "Resume")
        expect(phase).to_have_text("Copying")
        click(page, "Throttle…")
        page.locator("#ask-yes").click()
        expect(page.locator("#said")).to_have_text("no cap of rows a second")
        expect(phase).to_have_text("ReadyForCutover")
        expect(page.locator("#gates li").nth(4)).to_contain_text("Every gate is passed: ✓ yes")
        click(page, "Verify")
        expect(page.locator("#said")).to_have_text("all tables are compared again; the status tells what differs")
        expect(page.locator("#events")).to_contain_text("comparing 1 table again, as asked for")
        expect(page.locator("#events")).to_contain_text(f"compared {ROWS} rows: no difference")
        click(page, "Cut over…")
        page.screenshot(path=tmp_path / "asks.png")
        click(page, "Approve the cutover")
        expect(page.locator("#gates li").last).to_contain_text("Cut over: ✓ yes")
        expect(page.locator("#events")).to_contain_text(re.compile("Cutover attempt 1 began"))
        page.screenshot(path=tmp_path / "moved.png", full_page=True)
        assert pair.target.query(f"SELECT COUNT(*) FROM `{schema}`.`<i>orders</i>`") == [(ROWS,)]
        assert "command cutover {} by anybody on this machine from 127.0.0.1: accepted" in process.log.read_text()
