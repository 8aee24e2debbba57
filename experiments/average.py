"""Averages the weights of a training with those that it started from, and makes coding tables for what comes of it.

On the way between two points of one valley of the loss the weights are often better than at either end (Wortsman et
al. 2022, "Robust fine-tuning of zero-shot models"): a short training that was to win texture keeps most of it, and
its noise goes. Choose the share of each on photographs that are held out. The prior, which the coding tables begin
with, is the trained point's.

    python experiments/average.py --trained=runs/models/bls2017-mse-4 --init_from=runs/before/bls2017-mse-4 \\
        --data=../shared/images/train
"""

import datetime
import os
import sys

from absl import app, flags
import numpy as np

from balle2017.model.weights import FIELDS, Transform
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
    """Each array of two `Transform`s, a share of the second's and the rest of the first's.

    Raises:
      ValueError: If they are not of the same sizes.
    """
    first, second = start.map(np.asarray), trained.map(np.asarray)
    if [array.shape for array in first.arrays()] != [array.shape for array in second.arrays()]:
        raise ValueError(
            "The two points have weights of different sizes: the training did not start from this one, or channels of"
            " its latents died."
        )
    pairs = (zip(getattr(first, field.name), getattr(second, field.name)) for field in FIELDS)
    return Transform(*([(1 - share) * a + share * b for a, b in arrays] for arrays in pairs)).rounded()


def average(trained, init_from, data, share):
    """The `RatePoint` between two exported ones; the arguments are the flags."""
    point = reading.load_rate_point(trained)
    run = point.info["runs"][-1]
    settings = Settings(**{**run["settings"], "data": tuple(data), "init_from": init_from})
    training, _ = loop.load_photographs(settings)
    # In the units that the training began in, which its crops say.
    crops = loop.crops_of(settings, photographs.CropSource(training), seed=1)
    start = rate_point_to_start_from(settings, crops)
    point.analysis = averaged(start.analysis, point.analysis, share)
    point.synthesis = averaged(start.synthesis, point.synthesis, share)
    print("making coding tables", flush=True)
    latents = list(rounded_latents(point.analysis, settings.exponents, training))
    point.tables = loop.tables_of(point.prior, latents, settings.num_classes)
    # The figures are of the weights before.
    point.info["validation"] = {}
    own = {"share": share, "init_from": settings.public()["init_from"], "trained": point.name}
    point.info["runs"].append(
        {
            "name": f"{point.name} (averaged)",
            "lambda": point.lmbda,
            "date": datetime.date.today().isoformat(),
            "settings": {**own, "num_classes": settings.num_classes},
        }
    )
    return point


def main(_):
    loop.use_threads_well()
    try:
        point = average(FLAGS.trained, FLAGS.init_from, FLAGS.data, FLAGS.share)
    except (OSError, ValueError) as error:
        sys.exit(f"average.py: {error}")
    directory = os.path.join(FLAGS.models_dir, point.name)
    writing.export(point, directory)
    print(f"exported {directory}")


if __name__ == "__main__":
    app.run(main)
