"""Training photographs: what is found, skipped, held out and cropped."""

import numpy as np
from PIL import Image
import pytest

from balle2017.training import photographs


def photograph(path, height, width, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, [height, width, 3], np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for i in range(4):
        photograph(tmp_path / f"{i}.png", 40 + i, 60, seed=i)
    photograph(tmp_path / "sub" / "deep.jpg", 50, 50)
    photograph(tmp_path / "small.png", 8, 8)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG not really")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_folders_are_searched_and_globs_expanded(folder):
    assert len(photographs.find_files([str(folder)])) == 7
    assert len(photographs.find_files([str(folder / "?.png"), str(folder / "sub")])) == 5


def test_what_is_no_picture_is_counted(folder, tmp_path, capsys, monkeypatch):
    (folder / "sub" / "notes.txt").write_text("no image")
    (folder / "README").write_text("no image")
    (folder / "phone.HEIC").write_bytes(b"")
    monkeypatch.setattr(photographs.formats, "extensions", lambda: {".png", ".jpg"})
    assert len(photographs.find_files([str(folder), str(folder / "*")])) == 7
    said = capsys.readouterr().err
    assert said == "Left out: 1 .heic (needs the package pillow-heif), 2 .txt, 1 without extension.\n"
    with pytest.raises(photographs.DataError, match="; left out are 1 .heic .needs the package pillow-heif.$"):
        photographs.find_files([str(folder / "*.HEIC")])


def test_nothing_found_is_said_with_the_pattern(folder):
    with pytest.raises(photographs.DataError, match="no images match .*missing"):
        photographs.find_files([str(folder / "missing")])


def test_broken_and_small_files_are_named_and_skipped(folder, capsys):
    images = photographs.load_images(photographs.find_files([str(folder)]), 3, 32)
    assert len(images) == 5
    said = capsys.readouterr().err
    assert "Skipped 2 of 7" in said
    assert "broken.png: It is not a picture" in said and "small.png: smaller than 32" in said


def test_nothing_usable_is_an_error(folder):
    with pytest.raises(photographs.DataError, match="none of 7 images"):
        photographs.load_images(photographs.find_files([str(folder)]), 3, 1000)


def test_validation_is_held_out_by_image():
    images = [(str(i), None) for i in range(40)]
    training, validation = photographs.hold_out(images, 0.1)
    assert len(validation) == 4
    assert sorted(int(name) for name, _ in training + validation) == list(range(40))


def test_crops_are_parts_of_the_photographs(tmp_path):
    pixels = photograph(tmp_path / "a.png", 40, 50)
    source = photographs.CropSource([("a", pixels)])
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (16, 16, 3))[:, :, 0].reshape(-1, 16, 16, 3)
    for crop in next(iter(source.batches(16, 8, 1.0, seed=0))).numpy():
        assert any(np.array_equal(crop, w) or np.array_equal(crop[:, ::-1], w) for w in windows)


def test_a_resumed_dataset_goes_on_where_it_was(tmp_path):
    source = photographs.CropSource([("a", photograph(tmp_path / "a.png", 70, 90))])
    whole = [batch.numpy() for batch in source.batches(32, 4, 0.6, seed=5).take(4)]
    resumed = [batch.numpy() for batch in source.batches(32, 4, 0.6, seed=5, first_step=2).take(2)]
    np.testing.assert_array_equal(whole[2:], resumed)


def test_grayscale(tmp_path):
    photograph(tmp_path / "a.png", 40, 50)
    ((_, pixels),) = photographs.load_images([str(tmp_path / "a.png")], 1, 16)
    assert pixels.shape == (40, 50, 1)
    assert next(iter(photographs.CropSource([("a", pixels)]).batches(16, 2, 0.6, seed=0))).shape == [2, 16, 16, 1]


def test_pictures_are_read_as_the_commands_read_them(tmp_path):
    """16-bit gray, float and transparent pictures, and turned ones."""
    Image.fromarray(np.full([40, 50], 30000, np.uint16)).save(tmp_path / "gray16.png")
    Image.fromarray(np.full([40, 50], 0.5, np.float32)).save(tmp_path / "float.tif")
    hidden = np.full([40, 50, 4], 200, np.uint8)
    hidden[..., 3] = 0
    Image.fromarray(hidden).save(tmp_path / "hidden.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (50, 40), (10, 20, 30)).save(tmp_path / "turned.png", exif=turned)
    read = {
        name.rsplit("/", 1)[1]: pixels
        for name, pixels in photographs.load_images(photographs.find_files([str(tmp_path)]), 3, 16)
    }
    assert read["gray16.png"].mean() == 117 and read["float.tif"].mean() in (127, 128)
    assert read["hidden.png"].min() == 255
    assert read["turned.png"].shape == (50, 40, 3)
