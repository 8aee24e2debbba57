"""Encoder effort: latents chosen for one image, for `rate + λ · distortion`; the decoder is unchanged.

The bitstream fixes what the decoder does, not which latents the encoder sends. Rounding what the
analysis transform gives is the quickest choice; here it is only the start. The relaxed latent
z = ⌊y⌋ + w(y − ⌊y⌋) moves between the two integers around y by a sigmoid w, whose temperature
falls, and y moves against the gradient. The rate is that of the actual coding tables, interpolated
linearly between integers, in the classes that the rounded latents have at the time; the distortion is that
which the model is optimized for, after the synthesis transform.

Low efforts take the mean w, without noise, and few steps, which leaves most of the gain to their size: a step
is the gradient over the curvature of the distortion. That differs between channels, and for
MS-SSIM much more between places, but it costs nothing: at first z − y is what a quantizer adds, nearly
independent from latent to latent, so that the gradient regressed on it is the curvature.
Higher efforts add Gumbel noise to the choice (Yang, Bamler & Mandt 2020, "Improving Inference for
Neural Image Compression", section 3.3), with the scaled logit of y − ⌊y⌋ for its odds (Perugachi-Diaz
et al. 2024, "Robustly overfitting latents", section 3.1), and Adam's steps. Each effort goes on from where the
one below ends, and what is kept is the best rounded state seen, so more effort is never worse.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from balle2017.codec import fidelity
from balle2017.codec.latent_rate import LatentRate
from balle2017.model import network
from balle2017.model.network import STRIDE
from balle2017.model.operations import pad_to_multiple
from balle2017.model.transforms import analyze, synthesize

# A latent reaches the pixels of blocks before its own and after it, which depend on latents further
# away: what a tile must see of its surroundings.
_REACH = network.context()
CONTEXT = sum(_REACH)
# Steps between two looks at the Lagrangian of the rounded latents, and at the classes.
_LOOK, _CLASSES = 50, 3
# What a step moves at most, in multiples of its rate.
_FARTHEST = 2.0
# Part of the last step that a step without noise repeats.
_MOMENTUM = 0.3
# Curvature of a trained code's distortion, in bits: at high rates a channel's gain is optimal where the bit that
# another factor of 2 costs is worth what it saves of the error of rounding, 1/12.
_CURVATURE = 12 / math.log(2)
# Latents a side of the squares in which the curvature is averaged, and its bounds in multiples of the mean.
_SQUARE = 5
_LOWEST, _HIGHEST = 0.2, 5.0


class Descent(NamedTuple):
    """Some steps of it.

    Attributes:
      steps: Number of steps.
      rate, last_rate: Multiple of a step at the first and the last one; in between it changes linearly.
      hot, cold: Temperature of the sigmoid at the first and the last step.
      noise: Whether the choice between two integers is random, and the steps are Adam's.
    """

    steps: int
    rate: float
    last_rate: float
    hot: float
    cold: float
    noise: bool = False

    def at(self, step):
        """Rate and temperature at a step."""
        done = step / max(1, self.steps - 1)
        return self.rate + (self.last_rate - self.rate) * done, self.hot * (self.cold / self.hot) ** done


# Effort n runs the first n. Found by measurement on training photographs.
DESCENTS = (
    Descent(2, 0.3, 0.09, 0.5, 0.2),
    Descent(5, 0.3, 0.03, 1.0, 0.1),
    Descent(64, 0.06, 0.006, 1.0, 0.4, noise=True),
    Descent(80, 0.06, 0.006, 1.0, 0.4, noise=True),
)
# Steepness of the odds of the two integers as functions of y − ⌊y⌋.
_SCALE = 2.3
# What follows a change of λ when the latents have been refined already.
TUNING = Descent(4, 0.2, 0.03, 0.5, 0.1)


class Refiner:
    """What all images of a rate point have in common.

    Args:
      rate_point: A `RatePoint`.
      dtype: Type of the factors of products while descending, `float32` or `bfloat16`; the
        Lagrangian that decides is always computed in float32.
    """

    def __init__(self, rate_point, dtype=tf.float32):
        self.lmbda = rate_point.lmbda
        self.num_latents = rate_point.num_latents
        self._alpha, self._epsilon = rate_point.gdn_alpha, rate_point.gdn_epsilon
        # Tensors are handed to the device once.
        self._analysis = rate_point.analysis.map(tf.constant)
        self._synthesis = rate_point.synthesis.map(tf.constant)
        self._dtype = dtype
        self._rate = LatentRate(rate_point.tables)
        kind = rate_point.info.get("distortion", "mse")
        if kind not in fidelity.MEASURES:
            raise ValueError(f"It is optimized for {kind!r}, which latents cannot be chosen for.")
        self.measure = fidelity.MEASURES[kind](rate_point.channels)
        latents = tf.TensorSpec([None, None, self.num_latents])
        pixels = tf.TensorSpec([None, None, rate_point.channels])
        index, number = tf.TensorSpec([2, 2], tf.int32), tf.TensorSpec([])
        place = [latents, index, index]
        self.analyze = tf.function(self._analyze, input_signature=[pixels], autograph=False)
        self.bits = tf.function(self._rate.bits, input_signature=[latents], autograph=False)
        self.round = tf.function(self._round, input_signature=[latents], autograph=False)
        self.decode = tf.function(self._decode, input_signature=[latents, *place], autograph=False)
        here = [*place, *self.measure.specs]
        self.distortion = tf.function(self._distortion, input_signature=[latents, *here], autograph=False)
        self.classes = tf.function(self._classes, input_signature=[latents], autograph=False)
        channels, places = tf.TensorSpec([self.num_latents]), tf.TensorSpec([None, None, 1])
        start = [latents, latents, tf.TensorSpec([None, None], tf.int32), number, number, number]
        self.first_step = tf.function(self._first_step, input_signature=[*start, *here], autograph=False)
        steps = [*start, number, channels, places, *here]
        self.step = tf.function(self._step, input_signature=steps, autograph=False)
        steps = [*start, number, latents, tf.TensorSpec([2], tf.int32), *here]
        self.noisy_step = tf.function(self._noisy_step, input_signature=steps, autograph=False)

    def _analyze(self, pixels):
        padded = pad_to_multiple(pixels[tf.newaxis], STRIDE)
        return analyze(padded, self._analysis, self._alpha, self._epsilon)[0]

    def _round(self, y):
        return self._rate.fill(tf.round(y))

    def _synthesize(self, z, around, paddings, box, dtype=tf.float32):
        """Pixels float `[height, width, channels]` that latents `z` reach, in a box of those of a window."""
        window = around + tf.pad(z, tf.pad(paddings, [[0, 1], [0, 0]]))
        made = synthesize(window[tf.newaxis], self._synthesis, self._alpha, self._epsilon, dtype)
        return made[0, box[0, 0] : box[0, 1], box[1, 0] : box[1, 1]]

    def _decode(self, z, around, paddings, box):
        """The same as a decoder writes them, whole numbers."""
        return tf.clip_by_value(tf.round(self._synthesize(z, around, paddings, box)), 0.0, 255.0)

    def _distortion(self, z, around, paddings, box, *context):
        """Distortion times the pixels of the picture."""
        return self.measure.cost(self._decode(z, around, paddings, box), *context)

    def _classes(self, y):
        return self._rate.choose_classes(tf.round(y))[0]

    def _gradients(self, z, floor, classes, here):
        """Gradients of the distortion and of the rate with respect to relaxed latents."""
        with tf.GradientTape() as tape:
            tape.watch(z)
            around, paddings, box, *context = here
            made = self._synthesize(z, around, paddings, box, self._dtype)
            distortion = self.measure.cost(made, *context)
        rate = self._rate.bits_of(floor + 1, classes) - self._rate.bits_of(floor, classes)
        return tape.gradient(distortion, z), rate

    def _soften(self, y, temperature):
        """Integers below, relaxed latents, and the slope of these as functions of y."""
        floor = tf.floor(y)
        up = tf.sigmoid((y - floor - 0.5) * 4 / temperature)
        return floor, self._rate.fill(floor + up), up * (1 - up) * 4 / temperature

    def _first_step(self, y, momentum, classes, lmbda, temperature, rate, *here):
        """The first step; returns y and momentum, and the curvature of the distortion as of `_step`."""
        floor, z, slope = self._soften(y, temperature)
        distortion, bits = self._gradients(z, floor, classes, here)
        error = (z - y) * self._rate.is_active
        products, squares = distortion * error, tf.square(error)
        mean = tf.reduce_sum(products) / tf.reduce_sum(squares)
        # Where there is nothing to see it is what theory says.
        mean = tf.where(mean > 0, mean, _CURVATURE / lmbda)
        by_channel, weights = (tf.reduce_sum(x, [0, 1]) for x in (products, squares))
        # Channels of little error are drawn to the mean.
        few = tf.reduce_mean(weights) / 5 + 1e-9
        channels = tf.maximum((by_channel + few * mean) / (weights + few), 0.3 * mean)
        by_place, weights = (
            tf.nn.avg_pool2d(tf.reduce_sum(x, 2)[tf.newaxis, ..., tf.newaxis], _SQUARE, 1, "SAME")[0]
            for x in (products, squares * channels)
        )
        few = tf.reduce_mean(weights) / 100 + 1e-9
        places = tf.clip_by_value((by_place + few) / (weights + few), _LOWEST, _HIGHEST)
        gradient = (lmbda * distortion + bits) * tf.sqrt(slope) * self._rate.is_active
        moved = self._move(y, momentum, gradient, lmbda * channels * places, rate, 1.0)
        return *moved, channels, places

    def _step(self, y, momentum, classes, lmbda, temperature, rate, count, channels, places, *here):
        """A step over the curvature, `channels[N] · places[h, w, 1]` for each unit of λ; the `count`th of a descent."""
        floor, z, slope = self._soften(y, temperature)
        distortion, bits = self._gradients(z, floor, classes, here)
        gradient = (lmbda * distortion + bits) * tf.sqrt(slope) * self._rate.is_active
        return self._move(y, momentum, gradient, lmbda * channels * places, rate, count)

    @staticmethod
    def _move(y, momentum, gradient, curvature, rate, count):
        momentum = _MOMENTUM * momentum + (1 - _MOMENTUM) * gradient
        step = momentum / (1 - _MOMENTUM**count) / curvature
        return y - rate * tf.clip_by_value(step, -_FARTHEST, _FARTHEST), momentum

    def _noisy_step(self, y, momentum, classes, lmbda, temperature, rate, count, squares, seed, *here):
        """One step of Adam, with a random choice between the integers."""
        floor = tf.floor(y)
        # Away from the integers, where the odds are infinite.
        part = tf.clip_by_value(y - floor, 1e-4, 1 - 1e-4)
        u = tf.random.stateless_uniform(tf.shape(y), seed, 1e-6, 1 - 1e-6)
        # The difference of two Gumbel variables is logistic.
        logistic = tf.math.log(u) - tf.math.log1p(-u)
        odds = _SCALE * (tf.math.log(part) - tf.math.log1p(-part)) / temperature
        up = tf.sigmoid((odds + logistic) / temperature)
        slope = up * (1 - up) * _SCALE / (part * (1 - part) * tf.square(temperature))
        distortion, bits = self._gradients(self._rate.fill(floor + up), floor, classes, here)
        gradient = (lmbda * distortion + bits) * slope * self._rate.is_active
        momentum = 0.9 * momentum + 0.1 * gradient
        squares = 0.999 * squares + 0.001 * tf.square(gradient)
        step = momentum / (1 - 0.9**count) / (tf.sqrt(squares / (1 - 0.999**count)) + 1e-8)
        return y - rate * step, momentum, squares


class Refinement:
    """The latents of one image while they are refined; rounded ones at first.

    Args:
      refiner: A `Refiner`.
      pixels: uint8 `[height, width, channels]`.
      tiles: `(top, bottom, left, right)` in latents, of each part to work on at a time.

    Attributes:
      latents: The best so far, int32 `[h, w, N]`.
    """

    def __init__(self, refiner, pixels, tiles):
        self._refiner = refiner
        self._pixels = pixels
        self._tiles = tiles
        self._effort = 0
        height, width = (-(-side // STRIDE) for side in pixels.shape[:2])
        self._y = np.empty([height, width, refiner.num_latents], np.float32)
        for top, bottom, left, right in tiles:
            rows, cols = self._widen(top, bottom, left, right)
            y = refiner.analyze(self._crop(rows, cols))
            self._y[top:bottom, left:right] = y[top - rows[0] :, left - cols[0] :][: bottom - top, : right - left]
        self.latents = refiner.round(self._y).numpy().astype(np.int32)
        self._picture = refiner.measure.open(pixels)
        # A single tile has no neighbours to tell what it decodes to.
        self._shares = len(tiles) > 1 and not self._picture.is_local
        if self._shares:
            made = np.empty_like(pixels)
            for tile in tiles:
                place, reached = self._place(tile)
                made[tuple(slice(*side) for side in reached)] = refiner.decode(self._rounded(tile), *place)
            self._picture.begin(made)
        # Lagrangians by tile and λ, as long as nothing around the tile has changed.
        self._known = {}
        # Of the distortion, by tile.
        self._curvature = {}

    def run(self, effort, lmbda, progress=None):
        """Refines all of the image up to an effort, from the one that it has reached.

        What is kept is the best, the latents so far included.

        Args:
          effort: 1 to `len(DESCENTS)`.
          lmbda: λ of bits per pixel + λ · distortion.
          progress: Function of the steps done since its last call, and of the Lagrangian of the
            part worked on, in bits per pixel.
        """
        self.descend(DESCENTS[self._effort : effort], lmbda, progress=progress)
        self._effort = max(self._effort, effort)

    def descend(self, descents, lmbda, keep_best=True, progress=None):
        """Descends in each tile, for each of some `Descent`s; without `keep_best` what comes out is what is kept."""
        # One by one, so that a higher effort passes through where a lower one ends.
        for descent in descents:
            for tile in self._tiles:
                self._run_tile(tile, descent, lmbda, keep_best, progress or (lambda *_: None))

    def copy(self):
        """Another one, from here on."""
        other = object.__new__(Refinement)
        copies = {"_y": self._y.copy(), "latents": self.latents.copy(), "_picture": self._picture.copy()}
        other.__dict__.update(self.__dict__, **copies, _known={}, _curvature=dict(self._curvature))
        return other

    def _run_tile(self, tile, descent, lmbda, keep_best, progress):
        top, bottom, left, right = tile
        own = slice(top, bottom), slice(left, right)
        refiner, (place, reached) = self._refiner, self._place(tile)
        here = [*place, *map(tf.constant, self._picture.context(*reached))]
        area = (bottom - top) * (right - left) * STRIDE**2
        distorted = area if self._picture.is_local else self._pixels.shape[0] * self._pixels.shape[1]

        def lagrangian(z):
            # What decides, and what it is of a pixel.
            bits, distortion = float(refiner.bits(z)), float(refiner.distortion(z, *here))
            return bits + lmbda * distortion, bits / area + lmbda * distortion / distorted

        best, lowest, shown = self._rounded(tile), None, None
        if keep_best:
            lowest, shown = self._known.pop((tile, lmbda), None) or lagrangian(best)
            progress(0, shown)
        y = tf.constant(self._y[own])
        momentum = squares = tf.zeros_like(y)
        for step in range(descent.steps):
            rate, temperature = descent.at(step)
            if step % _CLASSES == 0:
                classes = refiner.classes(y)
            state = [y, momentum, classes, *(tf.constant(x, tf.float32) for x in (lmbda, temperature, rate))]
            count = tf.constant(step + 1, tf.float32)
            if descent.noise:
                seed = tf.constant([descent.steps, step])
                y, momentum, squares = refiner.noisy_step(*state, count, squares, seed, *here)
            elif tile not in self._curvature:
                y, momentum, *self._curvature[tile] = refiner.first_step(*state, *here)
            else:
                y, momentum = refiner.step(*state, count, *self._curvature[tile], *here)
            last = step + 1 == descent.steps
            if last or (keep_best and descent.noise and (step + 1) % _LOOK == 0):
                z = refiner.round(y)
                value, of_pixel = lagrangian(z) if keep_best else (None, None)
                if not keep_best or value < lowest:
                    best, lowest, shown = z, value, of_pixel
            progress(1, shown)
        self._y[own], self.latents[own] = y, best
        if self._shares:
            made = refiner.decode(best, *place).numpy().astype(np.uint8)
            self._picture.update(*reached, made)
        self._known = {(tile, lmbda): (lowest, shown)} if keep_best and len(self._tiles) == 1 else {}

    def _rounded(self, tile):
        top, bottom, left, right = tile
        return tf.constant(self.latents[top:bottom, left:right], tf.float32)

    def _place(self, tile):
        """A tile's latents in their surroundings, tensors as `Refiner` takes them, and the pixels that they reach.

        These are ranges of rows and of columns, as far as there is a picture.
        """
        top, bottom, left, right = tile
        rows, cols = self._widen(*tile)
        around = self.latents[rows[0] : rows[1], cols[0] : cols[1]].astype(np.float32)
        around[top - rows[0] : bottom - rows[0], left - cols[0] : right - cols[0]] = 0
        paddings = np.array([[top - rows[0], rows[1] - bottom], [left - cols[0], cols[1] - right]])
        reached = [
            (max(a - _REACH[0], 0) * STRIDE, min((b + _REACH[1]) * STRIDE, size))
            for a, b, size in zip((top, left), (bottom, right), self._pixels.shape)
        ]
        box = np.array(reached) - STRIDE * np.array([[rows[0]], [cols[0]]])
        return [tf.constant(around), tf.constant(paddings, tf.int32), tf.constant(box, tf.int32)], reached

    def _widen(self, top, bottom, left, right):
        height, width = (-(-side // STRIDE) for side in self._pixels.shape[:2])
        return (
            (max(top - CONTEXT, 0), min(bottom + CONTEXT, height)),
            (max(left - CONTEXT, 0), min(right + CONTEXT, width)),
        )

    def _crop(self, rows, cols):
        (y0, y1), (x0, x1) = rows, cols
        return self._pixels[STRIDE * y0 : STRIDE * y1, STRIDE * x0 : STRIDE * x1].astype(np.float32)


def count_steps(effort):
    """Steps of descent for each tile."""
    return sum(descent.steps for descent in DESCENTS[:effort])
