"""A rate point that is trained again: the files of each version decode, with the decoder that they name."""

import json
import shutil

import numpy as np
import pytest

from balle2017 import codec
from balle2017.container import bitstream
from balle2017.saved_model.folder import read_versions
from balle2017.saved_model.reading import load_older_decoders, load_rate_point
from helpers.pictures import photograph
from helpers.rate_points import export_for_all, random_rate_point
from helpers.requirements import needs_tensorflow


@pytest.fixture(scope="module")
def trainings():
    """Two of one name, which differ in all that may differ."""
    second = random_rate_point("tiny-1", num_filters=9, num_latents=10, slice_length=5, seed=1, num_classes=1)
    second.version = 2
    return random_rate_point("tiny-1").rounded(), second.rounded()


@pytest.fixture(scope="module")
def folders(trainings, tmp_path_factory):
    """Folders of models that hold the first of them, the second alone, and both."""
    first, second = trainings
    folder = tmp_path_factory.mktemp("versions")
    export_for_all(first, folder / "first" / "tiny-1")
    export_for_all(second, folder / "second" / "tiny-1")
    export_for_all(second, folder / "both" / "tiny-1", [first])
    return folder


def test_the_fingerprint_picks_the_decoder(folders, trainings, runtime):
    first, second, both = (
        codec.load("tiny-1", folders / name, runtime=runtime) for name in ("first", "second", "both")
    )
    pixels = photograph(70, 90)
    files = [first.compress(pixels), second.compress(pixels)]
    # New files are the newest version's.
    assert both.compress(pixels) == files[1]
    assert both.version == 2 and both.fingerprint == trainings[1].fingerprint()
    for data, alone, version in zip(files, (first, second), (1, 2)):
        contents = bitstream.unpack(data)
        assert both.version_of(contents).version == version
        np.testing.assert_array_equal(both.decode_latents(contents), alone.decode_latents(contents))
        decoded = codec.decompress(data, folders / "both", runtime=runtime)
        np.testing.assert_array_equal(decoded.pixels, alone.decode(contents))
        assert codec.decompress(data[:-1], folders / "both", runtime=runtime, salvage=True).notices


def test_a_file_of_no_version_is_refused_with_all_fingerprints(folders, trainings):
    both = codec.load("tiny-1", folders / "both")
    contents = bitstream.unpack(both.compress(photograph(20, 20)))
    contents.fingerprint ^= 1
    with pytest.raises(codec.ModelError) as error:
        both.decode(contents)
    for rate_point in trainings:
        assert f"{rate_point.fingerprint():08x}" in str(error.value)


def test_models_says_which_versions_there_are(folders, capsys):
    from balle2017 import tfci

    assert [info["versions"] for info in codec.list_models(folders / "both")] == [[1, 2]]
    assert tfci.main(["models", "--models_dir", str(folders / "both")]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert "versions" in header and " 1, 2" in line


@needs_tensorflow
def test_older_decoders_are_read_back(folders, trainings):
    (older,) = load_older_decoders(folders / "both" / "tiny-1")
    assert older.analysis is None and older.version == 1
    assert older.fingerprint() == trainings[0].fingerprint()
    assert load_rate_point(folders / "both" / "tiny-1").version == 2


def test_a_decoder_that_was_moved_goes_by_its_folder(folders, tmp_path):
    shutil.copytree(folders / "both", tmp_path / "models")
    decoders = tmp_path / "models" / "tiny-1" / "decoder"
    (decoders / "1").rename(decoders / "7")
    assert list(read_versions(tmp_path / "models" / "tiny-1")) == [2, 7]
    data = codec.load("tiny-1", folders / "first").compress(photograph(40, 30))
    pixels = codec.decompress(data, tmp_path / "models").pixels
    np.testing.assert_array_equal(pixels, codec.decompress(data, folders / "first").pixels)


@needs_tensorflow
def test_a_new_training_goes_behind_the_versions_that_are_kept(folders, trainings, tmp_path):
    from balle2017.export import versions_of

    def numbers(source, target=None):
        target = target and str(folders / target / "tiny-1")
        versions = versions_of(str(folders / source / "tiny-1"), target)
        return {version.version: version.fingerprint() for version in versions}

    one, two = (rate_point.fingerprint() for rate_point in trainings)
    assert numbers("both") == {1: one, 2: two}
    assert numbers("second", "first") == {1: one, 2: two}
    # What is there already stays as it is.
    assert numbers("both", "first") == numbers("both", "both") == {1: one, 2: two}
    assert numbers("first", "first") == {1: one}
    # Trained once more, in a folder that counts from 1 again.
    assert numbers("first", "both") == {2: two, 3: one}


@needs_tensorflow
def test_export_keeps_what_it_is_told_to(folders, tmp_path, capsys):
    from balle2017 import export

    shutil.copytree(folders / "first", tmp_path / "models")
    command = [str(folders / "second" / "tiny-1"), str(tmp_path / "models"), "--runtime", "tfc"]
    assert export.main(command) == 0
    assert "--keep_versions" in capsys.readouterr().err
    assert list(read_versions(tmp_path / "models" / "tiny-1")) == [1]
    assert export.main([*command, "--keep_versions"]) == 0
    assert list(read_versions(tmp_path / "models" / "tiny-1")) == [1, 2]


@pytest.mark.slow
@needs_tensorflow
def test_exports_for_servers_have_the_older_decoders(folders, tmp_path):
    tf = pytest.importorskip("tensorflow")
    from balle2017.export import versions_of
    from balle2017.saved_model.writing import export

    *older, newest = versions_of(str(folders / "both" / "tiny-1"), str(tmp_path / "tiny-1"))
    export(newest, tmp_path / "tiny-1", "stock", older)
    assert [path.name for path in (tmp_path / "tiny-1" / "encoder").iterdir()] == ["2"]
    info = json.loads((tmp_path / "tiny-1" / "decoder" / "1" / "model.json").read_text())
    assert info["runtime"] == "stock" and info["version"] == 1
    data = codec.load("tiny-1", folders / "first").compress(photograph(40, 30))
    decoder = tf.saved_model.load(str(tmp_path / "tiny-1" / "decoder" / "1"))
    (image,) = decoder.signatures["serving_default"](tf.constant([data]))["image_bytes"].numpy()
    expected = codec.decompress(data, folders / "first", runtime="tensorflow").pixels
    np.testing.assert_array_equal(tf.io.decode_png(image), expected)


@needs_tensorflow
def test_the_client_finds_the_version_on_the_server(folders):
    pytest.importorskip("tensorflow_serving", reason="needs the package tensorflow-serving-api")
    from balle2017.commands import serving_client
    from helpers.serving import Servable, Server

    decoders = folders / "both" / "tiny-1" / "decoder"
    servables = {f"tiny-1-decoder/versions/{number}": Servable(decoders / str(number)) for number in (1, 2)}
    servables["tiny-1-decoder"] = servables["tiny-1-decoder/versions/2"]
    server = Server(servables)
    try:
        data = codec.load("tiny-1", folders / "first").compress(photograph(40, 30))
        for predict, where in (
            (serving_client.predict_grpc, server.grpc_address),
            (serving_client.predict_rest, server.rest_address),
        ):
            assert serving_client.decompress(predict, where, [data])[0].startswith(b"\x89PNG")
            contents = bitstream.unpack(data)
            contents.fingerprint ^= 1
            with pytest.raises(serving_client.ServerError, match="not made by this model"):
                serving_client.decompress(predict, where, [bitstream.pack(contents)])
    finally:
        server.stop()
