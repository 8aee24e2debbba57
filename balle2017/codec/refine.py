"""Encoder effort: latents chosen for one image, for `rate + λ · distortion`; the decoder is unchanged.

The bitstream fixes what the decoder does, not which latents the encoder sends. Rounding what the
analysis transform gives is the quickest choice; here it is only the start. A relaxed latent
z = ⌊y⌋ + w stands between the two integers around y, w is a sigmoid whose temperature falls, and y moves
by the gradient of the distortion, which is that which the model is optimized for, after the synthesis
transform. The rate is that of the actual coding tables, in the classes that the rounded latents have at the time.

Effort 1 takes few steps: w is a function of y − ⌊y⌋ alone, and y moves against the gradient of
rate + λ · distortion, the rate interpolated linearly between the integers. A step is the gradient over the
curvature of the distortion. That differs between channels, and for MS-SSIM much more between places, but it
costs nothing: at first z − y is what a quantizer adds, nearly independent from latent to latent, so that the
gradient regressed on it is the curvature.

Higher efforts let the Lagrangian choose (mean-field annealing). With gradient g and curvature h the distortion is
about D + g · Δ + ½ h · Δ² for a latent that moves by Δ, least at z − g / h, which y moves towards. An integer k there
costs bits(k) + λ · ½ h · (k − y)², so that the upper of two has the odds of Gibbs's distribution:
w = sigmoid((λ · h · (y − ⌊y⌋ − ½) − bits(⌊y⌋ + 1) + bits(⌊y⌋)) / T). As T falls to 0 this becomes the better of both.
Latents that move together overlap, so y goes only part of its way. Each effort goes on from where the one below
ends, and what is kept is the best rounded state seen, so more effort is never worse.
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
# Steps between two choices of the classes.
_CLASSES = 3
# What a step moves at most, in multiples of its rate.
_FARTHEST = 2.0
# Part of the last step that a step repeats.
_MOMENTUM = 0.3
# Curvature of a trained code's distortion, in bits: at high rates a channel's gain is optimal where the bit that
# another factor of 2 costs is worth what it saves of the error of rounding, 1/12.
_CURVATURE = 12 / math.log(2)
# Latents a side of the squares in which the curvature is averaged, and its bounds in multiples of the mean.
_SQUARE = 5
_LOWEST, _HIGHEST = 0.2, 5.0
# Trust in the curvature that a latent's own last move shows, and the square of a move that gets half of it.
_TRUST, _MOVED = 0.3, 0.05


class Descent(NamedTuple):
    """Some steps of it.

    Attributes:
      steps: Number of steps.
      rate, last_rate: Multiple of a step at the first and the last one; in between it changes linearly.
      hot, cold: Temperature of the sigmoid at the first and the last step.
      gibbs: Whether the Lagrangian gives the odds of the two integers.
    """

    steps: int
    rate: float
    last_rate: float
    hot: float
    cold: float
    gibbs: bool = False

    def at(self, step):
        """Rate and temperature at a step."""
        done = step / max(1, self.steps - 1)
        return self.rate + (self.last_rate - self.rate) * done, self.hot * (self.cold / self.hot) ** done


# Effort n runs the first n. Found by measurement on training photographs.
DESCENTS = (
    Descent(2, 0.3, 0.09, 0.5, 0.2),
    Descent(12, 0.5, 0.02, 2.0, 0.1, gibbs=True),
    Descent(48, 0.3, 0.02, 2.0, 0.1, gibbs=True),
    Descent(96, 0.3, 0.02, 2.0, 0.1, gibbs=True),
)
# What follows effort 1 where many λ are tried, and what follows a change of λ when the latents have been refined:
# cooler than what came before, or it would undo what that has gained.
TRIAL = Descent(5, 0.3, 0.03, 1.0, 0.1)
TUNING = Descent(16, 0.4, 0.02, 0.6, 0.1, gibbs=True)


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
        how = [tf.TensorSpec([None, None], tf.int32), *[number] * 4, *here]
        start = [latents, latents, *how]
        self.first_step = tf.function(self._first_step, input_signature=start, autograph=False)
        steps = [latents, latents, channels, places, *how]
        self.step = tf.function(self._step, input_signature=steps, autograph=False)
        steps = [*[latents] * 6, *how]
        self.gibbs_step = tf.function(self._gibbs_step, input_signature=steps, autograph=False)

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

    def _gradient(self, z, around, paddings, box, *context):
        """Gradient of the distortion with respect to relaxed latents."""
        with tf.GradientTape() as tape:
            tape.watch(z)
            made = self._synthesize(z, around, paddings, box, self._dtype)
            # What is written as black or white loses nothing by being more so.
            distortion = self.measure.cost(tf.clip_by_value(made, 0.0, 255.0), *context)
        return tape.gradient(distortion, z)

    def _upper_bits(self, floor, classes):
        """What the integers above cost more than those below."""
        return self._rate.bits_of(floor + 1, classes) - self._rate.bits_of(floor, classes)

    def _soften(self, y, temperature):
        """Integers below, relaxed latents, and the slope of these as functions of y."""
        floor = tf.floor(y)
        up = tf.sigmoid((y - floor - 0.5) * 4 / temperature)
        return floor, self._rate.fill(floor + up), up * (1 - up) * 4 / temperature

    def _first_step(self, y, momentum, classes, lmbda, rate, temperature, count, *here):
        """The first step; returns y and momentum, and the curvature of the distortion as of `_step`."""
        floor, z, slope = self._soften(y, temperature)
        distortion = self._gradient(z, *here)
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
        gradient = (lmbda * distortion + self._upper_bits(floor, classes)) * tf.sqrt(slope) * self._rate.is_active
        return *self._move(y, momentum, -gradient / (lmbda * channels * places), rate, count), channels, places

    def _step(self, y, momentum, channels, places, classes, lmbda, rate, temperature, count, *here):
        """A step over the curvature `channels[N] · places[h, w, 1]`; the `count`th of a descent."""
        floor, z, slope = self._soften(y, temperature)
        bits = self._upper_bits(floor, classes)
        gradient = (lmbda * self._gradient(z, *here) + bits) * tf.sqrt(slope) * self._rate.is_active
        return self._move(y, momentum, -gradient / (lmbda * channels * places), rate, count)

    def _gibbs_step(
        self, z, y, momentum, curvature, last_z, last_gradient, classes, lmbda, rate, temperature, count, *here
    ):
        """A step whose relaxed latents are what Gibbs's distribution expects; returns its first six arguments anew."""
        gradient = self._gradient(z, *here)
        # The secant h = δg / δz, as far as there was a move δz: (1 − t) · h + t · δg · δz / (δz² + ε).
        moved, seen = z - last_z, tf.square(z - last_z)
        trust = _TRUST * seen / (seen + _MOVED)
        secant = (gradient - last_gradient) * moved / (seen + _MOVED)
        curvature *= tf.clip_by_value(1 - trust + trust * secant / curvature, 0.7, 2.0)
        y, momentum = self._move(y, momentum, z - gradient / curvature - y, rate, count)
        floor = tf.floor(y)
        gain = lmbda * curvature * (y - floor - 0.5) - self._upper_bits(floor, classes)
        return self._rate.fill(floor + tf.sigmoid(gain / temperature)), y, momentum, curvature, z, gradient

    @staticmethod
    def _move(y, momentum, way, rate, count):
        momentum = _MOMENTUM * momentum + (1 - _MOMENTUM) * tf.clip_by_value(way, -_FARTHEST, _FARTHEST)
        return y + rate * momentum / (1 - _MOMENTUM**count), momentum


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
        y, z = self._descended(tile, descent, lmbda, here, lambda: progress(1, shown))
        value, of_pixel = lagrangian(z) if keep_best else (None, None)
        if not keep_best or value < lowest:
            best, lowest, shown = z, value, of_pixel
            progress(0, shown)
        self._y[own], self.latents[own] = y, best
        if self._shares:
            made = refiner.decode(best, *place).numpy().astype(np.uint8)
            self._picture.update(*reached, made)
        self._known = {(tile, lmbda): (lowest, shown)} if keep_best and len(self._tiles) == 1 else {}

    def _descended(self, tile, descent, lmbda, here, stepped):
        """Where a descent ends: y, and integers."""
        refiner, z = self._refiner, self._rounded(tile)
        y = tf.constant(self._y[tile[0] : tile[1], tile[2] : tile[3]])
        momentum = tf.zeros_like(y)
        if descent.gibbs:
            channels, places = self._curvature[tile]
            state = z, y, momentum, channels * places, z, momentum
        for step in range(descent.steps):
            if step % _CLASSES == 0:
                classes = refiner.classes(state[0] if descent.gibbs else y)
            numbers = (tf.constant(x, tf.float32) for x in (lmbda, *descent.at(step), step + 1))
            how = [classes, *numbers, *here]
            if descent.gibbs:
                state = refiner.gibbs_step(*state, *how)
            elif tile in self._curvature:
                y, momentum = refiner.step(y, momentum, *self._curvature[tile], *how)
            else:
                y, momentum, *self._curvature[tile] = refiner.first_step(y, momentum, *how)
            stepped()
        return (state[1], refiner.round(state[0])) if descent.gibbs else (y, refiner.round(y))

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
