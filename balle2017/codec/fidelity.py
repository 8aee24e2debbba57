"""What a decoded picture differs from the original, tile by tile: the distortion of an effort's Lagrangian.

Squared error is a sum over pixels, so a tile's share of it is the tile's own. MS-SSIM is no sum: it is a
product of powers of means over the whole picture. But each is a mean over windows, of which a tile touches
few: with the sums over all others at hand, the whole picture's MS-SSIM is computed, and differentiated, from
the tile and the pixels around it.

A measure, of which a model has one, makes graphs; for each picture it opens what is kept while that is refined.
"""

import numpy as np
import tensorflow as tf

from balle2017.model import ms_ssim
from balle2017.model.ms_ssim_scales import MIN_SIDE, SIZE, WEIGHTS

# Pixels a side of the blocks that are a pixel of the coarsest scale, and by how many a window exceeds its first.
_BLOCK = 2 ** (len(WEIGHTS) - 1)
_BEYOND = _BLOCK * (SIZE - 1)
# Blocks a side whose windows are looked at together.
_TOGETHER = 48
# More pixels than any side has.
_ALL = 2**30


class SquaredError:
    """The mean squared error over pixels and channels.

    Attributes:
      specs: `tf.TensorSpec`s of the context: what `cost` takes besides decoded pixels.
    """

    def __init__(self, channels):
        self.specs = (tf.TensorSpec([None, None, channels]),)

    @staticmethod
    def cost(made, pixels):
        """Distortion times the number of the picture's pixels, as far as `made` matters.

        Args:
          made: Decoded pixels, float32 `[height, width, channels]`.
          pixels: The original ones.

        Returns:
          Scalar, float32.
        """
        return tf.reduce_sum(tf.square(made - pixels)) / made.shape[2]

    @staticmethod
    def open(pixels):
        """What is kept of a picture, uint8 `[height, width, channels]`."""
        return _Original(pixels)


class _Original:
    """A picture whose tiles need nothing of each other.

    Attributes:
      is_local: That.
    """

    is_local = True

    def __init__(self, pixels):
        self._pixels = pixels

    def context(self, rows, cols):
        """The context of pixels in these ranges, arrays as `specs` says."""
        return (_floats(self._pixels, rows, cols),)

    def copy(self):
        """One that changes by itself."""
        return self


class MsSsim:
    """1 − MS-SSIM of the whole picture, averaged over its channels.

    A picture with a side under 161 pixels, which lacks the coarsest scale, is mirrored there until it has it.

    Attributes:
      specs: As of `SquaredError`.
      sums: Function of decoded and original pixels float32 `[height, width, channels]`, and of the pixels
        `[2]` in which windows begin that count, a multiple of 16 a side: the sums of their similarities,
        float64 `[channels, scales]`.
    """

    def __init__(self, channels):
        pixels, scales = tf.TensorSpec([None, None, channels]), len(WEIGHTS)
        sums = tf.TensorSpec([channels, scales], tf.float64)
        numbers = tf.TensorSpec([scales], tf.float64), tf.TensorSpec([], tf.float64)
        self.specs = (pixels, pixels, tf.TensorSpec([3, 2], tf.int32), sums, *numbers)
        begins = tf.TensorSpec([2], tf.int32)
        self.sums = tf.function(_sums, input_signature=[pixels, pixels, begins], autograph=False)

    @staticmethod
    def cost(made, pixels, around, margins, others, counts, area):
        """As of `SquaredError`, float64.

        Args:
          made: Decoded pixels, float32 `[height, width, channels]`.
          pixels: The original ones, and those around them that share a window with them.
          around: What is decoded of these, zero in the middle.
          margins: How many there are on each side, int32 `[3, 2]`.
          others: Sums over all other windows of the picture, float64 `[channels, scales]`.
          counts: Windows of the picture at each scale, float64 `[scales]`.
          area: Pixels of the picture, float64.
        """
        means = (others + _sums(around + tf.pad(made, margins), pixels)) / counts
        return area * (1 - ms_ssim.of_means(means))

    def open(self, pixels):
        """As of `SquaredError`."""
        return _Windows(self.sums, pixels)


