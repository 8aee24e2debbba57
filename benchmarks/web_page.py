"""The codec in a web page, timed as the others are: headless Chromium, WebAssembly, no graphics processor."""

import base64
import contextlib
import io
import shutil
import sys
import tempfile
import threading

from PIL import Image

from balle2017.web.server import address, make_server
from balle2017.web.site import Site

# Whatever goes in or out is there already: what is timed goes no longer way than in the page itself.
_KEEP = """
const [name, text, type] = arguments;
const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
window[name] = type ? new Blob([bytes], { type }) : bytes;
"""
_ENCODE = """
const [model, done] = arguments;
balle2017.encode(picture, model)
    .then((file) => done(btoa(String.fromCharCode(...file))), (e) => done({ e: String(e) }));
"""
_DECODE = """
const [done] = arguments;
balle2017.decode(file).then(() => done(""), (e) => done({ e: String(e) }));
"""


@contextlib.contextmanager
def contestants(model, models_dir=None):
    """Functions that encode and decode in a page, by name; none where there is no browser, which is said."""
    try:
        from selenium import webdriver
    except ImportError:
        webdriver = None
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (webdriver and binary and driver):
        print("The web page is left out: it needs selenium, chromium and chromedriver.", file=sys.stderr)
        yield {}
        return
    server = make_server(Site(models_dir))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    with tempfile.TemporaryDirectory() as profile:
        for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking",
                         "disable-component-update", "disable-sync", "no-first-run",
                         f"user-data-dir={profile}"):  # fmt: skip
            options.add_argument(f"--{argument}")
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            browser.set_script_timeout(300)
            browser.get(address(server))
            yield {"balle2017, web page": _pair(browser, model)}
        finally:
            browser.quit()
            server.shutdown()


def _pair(browser, model):
    kept = {}

    def keep(name, source, make, kind=None):
        if kept.get(name) is not source:
            browser.execute_script(_KEEP, name, base64.b64encode(make(source)).decode(), kind)
            kept[name] = source

    def run(script, *arguments):
        result = browser.execute_async_script(script, *arguments)
        if isinstance(result, dict):
            raise RuntimeError(result["e"])
        return base64.b64decode(result)

    def png(pixels):
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG")
        return out.getvalue()

    def encode(pixels):
        keep("picture", pixels, png, "image/png")
        return run(_ENCODE, model)

    def decode(data):
        """Leaves the pixels in the page."""
        keep("file", data, bytes)
        run(_DECODE)

    return encode, decode
