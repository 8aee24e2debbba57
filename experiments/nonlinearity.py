"""What GDN contributes: the same transform code with GDN, with ReLU and with none (paper: section 2).

    python experiments/nonlinearity.py

Each is trained from the same random weights on the same crops, with the same
optimizer and number of steps: by default 64 filters, λ = 0.013, 3000 steps of
8 crops of 128². This takes about 11 minutes in all on 2 cores. It is a small
budget, far from convergence; the figures compare the three, nothing else. In it
GDN takes the fewest bits and gains on the others to the end, but has not yet
overtaken the linear code: what the paper reports of converged models is not
reproduced by so short a training.
"""

import csv
import os
import pathlib
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from balle2017.model import transforms
from balle2017.model.objective import RateDistortionModel
from balle2017.training import photographs
from balle2017.training.soap import SOAP
import kodak

FLAGS = flags.FLAGS
KINDS = {"GDN": "#d1495b", "ReLU": "#2b7bba", "none": "#8a6d3b"}


def make_model(kind):
    """A `RateDistortionModel` whose transforms have another nonlinearity in the place of GDN."""
    def apply(operations, x):
        for operation in operations:
            if kind == "GDN" or operation.name.startswith("convolution"):
                x = operation.function(x)
            elif kind == "ReLU":
                x = tf.nn.relu(x)
        return x

    class Analysis(transforms.AnalysisTransform):
        def call(self, pixels):
            return apply(transforms.analysis_operations(self.plain_weights(), 2, 0.5), pixels)

    class Synthesis(transforms.SynthesisTransform):
        def call(self, latents):
            return apply(transforms.synthesis_operations(self.plain_weights(), 2, 0.5), latents)

    model = RateDistortionModel(FLAGS.lmbda, FLAGS.num_filters, prior="factorized")
    settings = (FLAGS.num_filters, FLAGS.num_filters, 3, 2, 0.5, "float32", 2)
    model.analysis, model.synthesis = Analysis(*settings), Synthesis(*settings)
    model.analysis.build([None, None, None, 3])
    model.synthesis.build([None, None, None, FLAGS.num_filters])
    return model


def train(kind, crops, mean, validation):
    """Trains one kind; returns rows of step, seconds, and bpp, PSNR, loss of the validation."""
    # The same weights at the start, and the same noise.
    tf.keras.utils.set_random_seed(0)
    model = make_model(kind)
    # At 0 the first steps would only learn the mean colour.
    model.synthesis._biases[2].assign(mean / transforms.PIXEL_SCALE)
    # Without GDN its parameters stay where they are.
    variables = [v for v in model.trainable_variables if kind == "GDN" or "reparam" not in v.name]
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        0.0, FLAGS.steps, warmup_target=FLAGS.learning_rate, warmup_steps=min(200, FLAGS.steps // 10)
    )
    optimizer = SOAP(schedule)
    optimizer.build(variables)

    @tf.function
    def step(images):
        with tf.GradientTape() as tape:
            loss = model.losses_of(images, training=True)[0]
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))

    @tf.function
    def measure(images):
        loss, bpp, _, psnr = model.losses_of(images, training=False)
        return tf.stack([bpp, psnr, loss])

    rows, seconds = [], 0.0
    every = max(1, FLAGS.steps // 12)
    start = time.perf_counter()
    for number, images in enumerate(tqdm(crops.take(FLAGS.steps), kind, FLAGS.steps), 1):
        step(images)
        if number % every == 0 or number == FLAGS.steps:
            seconds += time.perf_counter() - start
            figures = np.mean([measure(images).numpy() for images in validation], axis=0)
            rows.append([number, seconds, *figures])
            start = time.perf_counter()
    return rows


def main(argv):
    del argv
    try:
        images = photographs.load_images(photographs.find_files(FLAGS.data), 3, 256)
    except photographs.DataError as error:
        sys.exit(f"{error}: name training photographs with --data.")
    training, held_out = photographs.hold_out(images, 0.05)
    # The same crops for all, in the same order.
    crops = photographs.CropSource(training).batches(128, 8, 0.6, seed=0)
    validation = list(photographs.CropSource(held_out).batches(256, 8, 1.0, seed=1).take(4))
    mean = np.mean([pixels.mean((0, 1)) for _, pixels in training], axis=0)

    print(f"{len(training)} photographs, {len(held_out)} held out for the figures; λ = {FLAGS.lmbda:g},"
          f" {FLAGS.num_filters} filters, {FLAGS.steps} steps of 8×128², SOAP {FLAGS.learning_rate:g}")  # fmt: skip
    results = {}
    for kind in KINDS:
        results[kind] = train(kind, crops, mean, validation)
    print(f"{'':6} {'bpp':>8} {'PSNR':>9} {'loss':>8} {'training':>10}")
    for kind, rows in results.items():
        step, seconds, bpp, psnr, loss = rows[-1]
        print(f"{kind:6} {bpp:8.4f} {psnr:6.2f} dB {loss:8.4f} {seconds:8.0f} s")

    out = pathlib.Path(FLAGS.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(out.with_suffix(".csv"), "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["nonlinearity", "step", "seconds", "bpp", "psnr", "loss"])
        for kind, rows in results.items():
            writer.writerows([kind, *(round(float(value), 4) for value in row)] for row in rows)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for kind, rows in results.items():
        steps, _, bpp, psnr, loss = np.array(rows).T
        label = kind if kind != "none" else "no nonlinearity"
        axes[0].plot(steps, loss, label=label, color=KINDS[kind], marker=".")
        axes[1].plot(bpp, psnr, color=KINDS[kind], marker=".", alpha=0.6, linewidth=1)
        axes[1].plot(bpp[-1:], psnr[-1:], "o", color=KINDS[kind], label=label)
    axes[0].set(xlabel="training steps", ylabel="rate + λ · MSE, held-out photographs")
    axes[1].set(xlabel="bits per pixel", ylabel="PSNR, dB", title="the way there, and the end (dot)")
    for axis in axes:
        axis.grid(color="#e6e6e6")
        axis.legend(fontsize=9, frameon=False)
    kodak.save(figure, out)


if __name__ == "__main__":
    flags.DEFINE_multi_string("data", [str(kodak.ROOT.parent / "shared/images/train")], "Training photographs.")
    flags.DEFINE_integer("steps", 3000, "Steps of each training.")
    flags.DEFINE_integer("num_filters", 64, "Filters of every stage.")
    flags.DEFINE_float("lmbda", 0.013, "λ of rate + λ · MSE.")
    flags.DEFINE_float("learning_rate", 2e-2, "Peak learning rate.")
    flags.DEFINE_string("out", str(kodak.ROOT / "docs/experiments/nonlinearity.png"), "The picture; its figures go beside it.")
    app.run(main)
