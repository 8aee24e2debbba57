"""Training photographs: found, checked, held out by image, and cropped at random.

Photographs are decoded once and kept in memory; each crop is shrunk by a random factor, which
removes the JPEG artefacts that a compressor must not learn to reproduce.
"""

import collections
import glob
import os
import sys

import numpy as np
import tensorflow as tf

from balle2017.model.network import STRIDE
from balle2017.pictures import formats
from balle2017.pictures import images as pictures


class DataError(Exception):
    """No usable training photographs; the message says what was looked for."""


def find_files(patterns):
    """Files of folders (searched recursively), globs and single files, sorted; says how many are no pictures.

    Raises:
      DataError: If a pattern matches nothing.
    """
    files, others, extensions = set(), set(), formats.extensions()
    for pattern in patterns:
        if os.path.isdir(pattern):
            pattern = os.path.join(glob.escape(pattern), "**")
        there = {f for f in glob.glob(pattern, recursive=True) if os.path.isfile(f)}
        found = {f for f in there if os.path.splitext(f)[1].lower() in extensions}
        if not found:
            but = f"; left out are {_describe(there)}" if there else ""
            raise DataError(f"no images match {pattern!r}: name a folder or a glob of PNG or JPEG files{but}")
        files |= found
        others |= there - found
    if others:
        print(f"Left out: {_describe(others)}.", file=sys.stderr, flush=True)
    return sorted(files)


def _describe(files):
    return formats.describe_left_out(collections.Counter(map(formats.kind_of, files)))


def load_images(files, channels, min_size):
    """Decodes photographs, skipping and naming what is broken or too small.

    Args:
      files: Paths.
      channels: 3 (RGB) or 1 (grayscale).
      min_size: Smallest usable side in pixels.

    Returns:
      List of `(path, uint8 [height, width, channels])`.

    Raises:
      DataError: If nothing is left.
    """
    images, skipped = [], []
    for path in files:
        try:
            # As the commands read it, so that training sees what will be compressed.
            pixels = pictures.read(path, channels).pixels
        except (OSError, ValueError) as error:
            skipped.append(f"{path}: {error}")
            continue
        if min(pixels.shape[:2]) < min_size:
            skipped.append(f"{path}: smaller than {min_size} pixels")
            continue
        images.append((path, pixels))
    if skipped:
        print(f"Skipped {len(skipped)} of {len(files)} images:", *skipped, sep="\n  ", file=sys.stderr, flush=True)
    if not images:
        raise DataError(f"none of {len(files)} images can be decoded and is at least {min_size} pixels wide and high")
    return images


def load_tfds(name, channels, min_size):
    """The images of a data set of TensorFlow Datasets that have these channels and are large enough.

    Returns:
      List of `(number, uint8 [height, width, channels])`.

    Raises:
      DataError: If the package is missing, or nothing is left.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise DataError("tfds needs the package tensorflow-datasets: pip install 'balle2017[tfds]'") from None
    images = [
        (str(i), example["image"].numpy())
        for i, example in enumerate(tfds.load(name, split="train"))
        if min(example["image"].shape[:2]) >= min_size and example["image"].shape[2] == channels
    ]
    if not images:
        raise DataError(f"no image of {name} has {channels} channels and {min_size} pixels a side")
    return images


def hold_out(images, fraction, seed=0):
    """Splits by image, never by crop: `(training, validation)`, at least one each if there are two."""
    order = np.random.default_rng(seed).permutation(len(images))
    count = min(max(1, round(fraction * len(images))), len(images) - 1)
    return [images[i] for i in order[count:]], [images[i] for i in order[:count]]


def whole_blocks(pixels):
    """As much of a photograph `[height, width, channels]` as the transforms take: whole blocks of 16×16 pixels."""
    height, width = (side // STRIDE * STRIDE for side in pixels.shape[:2])
    return pixels[:height, :width]


class CropSource:
    """Random crops of photographs held in memory, made by TensorFlow ops alone.

    All pixels stand in one tensor `[total, channels]`, so that a crop is one gather and no
    Python runs while training does.

    Args:
      images: What `load_images` returned.
    """

    def __init__(self, images):
        arrays = [pixels for _, pixels in images]
        self.channels = arrays[0].shape[-1]
        self._pixels = tf.constant(np.concatenate([a.reshape(-1, self.channels) for a in arrays]))
        self._shapes = tf.constant([a.shape[:2] for a in arrays], tf.int64)
        sizes = np.array([a.shape[0] * a.shape[1] for a in arrays], np.int64)
        self._starts = tf.constant(np.cumsum(sizes) - sizes)
        # In proportion to the area, so that every training pixel counts alike.
        self._cumulative = tf.constant(np.cumsum(sizes / sizes.sum()), tf.float32)

    def crop(self, size, min_scale, seed):
        """One crop, shrunk by a random factor in `[min_scale, 1]` and mirrored at random.

        Args:
          size: Side of the crop in pixels, after shrinking.
          min_scale: Strongest shrinking; 1 turns it off.
          seed: int64 `[2]`; the same seed gives the same crop.

        Returns:
          uint8 `[size, size, channels]`.
        """
        random = tf.unstack(tf.random.stateless_uniform([5], seed))
        chosen = tf.minimum(tf.searchsorted(self._cumulative, random[:1], side="right")[0], len(self._cumulative) - 1)
        height, width = tf.unstack(self._shapes[chosen])
        smaller = tf.cast(tf.minimum(height, width), tf.float32)
        least = tf.maximum(tf.cast(min_scale, tf.float32), size / smaller)
        scale = least + (1.0 - least) * random[1] if min_scale < 1 else 1.0
        source = tf.minimum(tf.cast(tf.round(size / scale), tf.int64), tf.minimum(height, width))
        top = tf.cast(random[2] * tf.cast(height - source + 1, tf.float32), tf.int64)
        left = tf.cast(random[3] * tf.cast(width - source + 1, tf.float32), tf.int64)
        rows = (tf.minimum(top, height - source) + tf.range(source)) * width
        columns = tf.minimum(left, width - source) + tf.range(source)
        pixels = tf.gather(self._pixels, self._starts[chosen] + rows[:, None] + columns)
        if min_scale < 1:
            shrunk = tf.image.resize(pixels, [size, size], method="bicubic", antialias=True)
            pixels = tf.cast(tf.clip_by_value(tf.round(shrunk), 0, 255), tf.uint8)
        pixels = tf.cond(random[4] < 0.5, lambda: pixels, lambda: tf.reverse(pixels, [1]))
        return tf.ensure_shape(pixels, [size, size, self.channels])

    def batches(self, size, batch, min_scale, seed, first_step=0):
        """An endless dataset of batches, uint8 `[batch, size, size, channels]`.

        Batch k depends on `seed` and k alone: a run resumed at `first_step` sees what it would have seen.
        """
        return (
            tf.data.Dataset.counter(first_step * batch)
            .map(
                lambda index: self.crop(size, min_scale, tf.stack([tf.cast(seed, tf.int64), index])),
                num_parallel_calls=2,
            )
            .batch(batch, drop_remainder=True)
            .prefetch(4)
        )
