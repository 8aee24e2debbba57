"""The network as one list, and what follows from it: shapes, strides, receptive fields. Without TensorFlow."""

import math

# Kernel size and stride of each stage of the analysis transform, in the order of application; the synthesis
# transform has them in reverse (paper: "Choice of forward, inverse, and perceptual transforms").
STAGES = ((9, 4), (5, 2), (5, 2))
STRIDES = tuple(stride for _, stride in STAGES)
# Pixels a side that one latent stands for.
STRIDE = math.prod(STRIDES)
# Inside the transforms, typical coefficients of an orthonormal 4×4 transform are about 1 when pixels
# are counted in units of 16 levels; GDN with β = 1 then normalizes from the first training step.
PIXEL_SCALE = 16.0

# Version of what the transforms compute of their weights, which counts on with every change that a trained model would
# notice. It is written down with each, as weights alone do not say what they are for.
ARITHMETIC_VERSION = 1


def kernel_shapes(num_filters, num_latents, channels):
    """Shapes of the analysis transform's kernels, `[size, size, in, out]`.

    In reverse they are those of the synthesis transform, `[size, size, out, in]`.
    """
    inner = [num_filters] * (len(STAGES) - 1)
    inputs, outputs = [channels, *inner], [*inner, num_latents]
    return [[size, size, rows, columns] for (size, _), rows, columns in zip(STAGES, inputs, outputs)]


def gdn_widths(num_filters, num_latents, num_gdns):
    """Filters that each GDN of the analysis transform normalizes, in reverse those of the synthesis transform's.

    With one less than stages, the latents have none (as in tfc's `bls2017.py`; the paper has all).
    """
    return ([num_filters] * (len(STAGES) - 1) + [num_latents])[:num_gdns]


def taps_before(size, stride):
    """Taps of a kernel before the block of pixels that its output stands for (TensorFlow's SAME padding)."""
    return (size - stride) // 2


def receptive_field():
    """First and last pixel, along one axis, of what latent 0 depends on; pixel 0 is the first of its own block.

    By symmetry, these are the first and last pixel that latent 0 reaches through the synthesis transform.
    """
    first = last = 0
    for size, stride in reversed(STAGES):
        first = stride * first - taps_before(size, stride)
        last = stride * last - taps_before(size, stride) + size - 1
    return first, last


def context():
    """Blocks before and after its own that a latent depends on, and reaches."""
    first, last = receptive_field()
    return -(first // STRIDE), last // STRIDE
