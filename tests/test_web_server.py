"""The server of the web page, the command that starts it, and the static files."""

import errno
import hashlib
import http.client
import json
import pathlib
import shutil

import pytest

from balle2017 import tfci
from balle2017.web.site import STATIC, Site
from helpers.web import (
    RATE_POINTS,
)

ROOT = pathlib.Path(__file__).parents[1]


def test_the_server_serves_the_page_and_nothing_else(page_server):
    def get(path, method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", page_server.server_port)
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


def test_the_command_writes_static_files(page_models_dir, tmp_path, capsys):
    out = tmp_path / "site"
    assert tfci.main(["web", "--models_dir", str(page_models_dir), "--out", str(out)]) == 0
    site = Site(page_models_dir)
    assert f"{len(site.index['models'])} models" in capsys.readouterr().out
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert written == {*site.files, "models.json"}
    assert all((out / path).read_bytes() == site.contents(path) for path in written)
    assert tfci.main(["web", "--models_dir", str(page_models_dir), "--out", str(out)]) == 2
    assert capsys.readouterr().err.endswith("site is not empty.\n")


@pytest.mark.parametrize("there", [False, True])
def test_half_a_site_is_not_left(page_models_dir, tmp_path, capsys, monkeypatch, there):
    copied, copyfile = [], shutil.copyfile

    def copy(source, target):
        if len(copied) == 5:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        copied.append(copyfile(source, target))

    monkeypatch.setattr(shutil, "copyfile", copy)
    out = tmp_path / "a" / "site"
    if there:
        out.mkdir(parents=True)
    assert tfci.main(["web", "--models_dir", str(page_models_dir), "--out", str(out)]) == 2
    err = capsys.readouterr().err
    assert len(copied) == 5 and err.startswith(f"balle2017: {out}/") and err.endswith(": No space left on device.\n")
    assert list(tmp_path.iterdir()) == ([tmp_path / "a"] if there else []) and not (there and list(out.iterdir()))


def test_what_the_command_says(page_models_dir, page_server, tmp_path, capsys):
    assert tfci.main(["web", "--models_dir", str(tmp_path)]) == 2
    assert "No models with plain weights" in capsys.readouterr().err
    port = str(page_server.server_port)
    assert tfci.main(["web", "--models_dir", str(page_models_dir), "--no_browser", "--port", port]) == 1
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
