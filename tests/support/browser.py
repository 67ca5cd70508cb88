"""A Chromium for tests of the status page: the machine's own, or Debian's, installed once."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes.util import find_library

import pytest
from playwright.sync_api import Browser, sync_playwright

from hack.installing import Unavailable, apt_install, locked
from tests.support.waits import PATIENCE_SECONDS


def _command() -> str:
    """Its path. If there is none and it cannot be installed: skips with a message, or fails on a CI machine."""
    try:
        with locked("chromium"):
            # Playwright's driver needs libatomic, which a bare Debian does not have.
            if shutil.which("chromium") is None or find_library("atomic") is None:
                apt_install("chromium", "fonts-dejavu-core", "libatomic1")
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"NO CHROMIUM, THE STATUS PAGE IS NOT TESTED: {error}", pytrace=False)
        pytest.skip(f"no Chromium: {error}")
    return shutil.which("chromium") or "chromium"


@contextmanager
def chromium() -> Iterator[Browser]:
    command = _command()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=command, args=["--no-sandbox", "--disable-gpu"], timeout=PATIENCE_SECONDS * 1000
        )
        try:
            yield browser
        finally:
            browser.close()
