"""The codec as a web page, in a real browser: what the package decodes and encodes, without a network."""

import base64
import contextlib
import dataclasses
import hashlib
import http.client
import io
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
from PIL import Image
import pytest

from balle2017 import codec, tfci
from balle2017.container import bitstream
from balle2017.container.bitstream import BitstreamError
from balle2017.evaluation import metrics
from balle2017.saved_model import stored_arrays
from balle2017.web.server import address, make_server
from balle2017.web.site import STATIC, Site
from helpers.files import lying_header, sealed
from helpers.pictures import photograph
from helpers.rate_points import export_for_all

ROOT = pathlib.Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
KODAK = ROOT / "examples" / "kodak-23.png"
RATE_POINTS = ("bls2017-mse-2", "bls2017-mse-6")
# What the page's functions give as text; arrays as the base64 of their bytes.
PRELUDE = """
const done = arguments[arguments.length - 1];
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const text = (array) => {
  const all = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let out = "";
  for (let i = 0; i < all.length; i += 32768) out += String.fromCharCode(...all.subarray(i, i + 32768));
  return btoa(out);
};
const answer = (promise) => promise.then((value) => done({ value }), (error) => done({ error: error.message }));
"""


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory):
    """The tiny golden models and two rate points that ship."""
    sys.path.insert(0, str(GOLDEN))
    import make

    folder = tmp_path_factory.mktemp("models")
    for name in make.TINY:
        *older, newest = make.load_versions(name)
        export_for_all(newest, folder / name, older=older)
    for name in RATE_POINTS:
        (folder / name).symlink_to(codec.models_dir() / name)
    return folder


