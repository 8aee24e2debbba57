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
import dataclasses
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags
import matplotlib.pyplot as plt
import numpy as np

from balle2017.model import transforms
from balle2017.model.network import PIXEL_SCALE
from balle2017.training import loop
from balle2017.training.photographs import DataError
from balle2017.training.settings import Settings
import kodak

FLAGS = flags.FLAGS
KINDS = {"GDN": "#d1495b", "ReLU": "#2b7bba", "none": "#8a6d3b"}


def model_of(kind, mean):
    """What makes of settings a model whose transforms have another nonlinearity in the place of GDN.

    Args:
      kind: One of `KINDS`.
      mean: The mean colour of the photographs, 0–255.
    """
    import tensorflow as tf

    def apply(operations, x):
        for operation in operations:
            if kind == "GDN" or operation.name.startswith("convolution"):
                x = operation.function(x)
            elif kind == "ReLU":
                x = tf.nn.relu(x)
        return x

    class Analysis(transforms.AnalysisTransform):
        def call(self, pixels):
            return apply(transforms.analysis_operations(self.plain_weights(), 2, 0.5, self.convolution_dtype), pixels)

    class Synthesis(transforms.SynthesisTransform):
        def call(self, latents):
            return apply(transforms.synthesis_operations(self.plain_weights(), 2, 0.5, self.convolution_dtype), latents)

    def make_model(settings, arithmetic):
        model = loop.model_of(settings, arithmetic)
        sizes = (settings.num_filters, settings.latents, settings.channels, 2, 0.5, arithmetic, settings.num_gdns)
        model.analysis, model.synthesis = Analysis(*sizes), Synthesis(*sizes)
        model.analysis.build([None, None, None, settings.channels])
        model.synthesis.build([None, None, None, settings.latents])
        # At 0 the first steps would only learn the mean colour.
        weights = model.synthesis.plain_weights().map(np.asarray)
        weights.biases[-1] = mean / PIXEL_SCALE
        model.synthesis.set_plain_weights(weights)
        # Without GDN its parameters stay where they are.
        for layer in (*model.analysis.gdns, *model.synthesis.gdns):
            layer.trainable = kind == "GDN"
        return model

    return make_model


def train(kind, settings, mean):
    """Trains one kind; returns rows of step, seconds, and bpp, PSNR, loss of the photographs held out."""
    with tempfile.TemporaryDirectory() as folder:
        settings = dataclasses.replace(settings, run_dir=folder)
        history = loop.train(settings, model_of(kind, mean), export=False).history
    return [[row[name] for name in ("step", "seconds", "val_bpp", "val_psnr", "val_loss")] for row in history]


def main(argv):
    del argv
    # The same weights at the start, the same crops in the same order, and the same noise.
    settings = Settings(
        data=FLAGS.data, lmbda=FLAGS.lmbda, num_filters=FLAGS.num_filters, num_gdns=2, prior="factorized",
        start="random", steps=FLAGS.steps, steps_per_epoch=max(1, FLAGS.steps // 12), fine_tune_steps=0,
        learning_rate=FLAGS.learning_rate, warmup=min(200, FLAGS.steps // 10), batch_size=8, arithmetic="float32",
    )  # fmt: skip
    print(
        f"λ = {FLAGS.lmbda:g}, {FLAGS.num_filters} filters, {FLAGS.steps} steps of 8×128², SOAP {FLAGS.learning_rate:g}"
    )
    results = {}
    try:
        training, _ = loop.load_photographs(settings)
    except DataError as error:
        sys.exit(f"{error}: name training photographs with --data.")
    mean = np.mean([pixels.mean((0, 1)) for _, pixels in training], axis=0)
    for kind in KINDS:
        results[kind] = train(kind, settings, mean)
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
    flags.DEFINE_string(
        "out", str(kodak.ROOT / "docs/experiments/nonlinearity.png"), "The picture; its figures go beside it."
    )
    app.run(main)
