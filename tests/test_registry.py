"""Installed models: found by name and by family, read again when they change; and what is said of others."""

import concurrent.futures
import json
import os
import shutil
import time

import pytest

from balle2017 import codec
from balle2017.codec import ModelError, registry
from balle2017.web.site import Site
from helpers.pictures import photograph


def test_models_are_found(tiny_models_dir, tmp_path, monkeypatch):
    assert [info["name"] for info in codec.list_models(tiny_models_dir)] == ["tiny-1"]
    monkeypatch.setenv("BALLE2017_MODELS", str(tiny_models_dir))
    assert codec.models_dir() == tiny_models_dir
    assert codec.models_dir(tmp_path) == tmp_path
    assert codec.load(f"{tiny_models_dir}/tiny-1").name == "tiny-1"
    with pytest.raises(ModelError, match="no model tiny-2.*installed are tiny-1"):
        codec.load("tiny-2")
    with pytest.raises(ModelError, match="no folder of models"):
        codec.models_dir(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="no model in"):
        codec.load(str(tmp_path / "tiny-1"))


def test_broken_models_are_errors(tiny_models_dir, tmp_path, runtime):
    folder = tmp_path / "tiny-1"
    shutil.copytree(tiny_models_dir / "tiny-1", folder)
    for file in (folder / "decoder" / "1").glob("*.*"):
        file.write_bytes(b"broken")
    data = codec.load("tiny-1", tmp_path, runtime=runtime).compress(photograph(20, 20))
    with pytest.raises(ModelError, match="decoder of tiny-1 cannot be loaded"):
        codec.decompress(data, tmp_path, runtime=runtime)
    (folder / "model.json").write_text('{"name": "tiny-1"}')
    with pytest.raises(ModelError, match="model.json is damaged"):
        codec.load("tiny-1", tmp_path)


def test_the_environment_is_asked_each_time(tiny_models_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("BALLE2017_MODELS", str(tiny_models_dir))
    first = codec.load("tiny-1")
    assert codec.load("tiny-1") is first and codec.load("tiny-1", tiny_models_dir) is first
    shutil.copytree(tiny_models_dir / "tiny-1", tmp_path / "a" / "tiny-1")
    monkeypatch.setenv("BALLE2017_MODELS", str(tmp_path / "a"))
    assert codec.load("tiny-1").folder == tmp_path / "a" / "tiny-1"
    os.mkdir(tmp_path / "b")
    monkeypatch.setenv("BALLE2017_MODELS", str(tmp_path / "b"))
    with pytest.raises(ModelError, match="no model tiny-1"):
        codec.load("tiny-1")
    # A relative path is another one in another folder.
    monkeypatch.chdir(tmp_path)
    assert codec.load("tiny-1", "a").folder == tmp_path / "a" / "tiny-1"
    monkeypatch.chdir(tiny_models_dir.parent)
    assert codec.load("tiny-1", tiny_models_dir.name).folder == tiny_models_dir / "tiny-1"


def test_a_model_that_is_exported_again_is_read_again(tiny_models_dir, tmp_path):
    file = shutil.copytree(tiny_models_dir / "tiny-1", tmp_path / "tiny-1") / "model.json"
    old = codec.load("tiny-1", tmp_path)
    file.write_text(file.read_text().replace('"lambda": 0.01', '"lambda": 0.02'))
    os.utime(file, ns=(1, 1))
    assert (old.info["lambda"], codec.load("tiny-1", tmp_path).info["lambda"]) == (0.01, 0.02)


def test_one_bad_folder_leaves_the_others(tiny_models_dir, tmp_path):
    for name, change in [("tiny-1", None), ("tiny-2", "tiny-2"), ("tiny-3", "tiny-9"), ("tiny-4", None)]:
        file = shutil.copytree(tiny_models_dir / "tiny-1", tmp_path / name) / "model.json"
        file.write_text(file.read_text().replace("tiny-1", change or name))
    (tmp_path / "tiny-4" / "model.json").write_text("{")
    assert [info["name"] for info in codec.list_models(tmp_path)] == ["tiny-1", "tiny-2"]
    assert [model.name for model in codec.load_family("tiny", tmp_path)] == ["tiny-1", "tiny-2"]
    for name in ("tiny-3", "tiny-9"):
        with pytest.raises(ModelError, match="folder .*tiny-3 holds the model tiny-9"):
            codec.load(name, tmp_path)
    with pytest.raises(ModelError, match="tiny-4/model.json is damaged"):
        codec.load("tiny-4", tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"lambda": "x"},
        {"lambda": None},
        {"version": "x"},
        {"num_latents": None},
        {"num_filters": "x"},
        {"fingerprint": "x"},
        {"kodak": 3},
        {"name": 7},
    ],
)
def test_a_model_whose_numbers_are_none_leaves_the_others(change, tiny_models_dir, tmp_path):
    for name in ("tiny-1", "tiny-2"):
        shutil.copytree(tiny_models_dir / "tiny-1", tmp_path / name)
    file = tmp_path / "tiny-2" / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "name": "tiny-2", **change}))
    found, problems = codec.scan_models(tmp_path)
    assert [info["name"] for info in found] == ["tiny-1"]
    assert [str(problem) for problem in problems] == [f"{file} is damaged."]


@pytest.mark.parametrize("file", ["arrays.json", "model.json"])
def test_one_damaged_model_leaves_the_others_to_the_page(file, tiny_models_dir, tmp_path):
    for name in ("tiny-1", "tiny-2"):
        info = shutil.copytree(tiny_models_dir / "tiny-1", tmp_path / name) / "model.json"
        info.write_text(info.read_text().replace("tiny-1", name))
    (tmp_path / "tiny-2" / "decoder" / "1" / file).write_text("{")
    assert [model["name"] for model in Site(tmp_path).index["models"]] == ["tiny-1"]


def test_threads_share_a_model(tiny_models_dir, tmp_path, monkeypatch):
    shutil.copytree(tiny_models_dir / "tiny-1", tmp_path / "tiny-1")
    made = []

    def slowly(*arguments):
        made.append(arguments)
        time.sleep(0.2)
        return codec.Model(*arguments)

    monkeypatch.setattr(registry, "Model", slowly)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda _: codec.load("tiny-1", tmp_path), range(4)))
    assert len(made) == 1 and len({id(model) for model in models}) == 1


def test_what_was_meant_is_said(tiny_models_dir, tmp_path):
    for name, sentence in [
        ("tiny1", r"no model tiny1 .*did you mean tiny-1\?.*installed are tiny-1\."),
        ("other", r"no model other in [^(]*; installed are tiny-1\."),
        ("tiny", r"tiny is a family: name one of tiny-1\.$"),
    ]:
        with pytest.raises(ModelError, match=sentence):
            codec.load(name, tiny_models_dir)
    for name, sentence in [
        ("tinny", r"no family of models tinny .*did you mean tiny\?"),
        ("tiny-1", r"tiny-1 is one model; a rate is for its family: tiny\."),
    ]:
        with pytest.raises(ModelError, match=sentence):
            codec.load_family(name, tiny_models_dir)
    (tmp_path / "photo.png").write_bytes(b"")
    with pytest.raises(ModelError, match="no model in .*photo.png"):
        codec.load(str(tmp_path / "photo.png"))
