"""A real browser, for tests of pages."""

import contextlib
import shutil

import pytest


@contextlib.contextmanager
def chromium(profile, url, window="1400,900"):
    """A headless browser with an address open, or a skipped test where there is none.

    Args:
      profile: Folder of its own.
      url: Address.
      window: Width and height in pixels.
    """
    webdriver = pytest.importorskip("selenium.webdriver", reason="the browser test needs the package selenium")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("the browser test needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking",
                     "disable-component-update", "disable-sync", "disable-quic", "no-first-run",
                     f"window-size={window}"):  # fmt: skip
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    browser.set_script_timeout(300)
    try:
        browser.get(url)
        yield browser
    finally:
        browser.quit()
