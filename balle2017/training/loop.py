"""Trains one rate point and exports it.

Reads from top to bottom: photographs, starting point, optimizer, fit, coding tables, export.
"""

import csv
import dataclasses
import datetime
import os
import sys
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from balle2017.entropy import competition, fitting
from balle2017.files.writing import check_folder
from balle2017.model import prior
from balle2017.model.competing_prior import CompetingPrior, prior_of
from balle2017.model.objective import RateDistortionModel
from balle2017.model.operations import processor_has_bfloat16
from balle2017.saved_model import writing
from balle2017.saved_model.folder import read_versions
from balle2017.saved_model.rate_point import RatePoint
from balle2017.training import photographs, pruning
from balle2017.training import settings as run_settings
from balle2017.training.checkpoints import Checkpoints, Schedule, StopAt, has_checkpoint
from balle2017.training.settings import EXAMPLE_IMAGES, SettingsError
from balle2017.training.soap import SOAP
from balle2017.training.start import initialize, rounded_latents

VALIDATION_SIZE = 256
# How often a training goes back to its last good state, at half of the learning rate each time.
_MAX_HALVINGS = 4


class TrainingError(Exception):
    """Training failed; the message is one sentence."""


@dataclasses.dataclass
class Result:
    """What came of a training.

    Attributes:
      figures: Of the photographs that were held out, with rounded latents, at the end.
      history: For each epoch its step, seconds and figures by name, floats.
      directory: The exported rate point, or `None`.
    """

    figures: dict[str, float]
    history: list[dict[str, float]]
    directory: Optional[str]


def train(settings, make_model=None, export=True):
    """Trains a rate point, or goes on where a run of the same settings stopped, and exports it.

    Args:
      settings: `Settings`.
      make_model: Function of the settings and the type of products to a `RateDistortionModel`, for
        other networks than the one that is exported.
      export: Whether to export; also the coding tables are made only then.

    Returns:
      A `Result`. Workers other than the chief export nothing.

    Raises:
      SettingsError: If the run has been begun with other settings, `init_from` has other sizes, or the
        rate point of another run would be replaced.
      DataError: If there are no photographs to train on.
      TrainingError: If the loss does not stay finite.
      OutputError: If nothing can be written to `models_dir`.
      OSError, ValueError: If the rate point to start from cannot be read.
    """
    resumed = has_checkpoint(settings.folder)
    ancestors = run_settings.check_kept(settings) if resumed else []
    directory = os.path.join(settings.models_dir, settings.name)
    if export and len(read_versions(directory)) > 1:
        raise SettingsError(
            f"{directory} holds the decoders of several versions, which a training would replace: give another"
            " models_dir, and put its result beside them by balle2017.export with --keep_versions"
        )
    if export:
        run_settings.check_exported(settings, directory)
    tf.keras.utils.set_random_seed(settings.seed)
    use_threads_well()
    strategy = {
        "one": tf.distribute.get_strategy,
        "mirrored": tf.distribute.MirroredStrategy,
        "multi_worker": tf.distribute.MultiWorkerMirroredStrategy,
    }[settings.strategy]()
    if export and is_chief(strategy):
        # What keeps the result from being written would show only when hours have passed.
        check_folder(settings.models_dir)

    training, validation = load_photographs(settings)
    print(f"{len(training)} photographs to train on, {len(validation)} held out", flush=True)
    source = photographs.CropSource(training)
    large = [image for image in validation if min(image[1].shape[:2]) >= VALIDATION_SIZE]
    held_out = None
    if large:
        held_out = photographs.CropSource(large).batches(VALIDATION_SIZE, 8, 1.0, seed=1).take(8).cache()

    arithmetic = settings.arithmetic
    if arithmetic == "auto":
        arithmetic = "bfloat16" if processor_has_bfloat16() else "float32"
    with strategy.scope():
        model = (make_model or model_of)(settings, arithmetic)
        schedule = Schedule(settings.learning_rate, settings.steps, settings.warmup, settings.schedule == "constant")
        model.compile(optimizer=make_optimizer(settings, model, arithmetic, schedule, settings.ema))
    if not resumed:
        ancestors = initialize(model, settings, crops_of(settings, source, seed=1), training)
    with strategy.scope():
        # Averaged weights start as the weights stand now, so not before these are set.
        model.optimizer.build(model.trainable_variables)
        checkpoints = Checkpoints(model, schedule, settings.folder, worker_name(strategy))
    if not resumed and is_chief(strategy):
        run_settings.keep(settings, ancestors)

    fit(model, settings, source, held_out, checkpoints)
    if settings.fine_tune_steps:
        fine_tune(model, settings, source, arithmetic)

    figures = {}
    if held_out is not None:
        figures = {k: round(float(v), 4) for k, v in model.evaluate(held_out, verbose=0, return_dict=True).items()}
    history = read_history(settings.folder)
    if not (export and is_chief(strategy)):
        return Result(figures, history, None)
    info = describe(settings, ancestors, len(training), figures, checkpoints.seconds)
    writing.export(rate_point_of(model, settings, training, info), directory)
    print(f"exported {directory}")
    if figures:
        print(f"{len(large)} photographs that were held out: {summary(settings, figures)}", flush=True)
    return Result(figures, history, directory)


