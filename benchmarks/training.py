"""Training throughput against the reference formulation, in one run.

    python benchmarks/training.py [--batch 8] [--size 256] [--rounds 5]

Steps of this package (each optimizer, and each arithmetic that the processor has) and of the
reference network are timed in turn, round by round, so that background load falls on all alike.
Takes about three minutes.
"""

import argparse
import json
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from balle2017.model.objective import RateDistortionModel
from balle2017.model.operations import processor_has_bfloat16
from balle2017.training.loop import use_threads_well
from balle2017.training.soap import SOAP
from reference import ReferenceModel  # beside this file


def step_of(model, optimizer, images):
    model.compile(optimizer=optimizer)
    optimizer.build(model.trainable_variables)
    step = tf.function(model.train_step)
    return lambda: step(images)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8, help="images a step")
    parser.add_argument("--size", type=int, default=256, help="side of an image in pixels")
    parser.add_argument("--filters", type=int, default=128, help="filters of every stage")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of four steps of each")
    parser.add_argument("--out", default="results/benchmarks/training.json", help="where the figures go")
    args = parser.parse_args()

    use_threads_well()
    images = tf.cast(tf.random.uniform([args.batch, args.size, args.size, 3], 0, 256), tf.uint8)

    def adam():
        return tf.keras.optimizers.Adam(1e-4)

    contenders = {"reference, float32, Adam": step_of(ReferenceModel(0.01, args.filters), adam(), images)}
    for arithmetic in ["float32"] + ["bfloat16"] * processor_has_bfloat16():
        for name in ("Adam", "SOAP"):
            model = RateDistortionModel(0.01, args.filters, convolution_dtype=arithmetic)
            optimizer = adam() if name == "Adam" else SOAP(1e-4, model.kernels, matrix_dtype=arithmetic)
            contenders[f"balle2017, {arithmetic}, {name}"] = step_of(model, optimizer, images)

    seconds = {name: [] for name in contenders}
    for step in contenders.values():
        step()
        step()
    for _ in range(args.rounds):
        for name, step in contenders.items():
            begin = time.perf_counter()
            for _ in range(4):
                step()
            seconds[name].append((time.perf_counter() - begin) / 4)

    megapixels = args.batch * args.size**2 / 1e6
    base = statistics.median(seconds["reference, float32, Adam"])
    rows = []
    print(f"{args.batch} × {args.size}², {args.filters} filters, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'':28s}{'s a step':>10s}{'min–max':>16s}{'Mpixel/s':>10s}{'speed-up':>10s}")
    for name, times in seconds.items():
        median = statistics.median(times)
        rows.append(
            {
                "name": name,
                "seconds": median,
                "min": min(times),
                "max": max(times),
                "megapixels_per_second": megapixels / median,
                "speed_up": base / median,
            }
        )
        print(
            f"{name:28s}{median:10.3f}{min(times):8.3f}–{max(times):7.3f}"
            f"{megapixels / median:10.2f}{base / median:10.2f}"
        )
    os.makedirs(os.path.dirname(args.out), exist_ok=True)
    with open(args.out, "w") as file:
        json.dump(rows, file, indent=2)


if __name__ == "__main__":
    main()
