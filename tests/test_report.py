"""The report in a real browser, from disk and without a network."""

import pathlib

import numpy as np
from PIL import Image
import pytest

from balle2017.evaluation import baselines, bd, measuring, report, results
from helpers.browser import chromium

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    random = np.random.default_rng(0)
    for name in ("first", "second"):
        small = Image.fromarray(random.integers(0, 256, [12, 16, 3], np.uint8))
        small.resize((256, 192), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    chosen = [(baselines.Jpeg(), (5, 30, 80)), (baselines.Jpeg2000(), (0.2, 0.5, 1.5))]
    paths = measuring.find_images(folder)
    records = measuring.evaluate(paths, chosen, folder / "kept")
    published = bd.load_published(ROOT / "experiments/data/kodak")
    content = report.Report(
        "A </script> title", results.curves_by_image(records, chosen), published,
        visible=["tfc-jpeg420"], viewer=results.viewer(paths, chosen, 2, [0.4, 1.0]))  # fmt: skip
    report.write(folder / "report.html", content)
    return folder / "report.html"


def test_page_is_self_contained(page):
    text = page.read_text(encoding="utf-8")
    for word in ('src="http', 'href="http', "url(http", "@import", "fetch("):
        assert word not in text
    assert not list(page.parent.glob("*.tmp"))


def test_viewer_compares_at_matched_size():
    pixels = np.array(Image.effect_noise((160, 160), 40).convert("RGB"))
    image = report.compare("noise", pixels, [baselines.Jpeg(), baselines.WebP()], [1.0, 2.0])
    assert [size["bytes"] for size in image["sizes"]] == sorted(size["bytes"] for size in image["sizes"])
    for size in image["sizes"]:
        for file in size["files"]:
            assert abs(file["bytes"] / size["bytes"] - 1) < 0.1


@pytest.fixture(scope="module")
def browser(page):
    with chromium(page.parent / "profile", page.as_uri(), window="1280,1600") as browser:
        yield browser


def test_report_in_a_browser(browser):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.ui import Select

    def find(css):
        return browser.find_element("css selector", css)

    def text(css):
        return find(css).text

    def select(name, choice):
        Select(find(f"#{name}")).select_by_visible_text(choice)

    def natural_width(name):
        script = f"const i = document.getElementById('{name}'); return i.complete ? i.naturalWidth : -1"
        for _ in range(50):
            width = browser.execute_script(script)
            if width > 0:
                return width
        return width

    assert browser.title == "A </script> title"

    # Curves: two measured and one published, and values under the pointer.
    assert len(browser.find_elements("css selector", "#psnr path")) == 3
    dots = browser.find_elements("css selector", "#ms_ssim circle[r='3.4']")
    ActionChains(browser).move_to_element(dots[0]).perform()
    assert "bpp" in text("#tip") and "MS-SSIM" in text("#tip")
    find("#components button:last-child").click()
    assert "luma" in text("#psnr-title")
    find("#legend button").click()
    assert len(browser.find_elements("css selector", "#psnr path")) == 2
    find("#legend button").click()
    select("set", "second.png")
    assert len(browser.find_elements("css selector", "#psnr path")) == 2

    # BD-rates: the measured pair, then with the published ones.
    assert len(browser.find_elements("css selector", "#matrix tbody tr")) == 2
    find("#bd-published").click()
    assert len(browser.find_elements("css selector", "#matrix tbody tr")) > 10
    before = text("#matrix")
    find("#bd-kind button:last-child").click()
    assert text("#matrix") != before

    # Viewer: the slider moves the border between the two images.
    assert natural_width("image-left") == natural_width("image-right") == 256
    clip = browser.execute_script("return document.getElementById('clip').style.clipPath")
    slider = find("#slider")
    ActionChains(browser).move_to_element(slider).click_and_hold().move_by_offset(-200, 0).release().perform()
    assert int(slider.get_attribute("value")) < 400
    assert browser.execute_script("return document.getElementById('clip').style.clipPath") != clip

    # Another image, another size, another codec: each is another picture.
    shown = find("#image-left").get_attribute("src")
    caption = text("#caption-left")
    select("image", "second.png")
    assert find("#image-left").get_attribute("src") != shown
    assert natural_width("image-left") == 256
    Select(find("#size")).select_by_index(1)
    assert text("#caption-left") != caption
    select("right", "Original")
    assert text("#tag-right") == "Original" and natural_width("image-right") == 256
    browser.find_elements("css selector", "#zoom button")[3].click()
    assert "scale(4)" in find("#image-left").get_attribute("style")
    assert "scale(4)" in find("#image-right").get_attribute("style")

    assert browser.get_log("browser") == []


def test_report_fits_a_telephone(browser, page):
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        browser.get(page.as_uri())
        assert browser.execute_script("return [innerWidth, document.documentElement.scrollWidth]") == [390, 390]
        # What is wider, tables and zoomed pictures, scrolls inside of its own box.
        wide = browser.execute_script(
            "return [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, #stage, svg')"
            " && e.getBoundingClientRect().right > 390).map(e => e.outerHTML.slice(0, 80))"
        )
        assert wide == []
        small = browser.execute_script(
            "return [...document.querySelectorAll('svg text')].filter(e => e.getBoundingClientRect().height < 9)"
            ".map(e => e.textContent)"
        )
        assert small == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
