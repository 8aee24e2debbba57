"""The web page in a real browser, for tests: what it is asked by scripts, and by hand."""

import base64
import contextlib
import io
import pathlib
import threading
import time

import numpy as np
from PIL import Image

from balle2017.web.server import make_server

KODAK = pathlib.Path(__file__).parents[2] / "examples" / "kodak-23.png"
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
        # Busy from the choice on, where progress is shown only once there is some.
        self.wait(lambda: self.text("#model") == model and self.find("#work").get_attribute("aria-busy") == "false")
        self.wait(lambda: all(size not in ("", "…") for size in self.sizes()))


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
