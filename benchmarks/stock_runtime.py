"""How much slower the stock runtime is than the tfc runtime, in one run.

    python benchmarks/stock_runtime.py saved_models/bls2017-mse-4 IMAGE.png

Exports the rate point for both runtimes and encodes and decodes the image with
each, taking turns, so that whatever else the machine does meets both.
"""

import os
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags, logging
import tensorflow as tf

from balle2017.saved_model.reading import load_rate_point
from balle2017.saved_model.writing import RUNTIMES, export

flags.DEFINE_integer("rounds", 15, "Number of times that the image is coded by each runtime.")


def main(argv):
    _, directory, path = argv
    logging.set_verbosity(logging.ERROR)
    with open(path, "rb") as file:
        image = tf.constant([file.read()])
    rate_point = load_rate_point(directory)
    pairs, models = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for runtime in RUNTIMES:
            out = os.path.join(folder, runtime)
            export(rate_point, out, runtime)
            # Signatures do not keep their model alive.
            models += [tf.saved_model.load(f"{out}/{part}/1") for part in ("encoder", "decoder")]
            pairs[runtime] = [model.signatures["serving_default"] for model in models[-2:]]
    times = {(runtime, part): [] for runtime in RUNTIMES for part in ("encode", "decode")}
    for turn in range(flags.FLAGS.rounds + 2):
        for runtime, (encode, decode) in pairs.items():
            start = time.perf_counter()
            bitstream = encode(image_bytes=image)["bitstream_bytes"]
            middle = time.perf_counter()
            decode(bitstream_bytes=bitstream)
            end = time.perf_counter()
            # The first calls are still busy with getting ready.
            if turn >= 2:
                times[runtime, "encode"].append(middle - start)
                times[runtime, "decode"].append(end - middle)
    medians = {key: 1000 * statistics.median(value) for key, value in times.items()}
    for runtime in RUNTIMES:
        encode, decode = medians[runtime, "encode"], medians[runtime, "decode"]
        print(f"{runtime:5}  encode {encode:6.1f} ms  decode {decode:6.1f} ms  sum {encode + decode:6.1f} ms")
    ratios = [medians["stock", part] / medians["tfc", part] for part in ("encode", "decode")]
    print("ratio  encode {:6.2f}     decode {:6.2f}   ".format(*ratios), f"({len(bitstream.numpy()[0])} bytes)")


if __name__ == "__main__":
    app.run(main)
