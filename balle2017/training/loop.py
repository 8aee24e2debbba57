"""Trains one rate point and exports it.

Reads from top to bottom: photographs, starting point, optimizer, fit, coding tables, export.
"""

import datetime
import json
import os
import sys

import numpy as np
import tensorflow as tf
import tqdm

from balle2017.entropy import competition, fitting
from balle2017.model import prior
from balle2017.model.competing_prior import prior_of
from balle2017.model.objective import MS_SSIM_MIN_SIDE, RateDistortionModel, distortion_per_image
from balle2017.model.network import STRIDE
from balle2017.model.operations import processor_has_bfloat16
from balle2017.model.transforms import analyze
from balle2017.saved_model import reading, writing
from balle2017.saved_model.rate_point import RatePoint
from balle2017.training import conditioning, klt, photographs
from balle2017.training.settings import EXAMPLE_IMAGES, FLAGS
from balle2017.training.soap import SOAP

VALIDATION_SIZE = 256
# Photographs whose latents the competing densities start from.
PRIOR_PHOTOGRAPHS = 150


def die(sentence):
    """Ends the program with one sentence."""
    print(f"balle2017.train: {sentence}", file=sys.stderr)
    sys.exit(1)


def use_threads_well():
    """On two cores, two ops at once with a thread each are 15 % faster than two threads an op."""
    if not tf.config.list_physical_devices("GPU") and os.cpu_count() == 2:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(2)


def load_photographs():
    """Returns `(training, validation)` lists of `(name, pixels)`."""
    channels = int(FLAGS.channels)
    if FLAGS.tfds:
        try:
            import tensorflow_datasets as tfds
        except ImportError:
            die("--tfds needs the package tensorflow-datasets: pip install 'balle2017[tfds]'")
        examples = tfds.load(FLAGS.tfds, split="train")
        images = [
            (str(i), example["image"].numpy())
            for i, example in enumerate(examples)
            if min(example["image"].shape[:2]) >= FLAGS.patch_size and example["image"].shape[2] == channels
        ]
        if not images:
            die(f"no image of {FLAGS.tfds} has {channels} channels and {FLAGS.patch_size} pixels a side")
    else:
        images = photographs.load_images(photographs.find_files(FLAGS.data or [EXAMPLE_IMAGES]), channels, FLAGS.patch_size)
    if len(images) < 2:
        die("training needs at least two images: one of them is held out for validation")
    return photographs.hold_out(images, FLAGS.validation_fraction)


def num_latents():
    return FLAGS.num_latents or FLAGS.num_filters


def make_optimizer(arithmetic, learning_rate, steps, warmup, ema, schedule="cosine"):
    learning_rate = tf.keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, steps - warmup),
        warmup_target=learning_rate,
        warmup_steps=warmup,
        alpha=1.0 if schedule == "constant" else 0.0,
    )
    averaging = dict(use_ema=True, ema_momentum=ema) if ema else {}
    if FLAGS.optimizer == "adam":
        return tf.keras.optimizers.Adam(learning_rate, **averaging)
    return SOAP(learning_rate, matrix_dtype=arithmetic, **averaging)


