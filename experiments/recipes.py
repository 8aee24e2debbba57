"""What training recipes are worth: the same rate point by each of them in the same wall-clock time.

    python experiments/recipes.py --data FOLDER

Each recipe is a few settings of a training. A pilot of 150 steps
finds how long a step takes, and the schedule that follows ends when --minutes are
over. The figures are of the photographs that are held out, with rounded latents.
Takes some 40 minutes for five recipes of five minutes; nothing else should run.
Writes `recipes.md` and its curves, loss against time, to `docs/experiments/`.
"""

import os
import pathlib
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags
import matplotlib.pyplot as plt
from tqdm import tqdm

from balle2017.evaluation import results
from balle2017.files import writing
from balle2017.training import loop
from balle2017.training.photographs import DataError
from balle2017.training.settings import Settings
import kodak

FLAGS = flags.FLAGS

ADAM = dict(optimizer="adam", learning_rate=1e-3)
RECIPES = {
    "Adam, random start": dict(ADAM, start="random"),
    "SOAP, random start": dict(start="random"),
    "Adam, linear transform code": ADAM,
    "SOAP, linear transform code": dict(),
    "the same, mixed relaxation": dict(relaxation="mixed"),
    "the same, one density a channel": dict(relaxation="mixed", prior="factorized"),
}
PILOT_STEPS = 150


def train(recipe, steps, steps_per_epoch):
    """Runs a training; returns its milliseconds a step, its figures, and a row for each epoch."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            data=(FLAGS.data,), lmbda=FLAGS.lmbda, steps=steps, steps_per_epoch=steps_per_epoch, fine_tune_steps=0,
            ema=0.99, run_dir=folder, **recipe,
        )  # fmt: skip
        result = loop.train(settings, export=False)
    first, last = result.history[0], result.history[-1]
    # The first epoch is slower, as graphs are made in it.
    milliseconds = 1000 * (last["seconds"] - first["seconds"]) / (last["step"] - first["step"])
    return round(milliseconds), result.figures, result.history


def main(argv):
    del argv
    lines = [
        f"λ = {FLAGS.lmbda:g}, 128 filters, {FLAGS.minutes:g} minutes each on {os.cpu_count()} cores of"
        f" {results.processor()}; rounded latents of photographs that are held out.",
        "",
        "| recipe | ms a step | steps | bpp | PSNR (dB) | rate + λ · MSE |",
        "|---|---|---|---|---|---|",
    ]
    figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, recipe in tqdm(RECIPES.items(), unit="recipe"):
        try:
            milliseconds, _, _ = train(recipe, PILOT_STEPS, PILOT_STEPS // 3)
            steps = max(20, round(FLAGS.minutes * 60_000 / milliseconds))
            milliseconds, figures, rows = train(recipe, steps, -(-steps // 20))
        except DataError as error:
            sys.exit(f"{error}: name training photographs with --data.")
        bpp, psnr, loss = (figures[key] for key in ("bpp", "psnr", "loss"))
        lines.append(f"| {name} | {milliseconds} | {steps} | {bpp:.3f} | {psnr:.2f} | {loss:.3f} |")
        axis.plot([row["seconds"] / 60 for row in rows], [row["val_loss"] for row in rows], label=name, marker=".")
    axis.set(xlabel="minutes", ylabel="rate + λ · MSE, held-out photographs", yscale="log")
    axis.grid(color="#e6e6e6", which="both")
    kodak.plain_logarithmic(axis.yaxis)
    axis.legend(fontsize=9, frameon=False)
    out = pathlib.Path(FLAGS.out)
    kodak.save(figure, out)
    writing.write_text(
        out.with_suffix(".md"), "\n".join(["# Training recipes", "", *lines, "", f"![Curves]({out.name})", ""])
    )
    print("\n".join(lines))


if __name__ == "__main__":
    flags.DEFINE_string("data", str(kodak.ROOT.parent / "shared/images/train"), "Folder of training photographs.")
    flags.DEFINE_float("minutes", 5, "Time for each recipe.", 0)
    flags.DEFINE_float("lmbda", 0.013, "λ of rate + λ · MSE.", 0)
    flags.DEFINE_string(
        "out", str(kodak.ROOT / "docs/experiments/recipes.png"), "The picture to write; the table beside it."
    )
    app.run(main)
