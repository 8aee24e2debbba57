"""The web page as a person uses it, in a real browser; also without a network."""

import base64
import contextlib
import io
import json
import pathlib
import re
import signal
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

from balle2017 import codec, tfci
from balle2017.container import bitstream
from balle2017.evaluation import metrics
from balle2017.web.server import address
from balle2017.web.site import Site
from helpers.browser import chromium
from helpers.pictures import gradient, photograph, saved
from helpers.web import (
    DROP,
    KODAK,
    PRELUDE,
    RATE_POINTS,
    Page,
    as_png,
    assert_same_pixels,
    drop,
    encoded,
    page_decodes,
    page_encodes,
    serving,
)

ROOT = pathlib.Path(__file__).parents[1]


def test_a_photograph_in_the_page(browser, page_server, page_models_dir, tmp_path):
    from selenium.webdriver import ActionChains, Keys

    browser.get(address(page_server))
    page = Page(browser)
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.open(KODAK)
    page.wait(lambda: page.find("#work").is_displayed())
    for option in page.find("#family").find_elements("css selector", "option"):
        if option.text == "bls2017-mse":
            option.click()
    page.find("#rate").send_keys(Keys.HOME)
    page.wait_until_compared(RATE_POINTS[0])
    small = page.sizes()
    page.find("#rate").send_keys(Keys.END)
    page.wait(lambda: page.sizes() != small)
    page.wait_until_compared(RATE_POINTS[1])
    # What is being coded has no figures of what was there before.
    drop(browser, [("noise.png", as_png(np.random.default_rng(0).integers(0, 256, (512, 768, 3), np.uint8)))])
    page.wait(lambda: page.text("#name") == "noise.png")
    assert page.sizes()[:3] == ["…"] * 3
    page.open(KODAK)
    page.wait(lambda: page.text("#name") == "kodak-23.png" and "…" not in page.sizes())
    # With as many bytes JPEG is worse.
    psnr = [float(cell.text) for cell in browser.find_elements("css selector", "tbody td:nth-child(4)") if cell.text]
    assert psnr[0] > psnr[1] + 2
    pixels = np.asarray(Image.open(KODAK))
    own = codec.load(RATE_POINTS[1], page_models_dir).compress(pixels)
    assert psnr[0] == pytest.approx(metrics.psnr(pixels, codec.decompress(own, page_models_dir).pixels), abs=0.02)
    page.find("input[value=jpeg]").click()
    assert page.text("#left-tag").startswith("JPEG")

    # The divider by the mouse and the keyboard, and the zoom.
    divider = page.find("#divider")
    ActionChains(browser).drag_and_drop_by_offset(divider, -200, 0).perform()
    moved = int(divider.get_attribute("aria-valuenow"))
    assert moved < 40
    divider.send_keys(Keys.ARROW_LEFT)
    assert int(divider.get_attribute("aria-valuenow")) == moved - 2
    page.find("#zoom-in").click()
    assert page.text("#zoom-label") == "200 %"
    page.find("#stage").send_keys("0")
    assert page.text("#zoom-label") == "100 %"

    page.find("#download").click()
    path = tmp_path / "kodak-23.tfci"
    page.wait(path.is_file)
    arguments = ["decompress", str(path), str(tmp_path / "again.png"), "--models_dir", str(page_models_dir)]
    assert tfci.main(arguments) == 0
    assert metrics.psnr(pixels, np.asarray(Image.open(tmp_path / "again.png"))) == pytest.approx(psnr[0], abs=0.01)

    # And back, as a file that is dropped would be.
    page.open(path)
    page.wait(lambda: page.text("#status") == "Decoded.")
    assert RATE_POINTS[1] in page.text("#decoding")
    page.find("#save").click()
    page.wait((tmp_path / "kodak-23.png").is_file)
    assert_same_pixels(
        np.asarray(Image.open(tmp_path / "kodak-23.png").convert("RGB")), np.asarray(Image.open(tmp_path / "again.png"))
    )
    assert browser.get_log("browser") == []


