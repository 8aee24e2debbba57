"""Plain weights of a transform: arrays, without Keras or TensorFlow."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class Transform:
    """Weights of an analysis or a synthesis transform: float32 arrays, or tensors.

    Analysis kernels are `[9, 9, C, N]`, `[5, 5, N, N]`, `[5, 5, N, M]` in the
    order of application (`[height, width, in, out]`); synthesis kernels are
    `[5, 5, N, M]`, `[5, 5, N, N]`, `[9, 9, C, N]` in the order of application
    (`[height, width, out, in]`, as transposed convolutions take them).
    Stages of the analysis are followed by GDN, stages of the synthesis preceded
    by IGDN, with `betas` `[N]` and `gammas` `[N, N]` (`gammas[k][j, i]`: weight
    of channel j in the pool of channel i); at the latents, where N is M, there
    may be none: then `betas` and `gammas` are one less than `kernels`.
    """

    kernels: list[np.ndarray]
    biases: list[np.ndarray]
    betas: list[np.ndarray]
    gammas: list[np.ndarray]

    def arrays(self):
        """All arrays in a fixed order."""
        return [*self.kernels, *self.biases, *self.betas, *self.gammas]

    def map(self, function):
        """A `Transform` of what a function makes of each array."""
        return Transform(*([function(array) for array in getattr(self, field.name)] for field in FIELDS))

    def rounded(self):
        """The same with kernels and γ rounded to float16, which is how they are stored; float32 all the same.

        Biases and β take next to no place and stay. So does an array that float16 cannot hold.
        """
        return self.map(lambda array: np.float32(compact(array, exactly=False)))


FIELDS = dataclasses.fields(Transform)


def compact(array, exactly=True):
    """A kernel or γ as float16, if that holds it; anything else as float32.

    Args:
      array: Float array.
      exactly: Whether float16 must hold each number as it is, or only the range of them.
    """
    array = np.asarray(array, np.float32)
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    holds = np.array_equal(half, array) if exactly else np.all(np.isfinite(half))
    return half if array.ndim > 1 and holds else array