class _Windows:
    """A picture, the sums over all of its windows, and what is decoded just now; as `_Original`.

    Of a picture that is refined as a whole only the first is needed: `begin` is for those in tiles.
    """

    is_local = False

    def __init__(self, sums_of, pixels):
        self._sums_of, self._pixels = sums_of, pixels
        self._size = pixels.shape[:2]
        sides = [
            [-(-max(side, MIN_SIDE) // 2**scale) - SIZE + 1 for scale in range(len(WEIGHTS))] for side in self._size
        ]
        self._coarsest = [side[-1] for side in sides]
        self._counts = np.prod(sides, 0, dtype=np.float64)
        self._made = None
        self._sums = np.zeros([pixels.shape[2], len(WEIGHTS)])

    def begin(self, made):
        """Takes the whole of what is decoded at first, uint8 like the picture."""
        self._made = made
        parts = [range(0, count, _TOGETHER) for count in self._coarsest]
        for block in ((top, left) for top in parts[0] for left in parts[1]):
            ranges, begins = [], []
            for first, count, size in zip(block, self._coarsest, self._size):
                is_last = first + _TOGETHER >= count
                begins.append(_ALL if is_last else _TOGETHER * _BLOCK)
                end = size if is_last else (first + _TOGETHER) * _BLOCK + _BEYOND
                ranges.append((first * _BLOCK, end))
            self._sums += self._sums_in(*ranges, begins)

    def context(self, rows, cols):
        """As of `_Original`."""
        seen = self._sharing_windows(rows, cols)
        margins = [(a - begin, end - b) for (a, b), (begin, end) in zip((rows, cols), seen)]
        pixels = _floats(self._pixels, *seen)
        around, others = np.zeros_like(pixels), self._sums
        if self._made is not None:
            around, others = _floats(self._made, *seen), self._sums - self._sums_in(*seen)
            (top, below), (left, right) = margins
            around[top : len(around) - below, left : around.shape[1] - right] = 0
        area = np.float64(self._size[0] * self._size[1])
        return pixels, around, np.array([*margins, (0, 0)], np.int32), others, self._counts, area

    def update(self, rows, cols, made):
        """Takes pixels in these ranges that have been decoded anew, uint8."""
        seen = self._sharing_windows(rows, cols)
        self._sums = self._sums - self._sums_in(*seen)
        self._made[slice(*rows), slice(*cols)] = made
        self._sums += self._sums_in(*seen)

    def copy(self):
        """As of `_Original`."""
        other = object.__new__(_Windows)
        made = None if self._made is None else self._made.copy()
        other.__dict__.update(self.__dict__, _made=made, _sums=self._sums.copy())
        return other

    def _sharing_windows(self, *ranges):
        return [(max(a - _BEYOND, 0), min(b + _BEYOND, size)) for (a, b), size in zip(ranges, self._size)]

    def _sums_in(self, rows, cols, begins=(_ALL, _ALL)):
        begins = np.array(begins, np.int32)
        return self._sums_of(_floats(self._made, rows, cols), _floats(self._pixels, rows, cols), begins).numpy()


def _sums(made, pixels, begins=None):
    """See `MsSsim.sums`; without `begins` all windows count."""
    sums = []
    for scale, windows in enumerate(ms_ssim.similarities(_mirrored(made), _mirrored(pixels))):
        if begins is not None:
            rows, cols = tf.unstack(begins // 2**scale)
            windows = windows[:, :rows, :cols]
        # In float32 a mean is exact enough, and a sum over millions is not.
        count = tf.cast(tf.size(windows[0, :, :, 0]), tf.float64)
        sums.append(tf.cast(tf.reduce_mean(windows, [0, 1, 2]), tf.float64) * count)
    return tf.stack(sums, -1)


def _mirrored(pixels):
    """Pixels `[height, width, channels]` as a batch of one, sides of less than 161 mirrored up to that."""

    def extended():
        image = pixels
        for axis in (0, 1):
            size = tf.shape(pixels)[axis]
            index = tf.range(tf.maximum(size, MIN_SIDE)) % (2 * size)
            image = tf.gather(image, tf.minimum(index, 2 * size - 1 - index), axis=axis)
        return image

    is_small = tf.reduce_min(tf.shape(pixels)[:2]) < MIN_SIDE
    image = tf.cond(is_small, extended, lambda: pixels)
    return tf.ensure_shape(image, [None, None, pixels.shape[2]])[tf.newaxis]


def _floats(pixels, rows, cols):
    return pixels[slice(*rows), slice(*cols)].astype(np.float32)


MEASURES = {"mse": SquaredError, "ms_ssim": MsSsim}