@contextlib.contextmanager
def serving(site, port=0):
    server = make_server(site, port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def server(models_dir):
    with serving(Site(models_dir)) as server:
        yield server


@contextlib.contextmanager
def chromium(profile, url):
    webdriver = pytest.importorskip("selenium.webdriver", reason="the browser test needs the package selenium")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("the browser test needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking",
                     "disable-component-update", "disable-sync", "no-first-run", "window-size=1400,900"):  # fmt: skip
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


@pytest.fixture(scope="module")
def browser(server, tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile"), address(server)) as browser:
        yield browser


def call(browser, script, *args):
    """What a promise in the page gives, or the message that it is rejected with."""
    result = browser.execute_async_script(PRELUDE + script, *args)
    assert "error" not in result, result["error"]
    return result["value"]


def encoded(data):
    return base64.b64encode(data).decode("ascii")


def array(text, dtype, shape):
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)


def page_decodes(browser, data):
    """Latents `[h, w, N]` and pixels `[height, width, 3]` of a file, by the page."""
    script = """answer(balle2017.decode(bytes(arguments[0])).then(({ latents, pixels }) => ({
        ...latents, data: text(latents.data), pixels: text(pixels.data), size: [pixels.height, pixels.width] })))"""
    result = call(browser, script, encoded(data))
    latents = array(result["data"], "<i4", [result["height"], result["width"], -1])
    return latents, array(result["pixels"], np.uint8, [*result["size"], 4])[..., :3]


def page_encodes(browser, picture, model):
    """A picture file as a .tfci file, by the page."""
    script = "answer(balle2017.encode(new Blob([bytes(arguments[0])]), arguments[1]).then(text))"
    return base64.b64decode(call(browser, script, encoded(picture), model))


def assert_same_pixels(pixels, expected):
    difference = np.abs(pixels.astype(int) - expected)
    assert pixels.shape == expected.shape and difference.max() <= 1
    assert np.mean(difference == 0) >= 0.9999


def files(models_dir):
    """Golden files of models that are there, and one of each rate point."""
    found = {path.name: path.read_bytes() for path in sorted(GOLDEN.glob("*-golden-*.tfci"))}
    pixels = np.asarray(Image.open(KODAK).convert("RGB"))
    for name in RATE_POINTS:
        found[name] = codec.load(name, models_dir).compress(pixels)
    return found


def test_files_decode_to_the_same_latents_and_pixels(browser, models_dir):
    for data in files(models_dir).values():
        contents = bitstream.unpack(data)
        model = codec.load(contents.model, models_dir)
        latents, pixels = page_decodes(browser, data)
        np.testing.assert_array_equal(latents, model.decode_latents(contents))
        assert_same_pixels(pixels, model.decode(contents))


def test_latents_become_the_same_bytes(browser, models_dir):
    script = """const [model, data, height, width, pictureHeight, pictureWidth] = arguments;
        const latents = { data: new Int32Array(bytes(data).buffer), height, width };
        answer(balle2017.encodeLatents(model, latents, pictureWidth, pictureHeight).then(text))"""
    for data in files(models_dir).values():
        contents = bitstream.unpack(data)
        contents.metadata = {}
        model = codec.load(contents.model, models_dir)
        if contents.fingerprint != model.fingerprint:
            # Files of older versions are read, and no longer written.
            continue
        latents = model.decode_latents(contents)
        arguments = contents.model, encoded(latents.tobytes()), *contents.latent_size, contents.height, contents.width
        assert base64.b64decode(call(browser, script, *arguments)) == bitstream.pack(contents)


def test_large_pictures_go_in_tiles(browser, models_dir):
    pixels = np.tile(np.asarray(Image.open(KODAK).convert("RGB")), (2, 2, 1))[:1020, :1100]
    model = codec.load(RATE_POINTS[0], models_dir)
    data = model.compress(pixels)
    latents, decoded = page_decodes(browser, data)
    assert latents.shape[0] * latents.shape[1] > 4096
    assert_same_pixels(decoded, codec.decompress(data, models_dir).pixels)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    again = bitstream.unpack(page_encodes(browser, png.getvalue(), model.name))
    # Sums in another order round a few of them to the other side.
    assert np.mean(model.decode_latents(again) != latents) < 1e-4


def test_the_command_decompresses_what_the_page_makes(browser, models_dir):
    pixels = np.asarray(Image.open(KODAK).convert("RGB"))
    data = page_encodes(browser, KODAK.read_bytes(), RATE_POINTS[0])
    own = codec.load(RATE_POINTS[0], models_dir).compress(pixels)
    expected = metrics.psnr(pixels, codec.decompress(own, models_dir).pixels)
    assert metrics.psnr(pixels, codec.decompress(data, models_dir).pixels) == pytest.approx(expected, abs=0.01)
    assert len(data) == pytest.approx(len(own), rel=1e-3)


@pytest.fixture(scope="module")
def good(models_dir):
    """A small file, with metadata."""
    return codec.load("golden-2", models_dir).compress(photograph(60, 40), {"EXIF": b"II*\0"})


def hostile_files(good):
    for length in range(len(good)):
        yield good[:length]
    for bit in range(8 * len(good)):
        broken = bytearray(good)
        broken[bit // 8] ^= 1 << bit % 8
        yield bytes(broken)
        if bit < 8 * 60:
            yield sealed(bytes(broken[:-4]))
    yield from (good + b"\0", good + good, b"\0" * 100, KODAK.read_bytes()[:1000], b"\x89B17\x01\x03")
    contents, random = bitstream.unpack(good), np.random.default_rng(0)
    for _ in range(30):
        slices = [random.bytes(random.integers(0, 300)) for _ in contents.slices]
        yield bitstream.pack(dataclasses.replace(contents, slices=slices))
    for width, height, length in [(2**24 - 1, 2**24 - 1, 1), (2**24 - 1, 2**24 - 1, 65535), (2**24 - 1, 1, 1)]:
        yield lying_header(width, height, length, bytes(3000))


def test_hostile_files_get_the_sentence_of_the_command(browser, models_dir, good):
    cases = list(hostile_files(good))
    script = """(async () => {
        const sentences = [];
        for (const file of arguments[0]) {
          sentences.push(await balle2017.decode(bytes(file)).then(() => null, (error) => error.message));
        }
        return sentences;
      })().then((value) => done({ value }))"""
    sentences = call(browser, script, [encoded(data) for data in cases])
    for data, sentence in zip(cases, sentences):
        try:
            codec.decompress(data, models_dir, max_pixels=5 * 10**7)
            expected = None
        except (BitstreamError, codec.ModelError) as error:
            expected = str(error)
        if expected and ("There is no model" in expected or "too large" in expected):
            # Where models are and what limits there are is not the same.
            assert sentence[:20] == expected[:20] and sentence.endswith(".")
        else:
            assert sentence == expected
    # The page goes on.
    assert page_decodes(browser, good)[1].shape == (60, 40, 3)


@pytest.mark.parametrize("width, height", [(40000, 16), (16, 40000), (8000, 8000)])
def test_pictures_that_no_page_can_hold_are_refused(browser, models_dir, width, height):
    model = codec.load("golden-2", models_dir)
    contents = bitstream.Bitstream(
        model="golden-2", fingerprint=model.fingerprint, width=width, height=height, channels=3,
        slice_length=model.slice_length, slices=[],
    )  # fmt: skip
    contents.slices = [b""] * contents.num_slices
    script = "balle2017.decode(bytes(arguments[0])).then(() => done(''), (error) => done(error.message))"
    sentence = browser.execute_async_script(PRELUDE + script, encoded(bitstream.pack(contents)))
    assert sentence.startswith(f"The picture is too large for a page ({width}×{height}, more than ")


def test_an_escape_without_an_end_ends(browser, models_dir):
    tables = stored_arrays.tables_of(stored_arrays.read(models_dir / "golden-1/decoder/1", "coder/"))
    # The last bin of the first table.
    escape = int(tables.cdfs[tables.active[0]][0, -2])
    model = codec.load("golden-1", models_dir)
    contents = bitstream.Bitstream(
        model="golden-1", fingerprint=model.fingerprint, width=16, height=16, channels=3,
        slice_length=model.slice_length, slices=[escape.to_bytes(2, "big")],
    )  # fmt: skip
    script = "balle2017.decode(bytes(arguments[0])).then(done, (error) => done(error.message))"
    sentence = browser.execute_async_script(PRELUDE + script, encoded(bitstream.pack(contents)))
    assert sentence == "Slice 1 of 1 holds no valid data."


class Page:
    """The page as a person uses it."""

    def __init__(self, browser):
        self.browser = browser

    def find(self, css):
        return self.browser.find_element("css selector", css)

    def text(self, css):
        return self.find(css).text

    def open(self, path):
        self.find("#file").send_keys(str(path))

    def wait(self, condition):
        end = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < end, (self.text("#status"), self.text("#error"))
            time.sleep(0.05)

    def sizes(self):
        return [cell.text for cell in self.browser.find_elements("css selector", "tbody td:nth-child(2)")]

    def wait_until_compared(self, model):
        self.wait(lambda: self.text("#model") == model and not self.find("#progress").is_displayed())
        self.wait(lambda: all(size not in ("", "…") for size in self.sizes()))


def test_a_photograph_in_the_page(browser, server, models_dir, tmp_path):
    from selenium.webdriver import ActionChains, Keys

    browser.get(address(server))
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
    own = codec.load(RATE_POINTS[1], models_dir).compress(pixels)
    assert psnr[0] == pytest.approx(metrics.psnr(pixels, codec.decompress(own, models_dir).pixels), abs=0.02)
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
    arguments = ["decompress", str(path), str(tmp_path / "again.png"), "--models_dir", str(models_dir)]
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


def test_what_is_no_picture_gets_a_sentence(browser, server, good, tmp_path):
    browser.get(address(server))
    page = Page(browser)
    for data, name, sentence in [
        (b"no picture", "notes.txt", "neither a .tfci file nor a picture"),
        (b"", "empty.tfci", "The file is empty."),
        (good[:-1], "cut.tfci", "The file is damaged"),
        (b"no picture", "other.tfci", "not a .tfci file of balle2017"),
    ]:
        (tmp_path / name).write_bytes(data)
        page.open(tmp_path / name)
        page.wait(lambda sentence=sentence: sentence in page.text("#error"))
    (tmp_path / "good.tfci").write_bytes(good)
    page.open(tmp_path / "good.tfci")
    page.wait(lambda: page.text("#status") == "Decoded.")
    assert not page.find("#error").is_displayed()
    assert browser.get_log("browser") == []


DROP = """
const drops = arguments[0];
for (const files of drops) {
  const dataTransfer = new DataTransfer();
  for (const [name, data] of files) dataTransfer.items.add(new File([bytes(data)], name));
  document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer }));
}
done();
"""


def as_png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def drop(browser, *drops):
    """Drops files, each drop before anything of the one before is read."""
    names = [[(name, encoded(data)) for name, data in files] for files in drops]
    browser.execute_async_script(PRELUDE + DROP, names)


def test_of_files_that_follow_each_other_quickly_the_last_stays(browser, server, good):
    browser.get(address(server))
    page = Page(browser)
    large, small = ("large.png", as_png(photograph(400, 600))), ("small.png", as_png(photograph(48, 64)))
    file, notes = ("good.tfci", good), ("notes.txt", b"no picture")
    for first, last, facts in [
        (large, file, "40 × 60 pixels"), (file, small, "64 × 48 pixels"), (large, small, "64 × 48 pixels"),
        (notes, file, "40 × 60 pixels"),
    ]:  # fmt: skip
        drop(browser, [first], [last])
        page.wait(lambda last=last: page.text("#name") == last[0] and not page.find("#progress").is_displayed())
        assert page.text("#facts").startswith(facts)
        assert not page.find("#error").is_displayed()
    drop(browser, [small], [notes])
    page.wait(lambda: "neither a .tfci file nor a picture" in page.text("#error"))
    assert not page.find("#work").is_displayed()


def test_files_that_are_dropped_together_and_folders(browser, server, good, tmp_path):
    browser.get(address(server))
    page = Page(browser)
    drop(browser, [("good.tfci", good), ("notes.txt", b"no picture")])
    page.wait(lambda: page.text("#status") == "Decoded.")
    assert page.text("#name") == "good.tfci"
    assert page.text("#others") == "One file at a time: this is the first of 2."
    data = {"items": [], "files": [str(tmp_path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})
    page.wait(lambda: page.text("#error") == "The file cannot be read; if it is a folder, open a file in it.")
    assert browser.get_log("browser") == []


def test_colours_of_a_profile_are_shown_as_they_are_meant(browser, server, models_dir, tmp_path):
    from PIL import ImageCms

    # sRGB with red and blue exchanged: twelve bytes for each tag begin with its name.
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for at in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12):
        other = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(bytes(profile[at : at + 4]))
        profile[at : at + 4] = other or profile[at : at + 4]
    model = codec.load(RATE_POINTS[0], models_dir)
    pixels = np.asarray(Image.open(KODAK).convert("RGB"))[100:260, 200:440]
    (tmp_path / "profile.tfci").write_bytes(model.compress(pixels, {"ICCP": bytes(profile)}))
    browser.get(address(server))
    page = Page(browser)
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.open(tmp_path / "profile.tfci")
    page.wait(lambda: page.text("#status") == "Decoded.")
    page.find("#save").click()
    page.wait((tmp_path / "profile.png").is_file)
    shown = np.asarray(Image.open(tmp_path / "profile.png").convert("RGB")).astype(int)
    assert np.mean(np.abs(shown - codec.decompress(model.compress(pixels), models_dir).pixels[..., ::-1])) < 1
    assert browser.get_log("browser") == []


@contextlib.contextmanager
def command(models_dir):
    """`balle2017 web` in a process of its own, and where its page is."""
    arguments = ["web", "--models_dir", str(models_dir), "--no_browser", "--port", "0"]
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


def test_the_page_works_without_a_network(models_dir, good, tmp_path):
    keys = pytest.importorskip("selenium.webdriver", reason="the browser test needs the package selenium").Keys
    png = io.BytesIO()
    Image.fromarray(photograph(60, 40)).save(png, "PNG")
    encode = "balle2017.encode(new Blob([bytes(arguments[0])]), arguments[1]).catch((e) => e.message).then(done)"
    with command(models_dir) as (process, url), chromium(tmp_path / "profile", url) as browser:
        page = Page(browser)
        ready = "navigator.serviceWorker.ready.then(() => done(Boolean(navigator.serviceWorker.controller)))"
        page.wait(lambda: browser.execute_async_script(PRELUDE + ready))
        page_decodes(browser, good)
        page_encodes(browser, png.getvalue(), "golden-2")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        browser.get(url)
        assert page_decodes(browser, good)[1].shape == (60, 40, 3)
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


def test_weights_that_arrive_damaged_are_not_kept(browser, models_dir):
    site = Site(models_dir)
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


def test_the_server_serves_the_page_and_nothing_else(server):
    def get(path, method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read()

    response, body = get("/")
    assert response.status == 200 and body.startswith(b"<!doctype html>")
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'") and "http" not in policy and "unsafe-inline" not in policy
    assert response.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert get("/", "HEAD")[1] == b""
    index = json.loads(get("/models.json")[1])
    names = [model["name"] for model in index["models"]]
    assert names == [*RATE_POINTS, "golden-1", "golden-2", "golden-3"]
    assert get(f"/{index['models'][0]['encoder']['folder']}/analysis.onnx?v=1")[0].status == 200
    for path in ("/setup.cfg", "/../site.py", "/%2e%2e/site.py", "/models/golden-1/prior.npz", "/models"):
        assert get(path)[0].status == 404
    assert get("/", Host="example.com")[0].status == 403
    assert get("/", "POST")[0].status == 501


def test_the_command_writes_static_files(models_dir, tmp_path, capsys):
    out = tmp_path / "site"
    assert tfci.main(["web", "--models_dir", str(models_dir), "--out", str(out)]) == 0
    site = Site(models_dir)
    assert f"{len(site.index['models'])} models" in capsys.readouterr().out
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert written == {*site.files, "models.json"}
    assert all((out / path).read_bytes() == site.contents(path) for path in written)
    assert tfci.main(["web", "--models_dir", str(models_dir), "--out", str(out)]) == 2
    assert capsys.readouterr().err.endswith("site is not empty.\n")


def test_what_the_command_says(models_dir, server, tmp_path, capsys):
    assert tfci.main(["web", "--models_dir", str(tmp_path)]) == 2
    assert "No models with plain weights" in capsys.readouterr().err
    port = str(server.server_port)
    assert tfci.main(["web", "--models_dir", str(models_dir), "--no_browser", "--port", port]) == 1
    assert capsys.readouterr().err.endswith("--port names another.\n")


def test_the_page_is_built_from_its_sources():
    folder = ROOT / "web"
    digest = hashlib.sha256()
    for path in [*sorted((folder / "src").iterdir()), folder / "build.mjs", folder / "package-lock.json"]:
        digest.update(path.read_bytes())
    built = (STATIC / "sources.sha256").read_text().strip()
    assert built == digest.hexdigest(), "The page has to be built again: npm ci and npm run build in web/."


def test_the_page_is_small():
    assert sum(path.stat().st_size for path in STATIC.iterdir()) < 6e6
