"""A trained rate point as plain arrays: where training ends and export begins.

Nothing here knows Keras, TensorFlow graphs or files: it is the smallest
description from which both SavedModels of a rate point can be built.
"""

import dataclasses
import zlib
from typing import Any, Dict, List, Optional

import numpy as np

# The analysis transform reduces each spatial axis by 4 · 2 · 2.
STRIDES = (4, 2, 2)
STRIDE = 16


@dataclasses.dataclass
class Transform:
    """Weights of an analysis or a synthesis transform, all float32.

    Analysis kernels are `[9, 9, C, N]`, `[5, 5, N, N]`, `[5, 5, N, M]` in the
    order of application (`[height, width, in, out]`); synthesis kernels are
    `[5, 5, N, M]`, `[5, 5, N, N]`, `[9, 9, C, N]` in the order of application
    (`[height, width, out, in]`, as transposed convolutions take them).
    Stages 0 and 1 of the analysis are followed by GDN, stages 1 and 2 of the
    synthesis are preceded by IGDN, with `betas` `[N]` and `gammas` `[N, N]`
    (`gammas[k][j, i]`: weight of channel j in the pool of channel i).
    """

    kernels: List[np.ndarray]
    biases: List[np.ndarray]
    betas: List[np.ndarray]
    gammas: List[np.ndarray]

    def arrays(self):
        """All arrays in a fixed order."""
        return [*self.kernels, *self.biases, *self.betas, *self.gammas]


@dataclasses.dataclass
class CodingTables:
    """The prior as quantized cumulative distributions of the latents: K of them for each channel.

    The distributions compete: each latent position belongs to one of K classes, which the encoder
    chooses and sends, and every channel has a table for each class (Brummer & De Vleeschouwer 2021,
    "End-to-end optimized image compression with competition of prior distributions").

    Attributes:
      offsets: The value of the first bin of each channel's tables, int32 `[N]`.
      cdfs: `cdfs[i]` is an int32 array `[K, bins + 1]`, whose rows go from 0 to `2**precision`; the
        last bin is the escape for values outside of the table. A channel that always takes the same
        value has `cdfs[i] = None`; it costs no bits, and the decoder fills in `constants[i]`.
      constants: int32 `[N]`.
      class_cdfs: Distributions of the classes, int32 `[K + 1, K + 1]`: row 0 for a slice's first
        position, row 1 + k for a position that follows one of class k. `None` with a single class,
        of which nothing is sent.
    """

    PRECISION = 16
    # So many rows can be told apart by the stock coder's search.
    MAX_CLASSES = 24

    offsets: np.ndarray
    cdfs: List[Optional[np.ndarray]]
    constants: np.ndarray
    class_cdfs: Optional[np.ndarray] = None

    @property
    def num_classes(self) -> int:
        """K."""
        return 1 if self.class_cdfs is None else self.class_cdfs.shape[1] - 1

    @property
    def active(self) -> np.ndarray:
        """Indices of the channels that are coded, ascending, int32 `[A]`."""
        return np.array([i for i, cdf in enumerate(self.cdfs) if cdf is not None], np.int32)

    def lookup(self) -> np.ndarray:
        """All tables as tfc's range coder takes them, int32.

        For each class and each active channel `[-precision, cdf...]`; the negative sign asks
        for escape coding of out-of-range values. Behind them, without a sign, those of the classes.
        """
        rows = [np.empty(0, np.int32)]
        for k in range(self.num_classes):
            for i in self.active:
                rows += [np.array([-self.PRECISION], np.int32), self.cdfs[i][k].astype(np.int32)]
        if self.class_cdfs is not None and self.active.size:
            for cdf in self.class_cdfs:
                rows += [np.array([self.PRECISION], np.int32), cdf.astype(np.int32)]
        return np.concatenate(rows)


@dataclasses.dataclass
class RatePoint:
    """Everything that ships of one point on the rate–distortion curve.

    Attributes:
      name: For example `bls2017-mse-4`.
      lmbda: The λ of `rate + λ · distortion`.
      num_latents: M, the number of filters of the last analysis stage, i.e. channels of the latents.
      channels: C, the number of colour channels, 3 or 1.
      slice_length: Latent positions in each independently coded slice.
      gdn_alpha, gdn_epsilon: Exponents of GDN (paper: 2 and ½).
      analysis, synthesis: The transforms' plain weights.
      tables: The prior as coding tables.
      prior: The prior's own parameters, to start another training from.
      info: What made this rate point, for people (JSON types only).
    """

    name: str
    lmbda: float
    num_latents: int
    channels: int
    slice_length: int
    gdn_alpha: float
    gdn_epsilon: float
    analysis: Transform
    synthesis: Transform
    tables: CodingTables
    prior: Dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    info: Dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def num_filters(self) -> int:
        """N, the number of filters of the stages that GDN follows."""
        return len(self.analysis.betas[0])

    def fingerprint(self) -> int:
        """CRC-32 of all that the decoder holds: coding tables and synthesis transform.

        Two rate points with the same fingerprint decode every file alike, so
        a file that carries it can be refused by any other model.
        """
        crc = zlib.crc32(np.array([self.channels, self.num_latents], "<i4").tobytes())
        crc = zlib.crc32(np.array([self.gdn_alpha, self.gdn_epsilon], "<f4").tobytes(), crc)
        integers = (
            self.tables.active,
            self.tables.offsets[self.tables.active],
            self.tables.constants,
            self.tables.lookup(),
        )
        for array in integers:
            crc = zlib.crc32(np.ascontiguousarray(array, "<i4").tobytes(), crc)
        for array in self.synthesis.arrays():
            crc = zlib.crc32(np.ascontiguousarray(array, "<f4").tobytes(), crc)
        return crc
