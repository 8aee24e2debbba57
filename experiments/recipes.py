"""What training recipes are worth: the same rate point by each of them in the same wall-clock time.

    python experiments/recipes.py --data FOLDER

Each recipe is a few settings of `python -m balle2017.train`. A pilot of 150 steps
finds how long a step takes, and the schedule that follows ends when --minutes are
over. The figures are of the photographs that are held out, with rounded latents.
Takes some 40 minutes for five recipes of five minutes; nothing else should run.
Writes `recipes.md` and its curves, loss against time, to `docs/experiments/`.
"""

import csv
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from absl import app, flags
import matplotlib.pyplot as plt
from tqdm import tqdm

from balle2017.evaluation import results
from balle2017.files import writing
import kodak

FLAGS = flags.FLAGS

RECIPES = {
    "Adam, random start": ["--optimizer=adam", "--learning_rate=1e-3", "--start=random"],
    "SOAP, random start": ["--start=random"],
    "Adam, linear transform code": ["--optimizer=adam", "--learning_rate=1e-3"],
    "SOAP, linear transform code": [],
    "the same, mixed relaxation": ["--relaxation=mixed"],
}
PILOT_STEPS = 150


def train(settings, steps, steps_per_epoch, folder):
    """Runs a training; returns its milliseconds a step, its figures, and a row for each epoch."""
    command = [
        sys.executable, "-m", "balle2017.train", f"--data={FLAGS.data}", f"--lmbda={FLAGS.lmbda}", f"--steps={steps}",
        f"--steps_per_epoch={steps_per_epoch}", "--fine_tune_steps=0", "--ema=0.99", "--name=recipe",
        f"--models_dir={folder}", f"--run_dir={folder}/run", *settings,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(kodak.ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(settings)} failed: {done.stderr.strip().splitlines()[-1]}")
    time, unit = re.findall(r"(\d+)(ms|s)/step", done.stdout)[-1]
    milliseconds = int(time) * (1000 if unit == "s" else 1)
    figures = json.loads((pathlib.Path(folder) / "recipe/model.json").read_text())["validation"]
    with open(f"{folder}/run/history.csv") as file:
        rows = list(csv.DictReader(file))
    return milliseconds, figures, rows


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
    for name, settings in tqdm(RECIPES.items(), unit="recipe"):
        with tempfile.TemporaryDirectory() as folder:
            milliseconds, _, _ = train(settings, PILOT_STEPS, PILOT_STEPS // 3, f"{folder}/pilot")
            steps = max(20, round(FLAGS.minutes * 60_000 / milliseconds))
            milliseconds, figures, rows = train(settings, steps, -(-steps // 20), f"{folder}/whole")
        lines.append(
            f"| {name} | {milliseconds} | {steps} | {figures['bpp']:.3f} | {figures['psnr']:.2f} | {figures['loss']:.3f} |"
        )
        minutes = [FLAGS.minutes * (i + 1) / len(rows) for i in range(len(rows))]
        axis.plot(minutes, [float(row["val_loss"]) for row in rows], label=name, marker=".")
    axis.set(xlabel="minutes", ylabel="rate + λ · MSE, held-out photographs", yscale="log")
    axis.grid(color="#e6e6e6", which="both")
    kodak.plain_logarithmic(axis.yaxis)
    axis.legend(fontsize=9, frameon=False)
    out = pathlib.Path(FLAGS.out)
    kodak.save(figure, out)
    writing.write_text(out.with_suffix(".md"), "\n".join(["# Training recipes", "", *lines, "", f"![Curves]({out.name})", ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    flags.DEFINE_string("data", str(kodak.ROOT.parent / "shared/images/train"), "Folder of training photographs.")
    flags.DEFINE_float("minutes", 5, "Time for each recipe.", 0)
    flags.DEFINE_float("lmbda", 0.013, "λ of rate + λ · MSE.", 0)
    flags.DEFINE_string("out", str(kodak.ROOT / "docs/experiments/recipes.png"), "The picture to write; the table beside it.")
    app.run(main)
