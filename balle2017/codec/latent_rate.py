"""Bits that a rate point's coding tables spend on latents, in a graph: floats, to weigh against a distortion."""

import math

import numpy as np
import tensorflow as tf

from balle2017.entropy.coder import Coder
from balle2017.entropy.tables import bin_bits


class LatentRate:
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