def use_threads_well():
    """On two cores, two ops at once with a thread each are 15 % faster than two threads an op."""
    if not tf.config.list_physical_devices("GPU") and os.cpu_count() == 2:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(2)
        except RuntimeError:
            # TensorFlow has begun to work in this process already.
            pass


def load_photographs(settings):
    """Returns `(training, validation)` lists of `(name, pixels)`."""
    if settings.tfds:
        images = photographs.load_tfds(settings.tfds, settings.channels, settings.patch_size)
    else:
        files = photographs.find_files(settings.data or [os.path.join(EXAMPLE_IMAGES, "*.jpg")])
        images = photographs.load_images(files, settings.channels, settings.patch_size)
    if len(images) < 2:
        raise photographs.DataError("training needs at least two images: one of them is held out for validation")
    return photographs.hold_out(images, settings.validation_fraction)


def crops_of(settings, source, seed=0, first_step=0):
    """The batches of a training, from a step on; another seed for other crops."""
    return source.batches(
        settings.patch_size, settings.batch_size, settings.min_scale, settings.seed + seed, first_step
    )


def model_of(settings, arithmetic):
    """The `RateDistortionModel` of a training."""
    return RateDistortionModel(
        settings.lmbda,
        settings.num_filters,
        settings.channels,
        *settings.exponents,
        distortion=settings.distortion,
        convolution_dtype=arithmetic,
        relaxation=settings.relaxation,
        num_latents=settings.latents,
        num_gdns=settings.num_gdns,
        prior=settings.prior,
        num_classes=settings.num_classes,
        ms_ssim_weight=settings.ms_ssim_weight,
    )


def make_optimizer(settings, model, arithmetic, schedule, ema):
    averaging = dict(use_ema=True, ema_momentum=ema) if ema else {}
    if settings.optimizer == "adam":
        return tf.keras.optimizers.Adam(schedule, **averaging)
    return SOAP(schedule, model.kernels, matrix_dtype=arithmetic, **averaging)


def is_chief(strategy):
    """Whether this process writes what all workers share: logs and the exported rate point."""
    return worker_name(strategy) == "chief"


def worker_name(strategy):
    """`chief`, or which of the other workers this process is."""
    resolver = strategy.cluster_resolver
    if resolver is None or resolver.task_type in (None, "chief"):
        return "chief"
    return "chief" if resolver.task_id == 0 else f"worker-{resolver.task_id}"


class Pictures(tf.keras.callbacks.Callback):
    """Writes originals beside their reconstructions to TensorBoard after each epoch."""

    def __init__(self, images, log_dir):
        super().__init__()
        self.images = images
        self.writer = tf.summary.create_file_writer(log_dir)

    def on_epoch_end(self, epoch, logs=None):
        reconstruction, _ = self.model(self.images, training=False)
        reconstruction = tf.cast(tf.clip_by_value(tf.round(reconstruction), 0, 255), tf.uint8)
        with self.writer.as_default(step=epoch):
            tf.summary.image("original | reconstruction", tf.concat([self.images, reconstruction], 2))


