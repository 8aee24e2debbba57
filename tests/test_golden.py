"""Files of released versions decode for ever; and how much processors and threads matter."""

import glob
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from balle2017 import codec
from balle2017.container import bitstream
from helpers.requirements import needs_tensorflow

FOLDER = pathlib.Path(__file__).parent / "golden"
ROOT = str(pathlib.Path(codec.__file__).parents[2])
FILES = sorted(glob.glob(str(FOLDER / "*.tfci")))


def folder_of(path, golden_models_dir):
    return golden_models_dir if "-golden-" in path else None


@pytest.mark.parametrize("path", FILES, ids=os.path.basename)
def test_golden_files_decode_to_the_same_latents(path, golden_models_dir, runtime):
    data = pathlib.Path(path).read_bytes()
    contents = bitstream.unpack(data)
    folder = folder_of(path, golden_models_dir)
    with np.load(path[: -len("tfci")] + "npz") as expected:
        latents = codec.load(contents.model, folder, runtime=runtime).decode_latents(contents)
        np.testing.assert_array_equal(latents, expected["latents"])
        decoded = codec.decompress(data, folder, runtime=runtime)
        assert np.abs(decoded.pixels.astype(int) - expected["pixels"]).max() <= 1
    assert decoded.metadata["EXIF"].startswith(b"II*\0")


def test_there_is_a_golden_file_of_this_version():
    assert any(f"v{bitstream.VERSION}-" in path for path in FILES)


PROGRAM = """
import sys
import numpy as np
from balle2017 import codec
from balle2017.container import bitstream
path, folder, out = sys.argv[1:]
data = open(path, "rb").read()
contents = bitstream.unpack(data)
model = codec.load(contents.model, folder or None, runtime="tensorflow")
decoded = codec.decompress(data, folder or None, runtime="tensorflow").pixels
np.savez(
    out,
    latents=model.decode_latents(contents),
    pixels=decoded,
    encoded=np.concatenate(list(model.analyze(decoded))),
)
"""


@needs_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=os.path.basename)
def test_threads_and_onednn_change_pixels_by_one_level_at_most(path, golden_models_dir, tmp_path):
    results = {}
    for onednn in "01":
        for threads in "12":
            out = str(tmp_path / f"{onednn}{threads}.npz")
            arguments = [path, str(folder_of(path, golden_models_dir) or ""), out]
            variables = {
                "PYTHONPATH": ROOT,
                "TF_ENABLE_ONEDNN_OPTS": onednn,
                "TF_NUM_INTRAOP_THREADS": threads,
                "OMP_NUM_THREADS": threads,
            }
            subprocess.run(
                [sys.executable, "-c", PROGRAM, *arguments],
                env={**os.environ, **variables},
                check=True,
            )
            results[onednn, threads] = dict(np.load(out))
    first = results["0", "1"]
    for (onednn, threads), result in results.items():
        np.testing.assert_array_equal(result["latents"], first["latents"])
        difference = np.abs(result["pixels"].astype(int) - first["pixels"])
        moved = np.mean(result["encoded"] != first["encoded"])
        print(
            f"{os.path.basename(path)}, oneDNN {onednn}, {threads} threads: {difference.mean():.2g}"
            f" of the pixels differ by one level, {moved:.2g} of the encoder's latents"
        )
        assert difference.max() <= 1
