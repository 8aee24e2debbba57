"""Encoder effort: latents chosen for one image, for `rate + λ · distortion`; the decoder is unchanged.

The bitstream fixes what the decoder does, not which latents the encoder sends. Rounding what the
analysis transform gives is the quickest choice; here it is only the start. The relaxed latent
z = ⌊y⌋ + w(y − ⌊y⌋) moves between the two integers around y by a sigmoid w, whose temperature
falls, and Adam moves y. The rate is that of the actual coding tables, interpolated linearly between
integers, in the classes that the rounded latents have just then; the distortion goes through the
synthesis transform.

Low efforts take the mean w, without noise, which leaves most of the gain to a handful of steps.
Higher efforts add Gumbel noise to the choice (Yang, Bamler & Mandt 2020, "Improving Inference for
Neural Image Compression", section 3.3), with the scaled logit of y − ⌊y⌋ for its odds (Perugachi-Diaz
et al. 2024, "Robustly overfitting latents", section 3.1). Each effort goes on from where the one
below ends, and what is kept is the best rounded state seen, so more effort is never worse.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from balle2017.entropy.coder import Coder
from balle2017.entropy.tables import bin_bits
from balle2017.model import network
from balle2017.model.network import STRIDE
from balle2017.model.operations import pad_to_multiple
from balle2017.model.transforms import analyze, synthesize

# A latent reaches the pixels of blocks before its own and after it, which depend on latents further
# away: what a tile must see of its surroundings.
_REACH = network.context()
CONTEXT = sum(_REACH)
# Steps between two looks at the Lagrangian of the rounded latents.
_LOOK = 50


class Descent(NamedTuple):
    """Some steps of it.

    Attributes:
      steps: Number of steps.
      learning_rate: Adam's at the first step; it falls to a tenth, linearly.
      hot, cold: Temperature of the sigmoid at the first and the last step.
      noise: Whether the choice between two integers is random.
    """

    steps: int
    learning_rate: float
    hot: float
    cold: float
    noise: bool


# Effort n runs the first n. Found by measurement on training photographs.
DESCENTS = (
    Descent(3, 0.1, 0.5, 0.2, False),
    Descent(8, 0.1, 1.0, 0.2, False),
    Descent(16, 0.1, 2.0, 0.2, False),
    Descent(32, 0.08, 1.0, 0.4, True),
    Descent(64, 0.06, 1.0, 0.4, True),
    Descent(100, 0.06, 1.0, 0.4, True),
    Descent(120, 0.06, 1.0, 0.4, True),
    Descent(140, 0.06, 1.0, 0.4, True),
    Descent(160, 0.05, 1.0, 0.4, True),
)
# Steepness of the odds of the two integers as functions of y − ⌊y⌋.
_SCALE = 2.3
# What effort 2 adds to a search for a size, whose steps are its own already: half of what effort 3 does.
_HALF = DESCENTS[2]._replace(steps=8)
# What follows a change of λ when the latents have been refined already.
_TUNING = Descent(6, 0.05, 0.5, 0.2, False)
# How many λ are tried for a file's size.
_SEARCH_STEPS = 24
# How far from its target the logarithm of a size may be for a search between bounds.
_FAR = 0.03
# Relative change in size for a relative change in λ, before it is known better.
_SLOPE = 0.4


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
        self._rate = _Rate(rate_point.tables)
        latents = tf.TensorSpec([None, None, self.num_latents])
        pixels = tf.TensorSpec([None, None, rate_point.channels])
        index, number = tf.TensorSpec([2, 2], tf.int32), tf.TensorSpec([])
        place = [latents, index, pixels, index]
        self.analyze = tf.function(self._analyze, input_signature=[pixels], autograph=False)
        self.bits = tf.function(self._rate.bits, input_signature=[latents], autograph=False)
        self.round = tf.function(self._round, input_signature=[latents], autograph=False)
        self.squared_error = tf.function(self._squared_error, input_signature=[latents, *place], autograph=False)
        steps = [latents, latents, latents, *place, *[number] * 4, tf.TensorSpec([2], tf.int32)]
        self.steps = {
            noise: tf.function(
                lambda *args, noise=noise: self._step(noise, *args),
                input_signature=steps,
                autograph=False,
            )
            for noise in (False, True)
        }

    def _analyze(self, pixels):
        padded = pad_to_multiple(pixels[tf.newaxis], STRIDE)
        return analyze(padded, self._analysis, self._alpha, self._epsilon)[0]

    def _round(self, y):
        return self._rate.fill(tf.round(y))

    def _synthesize(self, z, around, paddings, pixels, box, dtype):
        """Pixels float `[height, width, channels]` of the part of a window that `pixels` is."""
        window = around + tf.pad(z, tf.pad(paddings, [[0, 1], [0, 0]]))
        made = synthesize(window[tf.newaxis], self._synthesis, self._alpha, self._epsilon, dtype)
        return made[0, box[0, 0] : box[0, 1], box[1, 0] : box[1, 1]]

    def _squared_error(self, z, around, paddings, pixels, box):
        made = self._synthesize(z, around, paddings, pixels, box, tf.float32)
        made = tf.clip_by_value(tf.round(made), 0.0, 255.0)
        return tf.reduce_sum(tf.square(made - pixels))

    def _step(self, noise, y, m, v, around, paddings, pixels, box, weight, count, temperature, rate, seed):
        """One step of Adam; `weight` is in bits for a squared error of one."""
        floor = tf.floor(y)
        # Away from the integers, where the odds are infinite.
        part = tf.clip_by_value(y - floor, 1e-4, 1 - 1e-4)
        if noise:
            u = tf.random.stateless_uniform(tf.shape(y), seed, 1e-6, 1 - 1e-6)
            # The difference of two Gumbel variables is logistic.
            logistic = tf.math.log(u) - tf.math.log1p(-u)
            odds = _SCALE * (tf.math.log(part) - tf.math.log1p(-part)) / temperature
            up = tf.sigmoid((odds + logistic) / temperature)
            slope = up * (1 - up) * _SCALE / (part * (1 - part) * tf.square(temperature))
        else:
            up = tf.sigmoid((part - 0.5) * 4 / temperature)
            slope = up * (1 - up) * 4 / temperature
        z = self._rate.fill(floor + up)
        with tf.GradientTape() as tape:
            tape.watch(z)
            made = self._synthesize(z, around, paddings, pixels, box, self._dtype)
            error = tf.reduce_sum(tf.square(made - pixels))
        gradient = weight * tape.gradient(error, z)
        classes, _ = self._rate.choose_classes(tf.round(y))
        gradient += self._rate.bits_of(floor + 1, classes) - self._rate.bits_of(floor, classes)
        gradient *= slope * self._rate.is_active
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * tf.square(gradient)
        step = m / (1 - 0.9**count) / (tf.sqrt(v / (1 - 0.999**count)) + 1e-8)
        return y - rate * step, m, v


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
        # Lagrangians by tile and λ, as long as nothing around the tile has changed.
        self._known = {}

    def run(self, effort, lmbda, progress=None):
        """Refines all of the image up to an effort, from the one that it has reached.

        What is kept is the best, the latents so far included.

        Args:
          effort: 1 to `len(DESCENTS)`.
          lmbda: λ of bits per pixel + λ · MSE.
          progress: Function of the steps done since its last call, and of the Lagrangian of the
            part worked on, in bits per pixel.
        """
        self._run(DESCENTS[self._effort : effort], lmbda, progress=progress)
        self._effort = max(self._effort, effort)

    def find_size(self, target, lmbda, effort, encode, strict=False, tolerance=0.004, progress=None):
        """Refines for the λ at which the file has a given size.

        A few steps at each of some λ find the one that fits, which is all of effort 1. The steps of
        efforts 2 and more follow, and some more, from where those end, make good what they changed
        in size.

        Args:
          target: Size in bytes.
          lmbda: λ to begin with.
          effort: 1 to `len(DESCENTS)`.
          encode: Function of latents to the bytes of a file.
          strict: Whether the target must not be exceeded.
          tolerance: Relative error in size that ends the search.
          progress: As of `run`; without a Lagrangian while λ is sought.

        Returns:
          The bytes of the file that comes closest.
        """
        best = _Closest(target, strict, tolerance)
        found, refined = self._search(DESCENTS[1:2], lmbda, encode, best, progress)
        if effort == 1:
            return best.data
        best = _Closest(target, strict, tolerance)
        refined._run((_HALF,) if effort == 2 else DESCENTS[2:effort], found, progress=progress)
        best.add(encode(refined.latents))
        if not best.fits:
            refined._search((_TUNING,), found, encode, best, progress)
        if strict and len(best.data) > target:
            # More effort must not fail where less does not.
            return self.find_size(target, lmbda, effort - 1, encode, strict, tolerance, progress)
        return best.data

    def _search(self, descents, lmbda, encode, best, progress=None):
        """Finds the λ at which some descents end in a file that fits.

        Returns:
          λ, and the refinement that ended there.
        """
        start, x = self, math.log(lmbda)
        low = high = last = None
        tries, stalled, nearest = 0, 0, math.inf
        for _ in range(_SEARCH_STEPS):
            here = start._copy()
            here._run(descents, math.exp(x), keep_best=False, progress=progress)
            error = best.add(encode(here.latents))
            if best.fits:
                break
            if abs(error) > _FAR or tries == 4:
                # Far away, or out of these descents' reach from there, each try goes on from the last.
                if abs(error) > 0.99 * nearest:
                    stalled += 1
                    if stalled == 3:
                        break
                nearest = min(nearest, abs(error))
                start, low, high, last, tries = here, None, None, None, 0
                x -= min(max(error / _SLOPE, -0.6), 0.6)
                continue
            tries += 1
            if error > 0:
                high = x, error
            else:
                low = x, error
            if low and high:
                # The secant, but not too close to an end, where it could stay for long.
                part = low[1] / (low[1] - high[1])
                x = low[0] + min(max(part, 0.1), 0.9) * (high[0] - low[0])
            else:
                slope = (error - last[1]) / (x - last[0]) if last else _SLOPE
                last = x, error
                x -= min(max(1.1 * error / max(slope, 0.05), -0.6), 0.6)
        return math.exp(x), here

    def _run(self, descents, lmbda, keep_best=True, progress=None):
        # One by one, so that a higher effort passes through where a lower one ends.
        for descent in descents:
            for tile in self._tiles:
                self._run_tile(tile, descent, lmbda, keep_best, progress or (lambda *_: None))

    def _copy(self):
        other = object.__new__(Refinement)
        other.__dict__.update(self.__dict__, _y=self._y.copy(), latents=self.latents.copy(), _known={})
        return other

    def _run_tile(self, tile, descent, lmbda, keep_best, progress):
        top, bottom, left, right = tile
        own = slice(top, bottom), slice(left, right)
        rows, cols = self._widen(*tile)
        around = self.latents[rows[0] : rows[1], cols[0] : cols[1]].astype(np.float32)
        around[top - rows[0] : bottom - rows[0], left - cols[0] : right - cols[0]] = 0
        paddings = np.array([[top - rows[0], rows[1] - bottom], [left - cols[0], cols[1] - right]])
        # The pixels that the tile's latents reach, as far as there is a picture.
        seen = [
            (max(a - _REACH[0], 0) * STRIDE, min((b + _REACH[1]) * STRIDE, size))
            for a, b, size in zip((top, left), (bottom, right), self._pixels.shape)
        ]
        target = self._pixels[seen[0][0] : seen[0][1], seen[1][0] : seen[1][1]].astype(np.float32)
        box = np.array(seen) - STRIDE * np.array([[rows[0]], [cols[0]]])
        place = [tf.constant(around), tf.constant(paddings, tf.int32), tf.constant(target)]
        place.append(tf.constant(box, tf.int32))

        refiner = self._refiner
        # Bits that a squared error of one is worth.
        weight = lmbda / self._pixels.shape[2]
        area = (bottom - top) * (right - left) * STRIDE**2

        def lagrangian(z):
            return (float(refiner.bits(z)) + weight * float(refiner.squared_error(z, *place))) / area

        best, lowest = tf.constant(self.latents[own], tf.float32), None
        if keep_best:
            lowest = self._known.pop((tile, lmbda), None) or lagrangian(best)
            progress(0, lowest)
        y = tf.constant(self._y[own])
        m = v = tf.zeros_like(y)
        for step in range(descent.steps):
            done = step / max(1, descent.steps - 1)
            temperature = descent.hot * (descent.cold / descent.hot) ** done
            rate = descent.learning_rate * (1 - 0.9 * done)
            numbers = [tf.constant(x, tf.float32) for x in (weight, step + 1, temperature, rate)]
            seed = tf.constant([descent.steps, step])
            y, m, v = refiner.steps[descent.noise](y, m, v, *place, *numbers, seed)
            last = step + 1 == descent.steps
            if last or (keep_best and descent.noise and (step + 1) % _LOOK == 0):
                z = refiner.round(y)
                value = lagrangian(z) if keep_best else None
                if not keep_best or value < lowest:
                    best, lowest = z, value
            progress(1, lowest)
        self._y[own], self.latents[own] = y, best
        if len(self._tiles) == 1:
            self._known[tile, lmbda] = lowest

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


class _Closest:
    """Keeps the file whose size comes closest to a target.

    Attributes:
      data: The bytes of that file.
      fits: Whether its size is near enough.
    """

    def __init__(self, target, strict, tolerance):
        # What must not exceed the target aims below it.
        self._aim = math.log(target) - (tolerance / 2 if strict else 0)
        self._limit = target if strict else math.inf
        self._tolerance = tolerance / 2
        self._order = (True, math.inf)
        self.data, self.fits = None, False

    def add(self, data):
        """Takes a file, and returns by how much it is too large, as a logarithm."""
        error = math.log(len(data)) - self._aim
        order = len(data) > self._limit, abs(error)
        if order < self._order:
            self.data, self._order = data, order
            self.fits = abs(error) <= self._tolerance
        return error


class _Rate:
    """Bits that the coding tables spend, classes and escapes included.

    Args:
      tables: `CodingTables`.
    """

    def __init__(self, tables):
        self._coder = Coder(tables)
        num_latents = len(tables.cdfs)
        # An inactive channel is an escape that costs nothing, and takes no other value.
        silent = np.zeros([tables.num_classes, 1])
        costs = [silent if cdf is None else bin_bits(cdf) for cdf in tables.cdfs]
        sizes = np.array([cost.shape[1] for cost in costs], np.int32)
        starts = np.cumsum(sizes, dtype=np.int32) - sizes
        active = np.zeros(num_latents, bool)
        active[tables.active] = True
        self.is_active = tf.constant(active, tf.float32)
        self._mask = tf.constant(active)
        self._costs = tf.constant(np.concatenate(costs, 1), tf.float32)
        self._starts, self._sizes = tf.constant(starts), tf.constant(sizes - 1)
        self._offsets = tf.constant(np.where(active, tables.offsets, 0).astype(np.int32))
        self._constants = tf.constant(tables.constants, tf.float32)

    def fill(self, z):
        """Puts the constants of inactive channels into float latents `[..., N]`."""
        return tf.where(self._mask, z, self._constants)

    def choose_classes(self, z):
        """Classes `[h, w]` of float latents `[h, w, N]` that are integers, and the bits to send them."""
        latents = tf.cast(tf.reshape(z, [-1, z.shape[2]]), tf.int32)
        # In one slice, as if the tile were not cut into slices.
        classes, bits = self._coder.choose_classes(latents, tf.shape(latents)[:1])
        return tf.reshape(classes, tf.shape(z)[:2]), tf.reduce_sum(bits)

    def bits_of(self, z, classes):
        """Bits of each latent, of float latents `[h, w, N]` that are integers, in their classes `[h, w]`."""
        symbol = tf.cast(z, tf.int32) - self._offsets
        inside = (symbol >= 0) & (symbol < self._sizes)
        bins = self._starts + tf.where(inside, symbol, self._sizes)
        bits = tf.gather(tf.reshape(self._costs, [-1]), bins + classes[..., tf.newaxis] * self._costs.shape[1])
        # An escape is followed by the Elias gamma code of the distance, and its sign.
        beyond = tf.where(symbol < 0, -symbol, symbol - self._sizes + 1)
        digits = tf.floor(tf.math.log(tf.cast(tf.maximum(beyond, 1), tf.float32)) / math.log(2) + 1e-5)
        return (bits + tf.where(inside, 0.0, 2 * digits + 2)) * self.is_active

    def bits(self, z):
        """Bits of all latents together."""
        classes, class_bits = self.choose_classes(z)
        return class_bits + tf.reduce_sum(self.bits_of(z, classes))