def fit(model, settings, source, validation, checkpoints):
    """Runs Keras `fit` from the start or from the last checkpoint.

    A loss that is not finite is no checkpoint: training goes on from the last one at half of the learning rate.

    Raises:
      TrainingError: If that does not help, or there is none.
    """
    if checkpoints.restore():
        print(f"going on from step {checkpoints.step} of {settings.steps} ({settings.folder})", flush=True)
    for _ in range(1 + _MAX_HALVINGS):
        # The order of the callbacks is that of their work: what checkpoints log goes into the history.
        callbacks = [StopAt(settings.steps), tf.keras.callbacks.TerminateOnNaN(), checkpoints]
        if is_chief(model.distribute_strategy):
            callbacks += logs_of(settings, validation)
        first = checkpoints.step
        if first < settings.steps:
            model.fit(
                crops_of(settings, source, first_step=first),
                initial_epoch=first // settings.steps_per_epoch,
                epochs=-(-settings.steps // settings.steps_per_epoch),
                steps_per_epoch=settings.steps_per_epoch,
                validation_data=validation,
                callbacks=callbacks,
                verbose=1 if sys.stdout.isatty() else 2,
            )
        elif settings.ema:
            model.optimizer.finalize_variable_values(model.trainable_variables)
        if not checkpoints.diverged:
            return
        if not checkpoints.restore():
            break
        factor = checkpoints.slow_down()
        print(
            f"the loss was not finite any more: back to step {checkpoints.step}, with {factor:g} of the learning rate",
            flush=True,
        )
    raise TrainingError("the loss is not a number any more: train with a smaller learning_rate")


def logs_of(settings, validation):
    """Callbacks that write what TensorBoard and `read_history` read."""
    callbacks = [
        tf.keras.callbacks.TensorBoard(settings.folder, update_freq="epoch", write_graph=False),
        tf.keras.callbacks.CSVLogger(os.path.join(settings.folder, "history.csv"), append=True),
    ]
    if validation is not None:
        callbacks.append(Pictures(next(iter(validation))[:2], os.path.join(settings.folder, "pictures")))
    return callbacks


def read_history(folder):
    """The epochs of a run, also of those before it was stopped: dictionaries of floats by name."""
    try:
        with open(os.path.join(folder, "history.csv"), newline="", encoding="utf-8") as file:
            return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    except OSError:
        return []


class FineTuning(tf.keras.Model):
    """The synthesis transform of a model, trained on rounded latents, the analysis staying as it is.

    Noise lets the synthesis expect values that rounding never produces; at low rates, where most
    latents round to zero, this mismatch costs several tenths of a dB.
    """

    def __init__(self, model):
        super().__init__()
        self._model = model
        self.distribute_reduction_method = "first"
        self.built = True

    @property
    def trainable_variables(self):
        return self._model.synthesis.trainable_variables

    def train_step(self, images):
        images = tf.cast(images, tf.float32)
        latents = tf.round(self._model.analysis(images))
        with tf.GradientTape() as tape:
            made = self._model.synthesis(latents)
            distortion = self._model.training_distortion(images, made)
            loss = distortion / tf.distribute.get_strategy().num_replicas_in_sync
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return {"distortion": distortion}


def fine_tune(model, settings, source, arithmetic):
    """Trains the synthesis transform on, see `FineTuning`."""
    steps = settings.fine_tune_steps
    print(f"fine-tuning the synthesis transform for {steps} steps", flush=True)
    with model.distribute_strategy.scope():
        tuning = FineTuning(model)
        schedule = Schedule(settings.learning_rate / 4, steps, steps // 10)
        tuning.compile(optimizer=make_optimizer(settings, model, arithmetic, schedule, ema=0.99))
        tuning.optimizer.build(tuning.trainable_variables)
    tuning.fit(
        crops_of(settings, source, seed=2),
        epochs=1,
        steps_per_epoch=steps,
        verbose=1 if sys.stdout.isatty() else 2,
    )


def rate_point_of(model, settings, training, info):
    """Freezes the model: plain weights as they are stored, coding tables from the training set's rounded latents."""
    analysis, synthesis = (half.plain_weights().map(np.asarray).rounded() for half in (model.analysis, model.synthesis))
    latents = list(rounded_latents(analysis, settings.exponents, training))
    alive = pruning.alive(latents)
    analysis, synthesis, parameters = pruning.without_dead_latents(
        analysis, synthesis, prior.prior_parameters(model.prior), alive, settings.exponents, training
    )
    # But for the last trace of the dead ones in GDN's pools, what the analysis makes now.
    latents = [picture[..., alive] for picture in latents]
    alpha, epsilon = settings.exponents
    return RatePoint(
        name=settings.name,
        lmbda=settings.lmbda,
        num_latents=len(analysis.biases[-1]),
        channels=settings.channels,
        slice_length=settings.slice_length,
        gdn_alpha=alpha,
        gdn_epsilon=epsilon,
        analysis=analysis,
        synthesis=synthesis,
        tables=tables_of(parameters, latents, settings.num_classes),
        prior=parameters,
        info=info,
    )


def tables_of(parameters, latents, num_classes):
    """Coding tables for rounded latents.

    Args:
      parameters: Of the prior, of either kind, by name.
      latents: List of integer arrays `[h, w, num_latents]`, of the training set.
      num_classes: K.

    Returns:
      `CodingTables`.
    """
    density = prior_of(parameters)
    # The factorized prior knows of no classes.
    choose = density.choose_of_picture if isinstance(density, CompetingPrior) else None
    tables = fitting.coding_tables(density, fitting.latent_histogram(latents, latents[0].shape[-1]))
    return competition.competing_tables(tables, latents, num_classes, choose)


def describe(settings, ancestors, num_images, figures, seconds) -> dict[str, Any]:
    """What `model.json` says of a training and of those that it went on from."""
    today = datetime.date.today().isoformat()
    own = {
        "name": settings.name,
        "lambda": settings.lmbda,
        "gigapixels": round(settings.gigapixels(), 3),
        "hours": round(seconds / 3600, 2),
        "training_images": num_images,
        "date": today,
        "settings": settings.public(),
    }
    runs = [*ancestors, own]
    return {
        "distortion": settings.distortion,
        "date": today,
        "validation": figures,
        # Of the runs that say so; the first ones did not count hours.
        "gigapixels": round(sum(run.get("gigapixels") or 0 for run in runs), 3),
        "hours": round(sum(run.get("hours") or 0 for run in runs), 2),
        "runs": runs,
    }


def summary(settings, figures):
    """Figures in words."""
    text = f"{figures['bpp']:.4f} bpp, {figures['psnr']:.2f} dB"
    if "ms_ssim" in figures:
        text += f", MS-SSIM {figures['ms_ssim']:.4f}"
    return f"{text}, loss {figures['loss']:.4f} (rate + {settings.lmbda:g} · {settings.distortion})"
