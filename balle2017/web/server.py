"""Serves the page on this machine, and to this machine only."""

import http.server
import posixpath
import urllib.parse

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost")
# The page computes in WebAssembly, in workers of its own, and needs nothing from anywhere else.
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:;"
    " connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    # Only pages that share no process with others may use several threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
    ".txt": "text/plain; charset=utf-8",
}


def make_server(site, port=0):
    """An `http.server` of a `site.Site`, not yet running.

    Args:
      site: What to serve.
      port: On 127.0.0.1; 0 takes one that is free.

    Raises:
      OSError: If the port is taken.
    """

    class Handler(_Handler):
        _site = site

    return http.server.ThreadingHTTPServer((HOST, port), Handler)


def address(server):
    """Where a browser finds the page."""
    return f"http://{HOST}:{server.server_port}/"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    _site = None

    def do_GET(self):
        self._answer(with_body=True)

    def do_HEAD(self):
        self._answer(with_body=False)

    def _answer(self, with_body):
        # Another name for this machine may be one that a foreign page has given it.
        if self.headers.get("Host", "").rpartition(":")[0] not in _NAMES:
            self.send_error(403)
            return
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/") or "index.html"
        contents = self._site.contents(path)
        if contents is None:
            self.send_error(404)
            return
        self.send_response(200)
        extension = posixpath.splitext(path)[1]
        self.send_header("Content-Type", _TYPES.get(extension, "application/octet-stream"))
        self.send_header("Content-Length", str(len(contents)))
        self.end_headers()
        if with_body:
            self.wfile.write(contents)

    def end_headers(self):
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *args):
        """Says nothing: there is nothing that a user would want to know of requests."""