def fit_prior(model, crops, steps=400):
    """Fits the prior alone to the latents of the starting point, which joint training would take minutes for."""
    images = tf.concat(list(crops.take(3)), 0)
    latents = model.analysis(tf.cast(images, tf.float32))
    optimizer = tf.keras.optimizers.Adam(2e-2 if FLAGS.prior == "factorized" else 3e-3)
    variables = model.prior.trainable_variables
    optimizer.build(variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            _, bits = model.bottleneck(latents, training=True)
            loss = tf.reduce_mean(bits) / (FLAGS.patch_size**2)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return loss

    for _ in range(steps):
        bpp = step()
    print(f"starting point: {float(bpp):.3f} bpp after fitting the prior", flush=True)


def start_prior(model, crops, training, start=None):
    """Sets the prior to the latents of the starting point."""
    if FLAGS.prior == "competing":
        if start is not None and np.shape(start.prior.get("loc")) == model.prior.loc.shape:
            prior.set_prior_parameters(model.prior, prior.prior_parameters(prior_of(start.prior)))
            return
        latents = list(rounded_latents(model, training[:PRIOR_PHOTOGRAPHS]))
        tables = fitting.coding_tables(None, fitting.latent_histogram(latents, num_latents()))
        model.prior.set_from_tables(competition.competing_tables(tables, latents, FLAGS.num_classes))
    elif start is not None and "loc" not in start.prior:
        prior.set_prior_parameters(model.prior, start.prior)
    fit_prior(model, crops)


def initialize(model, crops, training):
    """Sets the weights that training starts from."""
    if FLAGS.init_from:
        start = reading.load_rate_point(FLAGS.init_from)
        sizes = (start.num_filters, start.num_latents, start.channels)
        if sizes != (FLAGS.num_filters, num_latents(), int(FLAGS.channels)):
            die(
                f"{FLAGS.init_from} has %d filters, %d latents and %d channels: " % sizes
                + "give the same with --num_filters, --num_latents and --channels"
            )
        # The optimal step of a uniform quantizer falls with the root of λ.
        finer = (FLAGS.lmbda / start.lmbda) ** 0.5
        gdns = len(start.analysis.betas)
        if gdns > FLAGS.num_gdns:
            die(f"{FLAGS.init_from} has {gdns} GDN: give --num_gdns={gdns}")
        conditioning.rescale_latents(start, finer)
        pixels = tf.concat(list(crops.take(3)), 0)
        if gdns < FLAGS.num_gdns:
            latents = analyze(tf.cast(pixels, tf.float32), start.analysis, start.gdn_alpha, start.gdn_epsilon)
            power = float(tf.reduce_mean(tf.reduce_sum(tf.square(latents), -1)))
            conditioning.add_gdn_at_latents(start.analysis, start.synthesis, power)
        analysis, synthesis = conditioning.conditioned(start, pixels, FLAGS.gdn_share)
        model.analysis.set_plain_weights(analysis)
        model.synthesis.set_plain_weights(synthesis)
        start_prior(model, crops, training, start)
    elif FLAGS.start == "klt":
        patches = np.concatenate([batch.numpy() for batch in crops.take(1 + 600 // FLAGS.batch_size)])
        analysis, synthesis = klt.linear_transform_code(
            patches, FLAGS.lmbda, FLAGS.num_filters, num_latents(), FLAGS.num_gdns, seed=FLAGS.seed
        )
        model.analysis.set_plain_weights(analysis)
        model.synthesis.set_plain_weights(synthesis)
        start_prior(model, crops, training)


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


def is_chief(strategy):
    """Whether this process writes what all workers share: logs and the exported rate point."""
    resolver = strategy.cluster_resolver
    return resolver is None or resolver.task_type in (None, "chief") or (
        resolver.task_type == "worker" and resolver.task_id == 0
    )


def resumed_step(backup_dir):
    """The step that the last checkpoint of an earlier run has reached, or 0."""
    newest = tf.train.latest_checkpoint(os.path.join(backup_dir, "chief"))
    if newest is None:
        return 0
    epoch = tf.train.load_variable(newest, "ckpt_saved_epoch/.ATTRIBUTES/VARIABLE_VALUE")
    return (int(epoch) + 1) * FLAGS.steps_per_epoch


def fit(model, source, validation, run_dir):
    """Runs Keras `fit` from the start or from the last checkpoint of `run_dir`."""
    backup_dir = os.path.join(run_dir, "backup")
    first_step = resumed_step(backup_dir)
    if first_step:
        print(f"going on from step {first_step} of {FLAGS.steps} ({backup_dir})", flush=True)
    crops = source.batches(FLAGS.patch_size, FLAGS.batch_size, FLAGS.min_scale, FLAGS.seed, first_step)
    callbacks = [
        tf.keras.callbacks.BackupAndRestore(backup_dir, delete_checkpoint=False),
        tf.keras.callbacks.TerminateOnNaN(),
    ]
    chief = is_chief(model.distribute_strategy)
    if chief:
        callbacks += [
            tf.keras.callbacks.TensorBoard(run_dir, update_freq="epoch", write_graph=False),
            tf.keras.callbacks.CSVLogger(os.path.join(run_dir, "history.csv"), append=True),
        ]
    if chief and validation is not None:
        callbacks.append(Pictures(next(iter(validation))[:2], os.path.join(run_dir, "pictures")))
    history = model.fit(
        crops,
        epochs=-(-FLAGS.steps // FLAGS.steps_per_epoch),
        steps_per_epoch=FLAGS.steps_per_epoch,
        validation_data=validation,
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,
    )
    if not all(np.isfinite(history.history.get("loss", [0.0]))):
        die("the loss is not a number any more: train with a smaller --learning_rate")


def fine_tune(model, source, arithmetic):
    """Trains the synthesis transform on rounded latents, the analysis staying as it is.

    Noise lets the synthesis expect values that rounding never produces; at low rates, where most
    latents round to zero, this mismatch costs several tenths of a dB.
    """
    variables = model.synthesis.trainable_variables
    optimizer = make_optimizer(
        arithmetic, FLAGS.learning_rate / 4, FLAGS.fine_tune_steps, FLAGS.fine_tune_steps // 10, ema=0.99
    )
    optimizer.build(variables)

    @tf.function
    def step(images):
        images = tf.cast(images, tf.float32)
        latents = tf.round(model.analysis(images))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(distortion_per_image(images, model.synthesis(latents), FLAGS.distortion))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))

    crops = source.batches(FLAGS.patch_size, FLAGS.batch_size, FLAGS.min_scale, FLAGS.seed + 2)
    for images in tqdm.tqdm(crops.take(FLAGS.fine_tune_steps), "fine-tuning", FLAGS.fine_tune_steps, disable=None):
        step(images)
    optimizer.finalize_variable_values(variables)


def rounded_latents(model, images):
    """Yields the rounded latents `[h, w, num_latents]` of whole photographs, int16."""
    analyze = tf.function(lambda pixels: tf.round(model.analysis(pixels)), reduce_retracing=True)
    for _, pixels in images:
        height, width = (side // STRIDE * STRIDE for side in pixels.shape[:2])
        yield tf.cast(analyze(tf.cast(pixels[None, :height, :width], tf.float32)), tf.int16)[0].numpy()


def rate_point_of(model, training, validation_figures):
    """Freezes the model: plain weights as they are stored, coding tables from the training set's rounded latents."""
    analysis, synthesis = (
        half.plain_weights().map(np.asarray).rounded() for half in (model.analysis, model.synthesis)
    )
    model.analysis.set_plain_weights(analysis)
    latents = list(rounded_latents(model, training))
    tables = fitting.coding_tables(model.prior, fitting.latent_histogram(latents, num_latents()))
    return RatePoint(
        name=FLAGS.name,
        lmbda=FLAGS.lmbda,
        num_latents=num_latents(),
        channels=int(FLAGS.channels),
        slice_length=FLAGS.slice_length,
        gdn_alpha=model.analysis.gdn_alpha,
        gdn_epsilon=model.analysis.gdn_epsilon,
        analysis=analysis,
        synthesis=synthesis,
        tables=competition.competing_tables(tables, latents, FLAGS.num_classes),
        prior=prior.prior_parameters(model.prior),
        info={
            "distortion": FLAGS.distortion,
            "relaxation": FLAGS.relaxation,
            "prior": FLAGS.prior,
            "steps": FLAGS.steps,
            "batch_size": FLAGS.batch_size,
            "patch_size": FLAGS.patch_size,
            "fine_tune_steps": FLAGS.fine_tune_steps,
            "optimizer": FLAGS.optimizer,
            "learning_rate": FLAGS.learning_rate,
            "init_from": os.path.basename(os.path.normpath(FLAGS.init_from)) if FLAGS.init_from else FLAGS.start,
            "data": FLAGS.tfds or [os.path.basename(os.path.normpath(d)) for d in FLAGS.data or [EXAMPLE_IMAGES]],
            "training_images": len(training),
            "date": datetime.date.today().isoformat(),
            "validation": validation_figures,
        },
    )


def main(argv):
    if len(argv) > 1:
        die(f"unexpected argument {argv[1]!r}: photographs are named with --data")
    if FLAGS.patch_size % STRIDE:
        die(f"--patch_size must be a multiple of {STRIDE}")
    if FLAGS.prior == "competing" and FLAGS.num_classes == 1:
        die("a single class has nothing to compete with: give --prior=factorized, too")
    if FLAGS.distortion == "ms_ssim" and FLAGS.patch_size < MS_SSIM_MIN_SIDE:
        die(f"MS-SSIM needs --patch_size of at least {MS_SSIM_MIN_SIDE}")
    if not FLAGS.data and not FLAGS.tfds:
        print(
            "No --data: training for a minute on the photographs that come with balle2017.\n"
            "Name your own with --data FOLDER (or a glob; may be repeated).",
            flush=True,
        )
        for flag, steps in (("steps", 400), ("fine_tune_steps", 100)):
            if not FLAGS[flag].present:
                FLAGS[flag].value = steps
    tf.keras.utils.set_random_seed(FLAGS.seed)
    use_threads_well()

    strategy = {
        "one": tf.distribute.get_strategy,
        "mirrored": tf.distribute.MirroredStrategy,
        "multi_worker": tf.distribute.MultiWorkerMirroredStrategy,
    }[FLAGS.strategy]()

    try:
        training, validation = load_photographs()
    except photographs.DataError as error:
        die(str(error))
    print(f"{len(training)} photographs to train on, {len(validation)} held out", flush=True)
    source = photographs.CropSource(training)
    large = [image for image in validation if min(image[1].shape[:2]) >= VALIDATION_SIZE]
    held_out = None
    if large:
        held_out = photographs.CropSource(large).batches(VALIDATION_SIZE, 8, 1.0, seed=1).take(8).cache()

    arithmetic = FLAGS.arithmetic
    if arithmetic == "auto":
        arithmetic = "bfloat16" if processor_has_bfloat16() else "float32"
    with strategy.scope():
        model = RateDistortionModel(
            FLAGS.lmbda,
            FLAGS.num_filters,
            int(FLAGS.channels),
            *((2, 0.5) if FLAGS.gdn == "paper" else (1, 1)),
            FLAGS.distortion,
            arithmetic,
            FLAGS.relaxation,
            num_latents(),
            FLAGS.num_gdns,
            FLAGS.prior,
            FLAGS.num_classes,
        )
        model.compile(
            optimizer=make_optimizer(
                arithmetic, FLAGS.learning_rate, FLAGS.steps, FLAGS.warmup, FLAGS.ema, FLAGS.schedule
            )
        )
    run_dir = FLAGS.run_dir or os.path.join("runs", FLAGS.name)
    if not resumed_step(os.path.join(run_dir, "backup")):
        try:
            crops = source.batches(FLAGS.patch_size, FLAGS.batch_size, FLAGS.min_scale, FLAGS.seed + 1)
            initialize(model, crops, training)
        except (OSError, ValueError) as error:
            die(str(error))
    with strategy.scope():
        # Averaged weights start as the weights stand now, so not before these are set.
        model.optimizer.build(model.trainable_variables)

    fit(model, source, held_out, run_dir)

    if FLAGS.fine_tune_steps and FLAGS.strategy == "one":
        fine_tune(model, source, arithmetic)

    figures = {}
    if held_out is not None:
        figures = {k: round(float(v), 4) for k, v in model.evaluate(held_out, verbose=0, return_dict=True).items()}
    if not is_chief(strategy):
        return
    directory = os.path.join(FLAGS.models_dir, FLAGS.name)
    writing.export(rate_point_of(model, training, figures), directory)
    print(f"exported {directory}: {json.dumps(figures)}")
