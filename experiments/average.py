"""Averages the weights of a training with those that it started from, and makes coding tables for what comes of it.

On the way between two points of one valley of the loss the weights are often better than at either end (Wortsman et
al. 2022, "Robust fine-tuning of zero-shot models"): a short training that was to win texture keeps most of it, and
its noise goes. Say which share of each on photographs that are held out.

    python experiments/average.py --trained=runs/models/bls2017-mse-4 --init_from=runs/before/bls2017-mse-4 \\
        --data=../shared/images/train
"""

import os

from absl import app, flags
import numpy as np

from balle2017.entropy import competition, fitting
from balle2017.model.competing_prior import prior_of
from balle2017.model.weights import Transform
from balle2017.saved_model import reading, writing
from balle2017.training import loop, photographs
from balle2017.training.settings import Settings
from balle2017.training.start import rate_point_to_start_from, rounded_latents

FLAGS = flags.FLAGS
flags.DEFINE_string("trained", None, "Rate point that `balle2017.train` exported.", required=True)
flags.DEFINE_string("init_from", None, "Rate point that it started from.", required=True)
flags.DEFINE_multi_string("data", None, "Training photographs, as for `balle2017.train`.", required=True)
flags.DEFINE_float("share", 0.6, "Share of the trained weights.", 0, 1)
flags.DEFINE_string("models_dir", "runs/averaged", "Where the rate point is exported, under the name of the trained.")


def averaged(start, trained, share):
    """Each array of two `Transform`s, a share of the second's and the rest of the first's."""
    first, second = start.map(np.asarray), trained.map(np.asarray)
    fields = ("kernels", "biases", "betas", "gammas")
    pairs = {field: zip(getattr(first, field), getattr(second, field)) for field in fields}
    return Transform(**{field: [(1 - share) * a + share * b for a, b in pairs[field]] for field in fields}).rounded()


def main(_):
    loop.use_threads_well()
    point = reading.load_rate_point(FLAGS.trained)
    run = point.info["runs"][-1]
    settings = Settings(**{**run["settings"], "data": tuple(FLAGS.data), "init_from": FLAGS.init_from})
    training, _ = loop.load_photographs(settings)
    # In the units that the training began in, which its crops say.
    crops = loop.crops_of(settings, photographs.CropSource(training), seed=1)
    start = rate_point_to_start_from(settings, crops)
    point.analysis = averaged(start.analysis, point.analysis, FLAGS.share)
    point.synthesis = averaged(start.synthesis, point.synthesis, FLAGS.share)

    print("making coding tables", flush=True)
    latents = list(rounded_latents(point.analysis, settings.exponents, training))
    density = prior_of(point.prior)
    tables = fitting.coding_tables(density, fitting.latent_histogram(latents, point.num_latents))
    point.tables = competition.competing_tables(tables, latents, settings.num_classes, density.choose_of_picture)
    point.info["runs"].append(
        {"name": f"{point.name} (averaged)", "lambda": point.lmbda, "settings": {"share": FLAGS.share}}
    )
    directory = os.path.join(FLAGS.models_dir, point.name)
    writing.export(point, directory)
    print(f"exported {directory}")


if __name__ == "__main__":
    app.run(main)
