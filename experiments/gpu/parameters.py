"""The trainable parameters of a rate point, and the plain weights that they stand for, as in the package.

Kernels are trained as coefficients of a real Fourier transform, β and γ as square roots, γ at the latents in units of
the latents' power. What is different here: square roots are put back above their bounds after each step, where the
package bounds them in the forward pass.
"""

import math

import numpy as np
import torch

from arithmetic import DEVICE
from balle2017.model import network
from balle2017.model.rdft import rdft_basis
from balle2017.model.weights import FIELDS, Transform

# Of tfc's `GDNParameter`: the least β, and what keeps a square root away from 0, where its gradient vanishes.
LEAST_BETA, OFFSET = 1e-6, 2.0**-18
HALVES = ("analysis", "synthesis")


def bases(size):
    """The Fourier basis of size×size taps, float32 `[taps, taps]`."""
    return torch.from_numpy(rdft_basis(size)).to(DEVICE)


class Parameters:
    """Six kernels, and everything else as one vector, so that an optimizer's step takes few kernels of a GPU.

    Args:
      arrays: Plain arrays by name, `analysis/kernels/0` to `synthesis/gammas/2`, `prior/loc` and `prior/log_scale`, as
        `weights.Transform` describes them; and `power`, the mean over positions of the sum of squares of the latents
        before their GDN.

    Attributes:
      kernels: Coefficients, list of float32 `[taps, rows, columns]` that require gradients.
      others: float32 vector that requires a gradient.
      lower: What `others` must not fall below.
      num_filters, num_latents: N and M.
      power: As given.
    """

    def __init__(self, arrays):
        self.power = float(arrays["power"])
        self.num_filters, self.num_latents = np.shape(arrays["analysis/kernels/2"])[2:]
        self._sizes = {half: [size for size, _ in network.STAGES] for half in HALVES}
        self._sizes["synthesis"].reverse()
        self._basis = {size: bases(size) for size, _ in network.STAGES}
        self.kernels, self._layout, parts, lower = [], [], [], []
        for half in HALVES:
            for i, size in enumerate(self._sizes[half]):
                kernel = _tensor(arrays[f"{half}/kernels/{i}"])
                coefficients = self._basis[size] @ kernel.reshape(size * size, -1)
                self.kernels.append(coefficients.reshape(size * size, *kernel.shape[2:]).contiguous())
                for field in ("biases", "betas", "gammas"):
                    value, least = _tensor(arrays[f"{half}/{field}/{i}"]), -math.inf
                    if field != "biases":
                        value = torch.sqrt(torch.clamp(value * self._unit(half, field, i), min=0) + OFFSET**2)
                        least = math.sqrt((LEAST_BETA if field == "betas" else 0) + OFFSET**2)
                    self._add(half, field, value, least, parts, lower)
        for field in ("loc", "log_scale"):
            self._add("prior", field, _tensor(arrays[f"prior/{field}"]), -math.inf, parts, lower)
        self.others, self.lower = torch.cat(parts), torch.cat(lower)
        for tensor in self.tensors:
            tensor.requires_grad_(True)

    @property
    def tensors(self):
        """`[*kernels, others]`."""
        return [*self.kernels, self.others]

    def plain(self, tensors):
        """The weights that tensors like `tensors` stand for, differentiably.

        Returns:
          `(analysis, synthesis, loc, log_scale)`: two `weights.Transform`s, and float32 `[K, M]` each.
        """
        *kernels, others = tensors
        values = others.split([math.prod(shape) for *_, shape in self._layout])
        by_name = {half: {field.name: [] for field in FIELDS} for half in HALVES}
        by_name["prior"] = {"loc": [], "log_scale": []}
        for (half, field, shape), value in zip(self._layout, values):
            value = value.reshape(shape)
            if field in ("betas", "gammas"):
                value = (value * value - OFFSET**2) / self._unit(half, field, len(by_name[half][field]))
            by_name[half][field].append(value)
        sizes = [(half, size) for half in HALVES for size in self._sizes[half]]
        for (half, size), coefficients in zip(sizes, kernels):
            taps = self._basis[size].t() @ coefficients.reshape(size * size, -1)
            by_name[half]["kernels"].append(taps.reshape(size, size, *coefficients.shape[1:]))
        prior = by_name["prior"]
        return *(Transform(**by_name[half]) for half in HALVES), prior["loc"][0], prior["log_scale"][0]

    def _add(self, half, field, value, least, parts, lower):
        self._layout.append((half, field, value.shape))
        parts.append(value.reshape(-1))
        lower.append(torch.full_like(parts[-1], least))

    def _unit(self, half, field, i):
        at_latents = (half, i) in (("analysis", len(network.STAGES) - 1), ("synthesis", 0))
        return self.power if field == "gammas" and at_latents else 1.0


def _tensor(array):
    return torch.tensor(np.asarray(array, np.float32), device=DEVICE)
