"""A rate point that is trained: the objective of `balle2017/model/objective.py` with its parameters and optimizer.

    L = E[ -log2 p(ỹ) ] / pixels  +  λ · E[ d(x, x̂) ],    ỹ = g_a(x) + u,   x̂ = g_s(round(g_a(x)))

with noise u in the rate and rounding, its gradient that of the identity, in the distortion (`--relaxation=mixed`).
"""

import numpy as np
import torch
import torch.nn.functional as F

from balle2017.model.network import STRIDE
from balle2017.model.weights import compact
from ms_ssim import ms_ssim
from parameters import Parameters
import prior
from soap import SOAP
from transforms import analyze, synthesize

# As in the package: of the squared error of the means of 16×16 pixels, in training for MS-SSIM, so that colours stay.
WEIGHT_OF_MEANS = 5e-4


class Point:
    """One rate point.

    Args:
      name: For example `bls2017-mse-1`.
      lmbda: λ.
      distortion: `mse` or `ms_ssim`.
      arrays: What `start.load` or `arrays` returned.
      factor: Of the learning rate.

    Attributes:
      parameters: `Parameters`.
      share, pairs: Counts of the classes, running means.
      optimizer: `SOAP`, which has the averaged weights.
    """

    def __init__(self, name, lmbda, distortion, arrays, factor=1.0):
        self.name, self.lmbda, self.distortion, self.factor = name, lmbda, distortion, factor
        self.parameters = Parameters(arrays)
        device = self.parameters.others.device
        self.share, self.pairs = (
            torch.tensor(np.asarray(arrays[f"prior/{field}"], np.float32), device=device)
            for field in ("share", "pairs")
        )
        self.optimizer = SOAP(self.parameters.kernels, self.parameters.others, self.parameters.lower)

    def losses(self, tensors, images, noise=None, dtype=torch.float32):
        """The terms of the objective.

        Args:
          tensors: `parameters.tensors`, or the averages of them.
          images: uint8 or float `[batch, height, width, 3]`, 0–255, sides multiples of 16.
          noise: float32 `[batch, height / 16, width / 16, M]` in [−½, ½) in training, which also counts the classes;
            `None` for rounded latents and pixels.
          dtype: Type of the factors of convolutions, see `transforms.analyze`.

        Returns:
          Scalars `(loss, bpp, distortion)`.
        """
        analysis, synthesis, loc, log_scale = self.parameters.plain(tensors)
        images = images.float()
        latents = analyze(images, analysis, dtype)
        rounded = torch.round(latents.detach())
        classes, class_bits = prior.choose(rounded, loc, log_scale, self.share, self.pairs)
        bits = prior.bits_of(rounded if noise is None else latents + noise, classes, loc, log_scale)
        bpp = (bits + class_bits.sum()) / (images.numel() / images.shape[3])
        made = synthesize(latents + (rounded - latents).detach(), synthesis, dtype)
        if noise is None:
            made = torch.round(torch.clamp(made, 0, 255))
        else:
            share, pairs = prior.counts_of(classes, len(self.share))
            self.share.lerp_(share, prior.MOMENTUM)
            self.pairs.lerp_(pairs, prior.MOMENTUM)
        if self.distortion == "mse":
            distortion = (images - made).square().mean()
        else:
            distortion = 1 - ms_ssim(images, made).mean()
            if noise is not None:
                means = F.avg_pool2d((images - made).permute(0, 3, 1, 2), STRIDE)
                distortion = distortion + WEIGHT_OF_MEANS * means.square().mean()
        return bpp + self.lmbda * distortion, bpp, distortion

    def gradients(self, images, noise, dtype):
        """Of the loss in training, a list like `parameters.tensors`."""
        tensors = self.parameters.tensors
        return torch.autograd.grad(self.losses(tensors, images, noise, dtype)[0], tensors)

    @torch.no_grad()
    def evaluate(self, crops):
        """Mean `[loss, bpp, distortion]` of crops, uint8 `[n, side, side, 3]`, with averaged weights and rounding."""
        total = 0
        for part in crops.split(8):
            terms = self.losses(self.optimizer.averages, part)
            total = total + torch.stack(terms) * len(part) / len(crops)
        return total.tolist()

    @torch.no_grad()
    def arrays(self):
        """The averaged weights as plain arrays by name, kernels and γ as float16, as they are exported; and λ."""
        analysis, synthesis, loc, log_scale = self.parameters.plain(self.optimizer.averages)
        named = {"prior/loc": loc, "prior/log_scale": log_scale, "prior/share": self.share, "prior/pairs": self.pairs}
        arrays = {name: value.cpu().numpy() for name, value in named.items()}
        for half, transform in (("analysis", analysis), ("synthesis", synthesis)):
            for field, values in vars(transform).items():
                for i, value in enumerate(values):
                    arrays[f"{half}/{field}/{i}"] = compact(value.cpu().numpy(), exactly=False)
        return {**arrays, "power": np.float32(self.parameters.power), "lmbda": np.float64(self.lmbda)}
