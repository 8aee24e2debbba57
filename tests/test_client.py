"""The client against a server with the official protos."""

import concurrent.futures
import os
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

pytest.importorskip("tensorflow_serving", reason="needs the package tensorflow-serving-api")

from balle2017 import client
from balle2017.commands import serving_client
from balle2017.container import bitstream
from helpers.pictures import photograph
from helpers.serving import Servable, Server

PREDICTS = [serving_client.predict_grpc, serving_client.predict_rest]


@pytest.fixture(scope="module")
def servables(tiny_stock_dir):
    return {f"tiny-1-{part}": Servable(tiny_stock_dir / "tiny-1" / part / "1") for part in ("encoder", "decoder")}


@pytest.fixture(scope="module")
def server(servables):
    server = Server(servables)
    yield server
    server.stop()


def png(height, width, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, [height, width, 3], np.uint8)
    return tf.io.encode_png(pixels).numpy()


def address(server, predict):
    return server.grpc_address if predict is serving_client.predict_grpc else server.rest_address


@pytest.mark.parametrize("predict", PREDICTS)
def test_there_and_back(server, predict):
    where = address(server, predict)
    images = [png(30, 40), png(1, 1)]
    files = serving_client.compress(predict, where, "tiny-1", images)
    assert [bitstream.read_header(file).height for file in files] == [30, 1]
    decoded = serving_client.decompress(predict, where, files)
    assert [tf.io.decode_png(image).shape for image in decoded] == [[30, 40, 3], [1, 1, 3]]


def test_requests_are_merged(server, servables):
    images = [png(20 + k, 50 - k, k) for k in range(6)]
    alone = [
        serving_client.compress(serving_client.predict_grpc, server.grpc_address, "tiny-1", [i])[0] for i in images
    ]
    batches = servables["tiny-1-encoder"].batches
    batches.clear()
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        together = pool.map(
            lambda image: serving_client.compress(serving_client.predict_grpc, server.grpc_address, "tiny-1", [image])[
                0
            ],
            images,
        )
        assert list(together) == alone
    assert sum(batches) == 6 and max(batches) > 1


@pytest.mark.parametrize("predict", PREDICTS)
def test_wrong_input_is_refused_and_the_server_lives(server, predict):
    where = address(server, predict)
    (file,) = serving_client.compress(predict, where, "tiny-1", [png(30, 40)])
    parsed = bitstream.unpack(file)
    parsed.fingerprint ^= 1
    cases = [
        ("encoder", "image_bytes", png(30, 40)[:60], "PNG"),
        ("encoder", "image_bytes", b"text", "neither a PNG nor a JPEG"),
        ("decoder", "bitstream_bytes", file[:-3], "damaged or cut off"),
        ("decoder", "bitstream_bytes", bitstream.pack(parsed), "not made by this model"),
        ("decoder", "bitstream_bytes", b"text", "not a .tfci file"),
    ]
    for part, name, data, message in cases:
        with pytest.raises(serving_client.ServerError, match=f"(INVALID_ARGUMENT|400).*{message}") as error:
            predict(where, f"tiny-1-{part}", {name: [data]})
        assert "\n" not in str(error.value) and "{{" not in str(error.value)
    assert serving_client.compress(predict, where, "tiny-1", [png(30, 40)]) == [file]


def run(*arguments):
    command = [sys.executable, "-m", "balle2017.client", *map(str, arguments)]
    return subprocess.run(command, cwd=pathlib.Path(__file__).parent.parent, capture_output=True, text=True)


def test_command(server, tmp_path):
    (tmp_path / "a.png").write_bytes(png(30, 40))
    result = run("compress", "--server", server.grpc_address, "--model", "tiny-1", tmp_path / "a.png")
    assert (result.returncode, result.stderr) == (0, "")
    result = run(
        "decompress",
        "--rest",
        "--server",
        server.rest_address,
        tmp_path / "a.png.tfci",
        tmp_path / "b.png",
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert tf.io.decode_png((tmp_path / "b.png").read_bytes()).shape == [30, 40, 3]


def test_command_takes_pictures_as_they_look(server, tmp_path, capfd):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photograph(30, 40)).save(tmp_path / "turned.webp", exif=exif, lossless=True)
    arguments = ["compress", "--rest", "--server", server.rest_address, "--model", "tiny-1"]
    assert client.main([*arguments, str(tmp_path / "turned.webp"), str(tmp_path / "a.tfci")]) == 0
    assert capfd.readouterr().err == ""
    header = bitstream.read_header((tmp_path / "a.tfci").read_bytes())
    assert (header.height, header.width) == (40, 30)
    Image.new("RGBA", (9, 9), (200, 0, 0, 40)).save(tmp_path / "clear.png")
    assert client.main([*arguments, str(tmp_path / "clear.png"), str(tmp_path / "b.tfci")]) == 0
    assert "clear.png: Its transparent parts are now white." in capfd.readouterr().err


@pytest.mark.parametrize("rest", [[], ["--rest"]])
def test_command_answers_with_one_sentence(server, tmp_path, rest, capfd):
    where = server.rest_address if rest else server.grpc_address
    (tmp_path / "a.png").write_bytes(png(30, 40)[:50])
    (tmp_path / "good.png").write_bytes(png(3, 4))
    (tmp_path / "bad.tfci").write_bytes(b"text")
    before = sorted(os.listdir(tmp_path))
    for arguments, message in (
        (["compress", "--server", where, "--model", "tiny-1", tmp_path / "a.png"], "damaged or cut off"),
        (["compress", "--server", where, "--model", "other", tmp_path / "good.png"], "not found"),
        (["compress", "--server", "127.0.0.1:1", tmp_path / "good.png"], "There is no"),
        (["compress", "--server", where, tmp_path / "missing.png"], "No such file"),
        (["decompress", "--server", where, tmp_path / "bad.tfci"], "not a .tfci file"),
    ):
        assert client.main([*map(str, arguments), *rest]) == 1
        lines = capfd.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and message in lines[0], lines
    assert sorted(os.listdir(tmp_path)) == before
