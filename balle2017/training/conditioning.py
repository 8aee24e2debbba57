"""The units of GDN's inputs, chosen so that one learning rate fits all of GDN's parameters.

A factor in a filter can stand in its kernel, in β and γ, or in the kernel of the next stage; the
transform is the same, but the steps of an optimizer are not. In long trainings the inner units
drift until γ, which is trained as a square root, hardly moves any more. Here, with

    w[i] = v[i] / (β[i] + Σ_j γ[j, i] |v[j]|**α)**ε,     v'[j] = s[j] v[j],

each s[j] is such that v'[j] has the power 1, and c[i], the pool's mean, is divided out:

    β'[i] = β[i] / c[i],   γ'[j, i] = γ[j, i] / (c[i] s[j]**α),   w'[i] = s[i] c[i]**ε w[i],

and the next kernel takes the factors of w' back. IGDN likewise, with c[i]**-ε. The units of a GDN at
the latents are the quantizer's, and stay.
"""

import numpy as np
import tensorflow as tf

from balle2017.model.network import STAGES
from balle2017.model.transforms import TRACE_OF_GAMMA, analysis_operations, analyze, synthesis_operations
from balle2017.model.weights import Transform


def conditioned(rate_point, pixels, share=0.0):
    """Rewrites both transforms of a rate point in the units above.

    Args:
      rate_point: `RatePoint`.
      pixels: Typical crops, `[batch, height, width, channels]`, 0–255, sides multiples of 16.
      share: If above 0, every γ' is raised to at least `share / num_filters`, so that GDN begins
        to normalize by all filters together; the next kernel then keeps the power of its input
        as it was.

    Returns:
      The analysis and the synthesis transform. With a share of 0 they are the same functions.
    """
    pixels = tf.cast(pixels, tf.float32)
    exponents = rate_point.gdn_alpha, rate_point.gdn_epsilon
    latents = tf.round(analyze(pixels, rate_point.analysis, *exponents))
    return (
        _conditioned(rate_point.analysis, analysis_operations, pixels, *exponents, share, inverse=False),
        _conditioned(rate_point.synthesis, synthesis_operations, latents, *exponents, share, inverse=True),
    )


def _conditioned(weights, operations_of, x, alpha, epsilon, share, inverse):
    operations = list(operations_of(weights, alpha, epsilon))
    parts = weights.kernels, weights.biases, weights.betas, weights.gammas
    kernels, biases, betas, gammas = ([np.array(a) for a in part] for part in parts)
    # The axes of a convolution's outputs and inputs in its kernel; the synthesis has them the other way round.
    out, into = (0, 1) if inverse else (1, 0)
    between = len(STAGES) - 1
    at_latents = len(betas) - between
    # An IGDN at the latents comes first, a GDN there last.
    first = at_latents if inverse else 0
    for operation in operations[:first]:
        x = operation.function(x)
    for k, i in enumerate(range(first, first + between)):
        v = operations[first + 2 * k].function(x)
        x = operations[first + 2 * k + 1].function(v)
        v = tf.reshape(v, [-1, v.shape[3]]).numpy()
        s = 1 / _rms(v)
        powers = np.abs(v * s) ** alpha
        gamma = gammas[i] / (s**alpha)[:, None]
        mean = np.mean(betas[i] + powers @ gamma, 0)
        betas[i] /= mean
        gammas[i] = np.maximum(gamma / mean, share / len(s)).astype(np.float32)
        pool = (betas[i] + powers @ gammas[i]) ** epsilon
        scaled = v * s * pool if inverse else v * s / pool
        back = _rms(tf.reshape(x, v.shape).numpy()) / _rms(scaled)
        kernels[k] *= _on_axis(s, out)
        biases[k] *= s
        kernels[k + 1] *= _on_axis(back, into)
    return Transform(kernels, biases, betas, gammas)


def rescale_latents(rate_point, factor):
    """Multiplies the latents of a `RatePoint` by a factor, in place: steps of the quantizer become finer by it.

    The transforms together stay the same function; the coding tables and the prior are those of before.
    """
    analysis, synthesis = rate_point.analysis, rate_point.synthesis
    analysis.kernels[-1] = analysis.kernels[-1] * np.float32(factor)
    analysis.biases[-1] = analysis.biases[-1] * np.float32(factor)
    synthesis.kernels[0] = synthesis.kernels[0] / np.float32(factor)
    if len(analysis.betas) == len(STAGES):
        # The pools of a GDN at the latents stay as they are.
        back = np.float32(factor**-rate_point.gdn_alpha)
        analysis.gammas[-1] = analysis.gammas[-1] * back
        synthesis.gammas[0] = synthesis.gammas[0] * back


def latents_power(analysis, exponents, pixels):
    """Mean over positions of the sum of squares of all latents, before a GDN at the latents, and at least 1.

    Args:
      analysis: `weights.Transform`.
      exponents: α and ε of GDN.
      pixels: Typical crops, `[batch, height, width, channels]`, 0–255, sides multiples of 16.
    """
    latents = without_gdn_at_latents(analysis, exponents, pixels)
    return max(1.0, float(tf.reduce_mean(tf.reduce_sum(tf.square(latents), -1))))


def without_gdn_at_latents(analysis, exponents, pixels):
    """All of the analysis but a GDN at the latents, float32 `[batch, h, w, M]`; arguments as of `latents_power`."""
    x = tf.cast(pixels, tf.float32)
    for operation in list(analysis_operations(analysis, *exponents))[: 2 * len(STAGES) - 1]:
        x = operation.function(x)
    return x


def add_gdn_at_latents(analysis, synthesis, power=1.0):
    """Gives both transforms (`weights.Transform`) the GDN at the latents that they lack: nearly the identity.

    Args:
      analysis, synthesis: Changed in place.
      power: Mean over positions of the sum of squares of all latents.
    """
    size = len(analysis.biases[-1])
    for transform, place in ((analysis, len(analysis.betas)), (synthesis, 0)):
        transform.betas.insert(place, np.ones([size], np.float32))
        transform.gammas.insert(place, np.full([size, size], TRACE_OF_GAMMA / max(power, 1.0), np.float32))


def _rms(values):
    """Root mean square of each column; a filter that is always 0 counts as very small."""
    power = np.mean(np.square(values, dtype=np.float64), 0)
    return np.sqrt(np.maximum(power, 1e-12)).astype(np.float32)


def _on_axis(factors, axis):
    """Shapes factors of filters for a kernel `[k, k, rows, columns]`: 0 for its rows, 1 for its columns."""
    return factors[:, None] if axis == 0 else factors