def test_a_family_for_ms_ssim_is_compared_by_it(page_models_dir, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    for source in (page_models_dir / RATE_POINTS[0], codec.models_dir() / "bls2017-msssim-3"):
        (folder / source.name).symlink_to(source)
    pixels = np.asarray(Image.open(KODAK).convert("RGB"))
    odd, small = pixels[:493, :731], pixels[:160, :240]
    with serving(Site(folder)) as server, chromium(tmp_path / "profile", address(server)) as browser:
        page = Page(browser)
        drop(browser, [("odd.png", as_png(odd))])
        page.wait_until_compared(RATE_POINTS[0])
        assert page.text("thead").endswith("PSNR, dB")
        page.find("#family").send_keys("bls2017-msssim")
        page.wait_until_compared("bls2017-msssim-3")
        assert page.text("thead").endswith("MS-SSIM")
        cells = browser.find_elements("css selector", "tbody td:nth-child(4)")[:3]
        own, jpeg, webp = (float(cell.get_attribute("title").removeprefix("MS-SSIM ")) for cell in cells)
        decoded = codec.decompress(codec.load("bls2017-msssim-3", folder).compress(odd), folder).pixels
        assert own == pytest.approx(metrics.ms_ssim(odd, decoded), abs=1e-4)
        # With as many bytes the others are worse.
        assert own > max(jpeg, webp) and page.text("#right-tag").endswith(f"MS-SSIM {own:.3f}")
        assert [cell.text for cell in cells] == [f"{figure:.3f}" for figure in (own, jpeg, webp)]
        # Smaller pictures do not have all scales.
        drop(browser, [("small.png", as_png(small))])
        page.wait(lambda: page.text("#name") == "small.png" and "…" not in page.sizes())
        assert page.text("thead").endswith("PSNR, dB") and page.text("#right-tag").endswith("dB")
        assert browser.get_log("browser") == []


def test_what_is_no_picture_gets_a_sentence(browser, page_server, small_file, tmp_path):
    browser.get(address(page_server))
    page = Page(browser)
    for data, name, sentence in [
        (b"no picture", "notes.txt", "neither a .tfci file nor a picture"),
        (b"", "empty.tfci", "The file is empty."),
        (small_file[:-1], "cut.tfci", "The file is damaged"),
        (b"no picture", "other.tfci", "not a .tfci file of balle2017"),
        (saved(Image.fromarray(gradient()), "TIFF").read(), "a.tif", "a TIFF picture like this; the command balle2017"),
        (saved(Image.fromarray(gradient()), "JPEG2000").read(), "a.jp2", "cannot read a JPEG 2000 picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a.heic", "reads them where the Python package pillow-heif is"),
        (b"\xff\x0a\xfa\x7f", "a.jxl", "reads them where the Python package pillow-jxl-plugin is"),
        (b"II", "b.tif", "neither a .tfci file nor a picture"),
    ]:
        (tmp_path / name).write_bytes(data)
        page.open(tmp_path / name)
        page.wait(lambda sentence=sentence: sentence in page.text("#error"))
    (tmp_path / "good.tfci").write_bytes(small_file)
    page.open(tmp_path / "good.tfci")
    page.wait(lambda: page.text("#status") == "Decoded.")
    assert not page.find("#error").is_displayed()
    assert browser.get_log("browser") == []


def test_of_files_that_follow_each_other_quickly_the_last_stays(browser, page_server, small_file):
    browser.get(address(page_server))
    page = Page(browser)
    large, small = ("large.png", as_png(photograph(400, 600))), ("small.png", as_png(photograph(48, 64)))
    file, notes = ("good.tfci", small_file), ("notes.txt", b"no picture")
    for first, last, facts in [
        (large, file, "40 × 60 pixels"), (file, small, "64 × 48 pixels"), (large, small, "64 × 48 pixels"),
        (notes, file, "40 × 60 pixels"),
    ]:  # fmt: skip
        drop(browser, [first], [last])
        page.wait(lambda last=last: page.text("#name") == last[0] and not page.find("#progress").is_displayed())
        assert page.text("#facts").startswith(facts)
        assert not page.find("#error").is_displayed()
    # A slider that belongs to the photograph before does nothing.
    drop(browser, [large])
    page.wait(lambda: page.text("#name") == large[0])
    move = "document.querySelector('#rate').dispatchEvent(new Event('input')); done();"
    browser.execute_async_script(PRELUDE + DROP.replace("done();", move), [[(file[0], encoded(file[1]))]])
    page.wait(lambda: page.text("#status") == "Decoded.")
    assert page.find("#work").get_attribute("aria-busy") == "false"
    drop(browser, [small], [notes])
    page.wait(lambda: "neither a .tfci file nor a picture" in page.text("#error"))
    assert not page.find("#work").is_displayed()


def test_files_that_are_dropped_together_and_folders(browser, page_server, small_file, tmp_path):
    browser.get(address(page_server))
    page = Page(browser)
    drop(browser, [("good.tfci", small_file), ("notes.txt", b"no picture")])
    page.wait(lambda: page.text("#status") == "Decoded.")
    assert page.text("#name") == "good.tfci"
    assert page.text("#others") == "One file at a time: this is the first of 2."
    data = {"items": [], "files": [str(tmp_path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})
    page.wait(lambda: page.text("#error") == "The file cannot be read; if it is a folder, open a file in it.")
    assert browser.get_log("browser") == []


def test_colours_of_a_profile_are_shown_as_they_are_meant(browser, page_server, page_models_dir, tmp_path):
    from PIL import ImageCms

    # sRGB with red and blue exchanged: twelve bytes for each tag begin with its name.
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for at in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12):
        other = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(bytes(profile[at : at + 4]))
        profile[at : at + 4] = other or profile[at : at + 4]
    model = codec.load(RATE_POINTS[0], page_models_dir)
    pixels = np.asarray(Image.open(KODAK).convert("RGB"))[100:260, 200:440]
    (tmp_path / "profile.tfci").write_bytes(model.compress(pixels, {"ICCP": bytes(profile)}))
    browser.get(address(page_server))
    page = Page(browser)
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.open(tmp_path / "profile.tfci")
    page.wait(lambda: page.text("#status") == "Decoded.")
    page.find("#save").click()
    page.wait((tmp_path / "profile.png").is_file)
    shown = np.asarray(Image.open(tmp_path / "profile.png").convert("RGB")).astype(int)
    assert np.mean(np.abs(shown - codec.decompress(model.compress(pixels), page_models_dir).pixels[..., ::-1])) < 1
    assert browser.get_log("browser") == []


@contextlib.contextmanager
def command(page_models_dir):
    """`balle2017 web` in a process of its own, and where its page is."""
    arguments = ["web", "--models_dir", str(page_models_dir), "--no_browser", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "balle2017", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        # A test run in the background of a script inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        yield process, re.search(r"http://\S+", process.stdout.readline())[0]
    finally:
        process.kill()
        process.wait()


def test_the_page_works_without_a_network(page_models_dir, small_file, tmp_path):
    keys = pytest.importorskip("selenium.webdriver", reason="the browser test needs the package selenium").Keys
    png = io.BytesIO()
    Image.fromarray(photograph(60, 40)).save(png, "PNG")
    encode = "balle2017.encode(new Blob([bytes(arguments[0])]), arguments[1]).catch((e) => e.message).then(done)"
    with command(page_models_dir) as (process, url), chromium(tmp_path / "profile", url) as browser:
        page = Page(browser)
        ready = "navigator.serviceWorker.ready.then(() => done(Boolean(navigator.serviceWorker.controller)))"
        page.wait(lambda: browser.execute_async_script(PRELUDE + ready))
        page_decodes(browser, small_file)
        page_encodes(browser, png.getvalue(), "golden-2")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        browser.get(url)
        assert page_decodes(browser, small_file)[1].shape == (60, 40, 3)
        assert page_encodes(browser, png.getvalue(), "golden-2")
        # The weights of another model have never been fetched.
        sentence = browser.execute_async_script(PRELUDE + encode, encoded(png.getvalue()), "golden-1")
        assert sentence.startswith("The model golden-1 cannot be fetched: there is no network")
        assert browser.execute_script("return self.crossOriginIsolated")
        # A rate point that is not there leaves the one that is.
        drop(browser, [("small.png", png.getvalue())])
        page.wait(lambda: page.text("#error").startswith("The model bls2017-mse-"))
        page.find("#family").send_keys("golden")
        rate = page.find("#rate")
        rate.send_keys(keys.HOME, keys.ARROW_RIGHT)
        page.wait_until_compared("golden-2")
        rate.send_keys(keys.HOME)
        page.wait(lambda: page.text("#error").startswith("The model golden-1 cannot be fetched"))
        assert page.text("#model") == "golden-2" and rate.get_attribute("value") == "1"
        assert page.text("#right-tag").endswith("dB") and page.find("#download").is_enabled()
        # Only the browser's own notice of what could not be fetched.
        assert all("ERR_CONNECTION_REFUSED" in entry["message"] for entry in browser.get_log("browser"))


def test_weights_that_arrive_damaged_are_not_kept(browser, page_models_dir):
    site = Site(page_models_dir)
    whole = site.contents
    (encoder,) = (model["encoder"]["folder"] for model in site.index["models"] if model["name"] == "golden-2")
    encode = "balle2017.encode(new Blob([bytes(arguments[0])]), 'golden-2').then(text, (e) => e.message).then(done)"
    png = encoded(as_png(photograph(40, 60)))
    # Without TensorFlow the weights lie in another file than a SavedModel's.
    weights = json.loads(whole(f"{encoder}/arrays.json"))["file"]
    with serving(site) as server:
        browser.get(address(server))
        for damage in (lambda data: data[:1000], lambda data: data[:-1] + bytes([data[-1] ^ 1])):
            for name in ("arrays.json", "analysis.onnx", weights):
                broken = {f"{encoder}/{name}": damage(whole(f"{encoder}/{name}"))}
                site.contents = lambda path, broken=broken: broken.get(path) or whole(path)
                sentence = browser.execute_async_script(PRELUDE + encode, png)
                assert sentence == "The model golden-2 has not arrived whole; try it again."
        site.contents = whole
        data = base64.b64decode(browser.execute_async_script(PRELUDE + encode, png))
        assert bitstream.unpack(data).model == "golden-2"
