"""A trained rate point as plain arrays: where training ends and export begins.

Nothing here knows Keras, TensorFlow graphs or files: it is the smallest
description from which both SavedModels of a rate point can be built.
"""

import dataclasses
from typing import Any, Optional
import zlib

import numpy as np

from balle2017.entropy.tables import CodingTables
from balle2017.model.weights import Transform


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
      analysis, synthesis: The transforms' plain weights. A decoder that outlived its encoder has no
        analysis, `None`.
      tables: The prior as coding tables.
      prior: The prior's own parameters, to start another training from.
      info: What made this rate point, for people (JSON types only).
      version: Of those of the name, from 1.
    """

    name: str
    lmbda: float
    num_latents: int
    channels: int
    slice_length: int
    gdn_alpha: float
    gdn_epsilon: float
    analysis: Optional[Transform]
    synthesis: Transform
    tables: CodingTables
    prior: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    info: dict[str, Any] = dataclasses.field(default_factory=dict)
    version: int = 1

    @property
    def num_filters(self) -> int:
        """N, the number of filters of the stages that GDN follows."""
        return self.synthesis.kernels[-1].shape[-1]

    def rounded(self):
        """The rate point whose weights can be stored in half the bytes, see `weights.Transform.rounded`.

        It is another rate point, with another fingerprint, so coding tables are best made of its latents.
        """
        return dataclasses.replace(self, analysis=self.analysis.rounded(), synthesis=self.synthesis.rounded())

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
