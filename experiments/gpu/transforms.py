"""The transforms g_a and g_s of `balle2017/model/transforms.py` in PyTorch, as pure functions of plain weights.

A convolution of k×k taps at stride s, k ≤ 3 s, is one of 3×3 taps over blocks of s×s pixels whose pixels stand as
channels: the same sum, for which GPUs have their fastest kernels. Pixels and latents are `[batch, height, width,
channels]`.
"""

import torch
import torch.nn.functional as F

from arithmetic import tf32
from balle2017.model.network import PIXEL_SCALE, STAGES, taps_before


def analyze(pixels, weights, dtype=torch.float32):
    """Analysis transform g_a: pixels to unquantized latents.

    Args:
      pixels: float32 `[batch, height, width, 3]`, 0–255, height and width multiples of 16.
      weights: `balle2017.model.weights.Transform` of float32 tensors, with a GDN in every stage.
      dtype: Type of the factors of convolutions: float32, which is TF32 on a GPU, or bfloat16.

    Returns:
      float32 `[batch, height / 16, width / 16, M]`; one unit is one quantizer step.
    """
    x = pixels
    for operation in analysis_operations(weights, dtype):
        x = operation(x)
    return x


def synthesize(latents, weights, dtype=torch.float32):
    """Synthesis transform g_s: quantized latents to pixels, neither rounded nor clipped; the inverse shapes."""
    x = latents
    for operation in synthesis_operations(weights, dtype):
        x = operation(x)
    return x


def analysis_operations(weights, dtype=torch.float32):
    """The functions that `analyze` is made of: in each stage a convolution, then GDN."""
    for i, ((size, stride), kernel) in enumerate(zip(STAGES, weights.kernels)):
        kernel = kernel / PIXEL_SCALE if i == 0 else kernel
        yield _Convolution(_down_kernel(kernel, size, stride), weights.biases[i], dtype, before=stride)
        yield _Normalization(weights.betas[i], weights.gammas[i], inverse=False)


def synthesis_operations(weights, dtype=torch.float32):
    """The functions that `synthesize` is made of: in each stage IGDN, then a convolution."""
    for i, ((size, stride), kernel) in enumerate(zip(STAGES[::-1], weights.kernels)):
        scale = PIXEL_SCALE if i == len(STAGES) - 1 else 1.0
        yield _Normalization(weights.betas[i], weights.gammas[i], inverse=True)
        bias = (weights.biases[i] * scale).repeat(stride * stride)
        yield _Convolution(_up_kernel(kernel * scale, size, stride), bias, dtype, after=stride)


class GDN(torch.autograd.Function):
    """GDN, w[i] = v[i] / (β[i] + Σ_j γ[j, i] v[j]²)^½, or IGDN, times the root, with as few kernels as there can be."""

    @staticmethod
    def forward(ctx, x, beta, gamma, inverse):
        """float32 `[positions, N]`, `[N]`, `[N, N]` to `[positions, N]`."""
        with tf32():
            pool = torch.addmm(beta, x * x, gamma)
        root = torch.rsqrt(pool)
        ctx.save_for_backward(x, pool, root, gamma)
        ctx.inverse = inverse
        return x * pool * root if inverse else x * root

    @staticmethod
    def backward(ctx, gradient):
        x, pool, root, gamma = ctx.saved_tensors
        along = gradient * x * root
        if ctx.inverse:
            of_pool, direct = 0.5 * along, gradient * (pool * root)
        else:
            of_pool, direct = -0.5 * along * (root * root), gradient * root
        with tf32():
            of_x = torch.addcmul(direct, x, of_pool @ gamma.t(), value=2.0)
            of_gamma = (x * x).t() @ of_pool
        return of_x, of_pool.sum(0), of_gamma, None


class _Normalization:
    def __init__(self, beta, gamma, inverse):
        self.beta, self.gamma, self.inverse = beta, gamma, inverse

    def __call__(self, x):
        return GDN.apply(x.reshape(-1, x.shape[-1]), self.beta, self.gamma, self.inverse).reshape(x.shape)


class _Convolution:
    """3×3 taps `[out, in, 3, 3]` on blocks, of `before`² pixels at the input, or of `after`² at the output."""

    def __init__(self, kernel, bias, dtype, before=1, after=1):
        self.kernel, self.bias, self.dtype, self.before, self.after = kernel, bias, dtype, before, after

    def __call__(self, x):
        x = to_blocks(x, self.before).permute(0, 3, 1, 2).to(self.dtype)
        kernel = self.kernel.to(self.dtype).contiguous(memory_format=torch.channels_last)
        y = F.conv2d(x, kernel, padding=1).float().permute(0, 2, 3, 1)
        return from_blocks(y + self.bias, self.after)


def to_blocks(x, size):
    """`[batch, h, w, c]` to `[batch, h / size, w / size, size² · c]`."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // size, size, w // size, size, c).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h // size, w // size, size * size * c)


def from_blocks(x, size):
    """The inverse of `to_blocks`."""
    b, h, w, c = x.shape
    c //= size * size
    return x.reshape(b, h, w, size, size, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h * size, w * size, c)


def _in_blocks(kernel, size, stride):
    """`[k, k, a, b]` to `[3, stride, 3, stride, a, b]`, the taps that there are not being 0."""
    before = stride - taps_before(size, stride)
    after = 3 * stride - size - before
    kernel = F.pad(kernel, (0, 0, 0, 0, before, after, before, after))
    return kernel.reshape(3, stride, 3, stride, *kernel.shape[2:])


def _down_kernel(kernel, size, stride):
    """`[k, k, in, out]` to `[out, stride² · in, 3, 3]`."""
    blocks = _in_blocks(kernel, size, stride)
    return blocks.permute(5, 1, 3, 4, 0, 2).reshape(blocks.shape[5], -1, 3, 3)


def _up_kernel(kernel, size, stride):
    """`[k, k, out, in]` to `[stride² · out, in, 3, 3]`."""
    blocks = _in_blocks(kernel, size, stride)
    return blocks.permute(1, 3, 4, 5, 0, 2).reshape(-1, blocks.shape[5], 3, 3).flip(2, 3)
