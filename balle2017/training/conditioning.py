"""The units of GDN's inputs, chosen so that one learning rate fits all of GDN's parameters.

A factor in a filter can stand in its kernel, in β and γ, or in the kernel of the next stage; the
transform is the same, but the steps of an optimizer are not. In long trainings the inner units
drift until γ, which is trained as a square root, hardly moves any more. Here, with

    w[i] = v[i] / (β[i] + Σ_j γ[j, i] |v[j]|**α)**ε,     v'[j] = s[j] v[j],

each s[j] is such that v'[j] has the power 1, and c[i], the pool's mean, is divided out:

    β'[i] = β[i] / c[i],   γ'[j, i] = γ[j, i] / (c[i] s[j]**α),   w'[i] = s[i] c[i]**ε w[i],

and the next kernel takes the factors of w' back. IGDN likewise, with c[i]**-ε.
"""

import numpy as np
import tensorflow as tf

from balle2017.model.transforms import analysis_stages, analyze, synthesis_stages
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
        _conditioned(rate_point.analysis, analysis_stages, pixels, *exponents, share, inverse=False),
        _conditioned(rate_point.synthesis, synthesis_stages, latents, *exponents, share, inverse=True),
    )


def _conditioned(weights, stages_of, x, alpha, epsilon, share, inverse):
    stages = list(stages_of(weights, alpha, epsilon))
    parts = weights.kernels, weights.biases, weights.betas, weights.gammas
    kernels, biases, betas, gammas = ([np.array(a) for a in part] for part in parts)
    # The axes of a stage's outputs and inputs in its kernel; the synthesis has them the other way round.
    out, into = (0, 1) if inverse else (1, 0)
    for i in range(2):
        v = stages[2 * i].function(x)
        x = stages[2 * i + 1].function(v)
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
        kernels[i] *= _on_axis(s, out)
        biases[i] *= s
        kernels[i + 1] *= _on_axis(back, into)
    return Transform(kernels, biases, betas, gammas)


def _rms(values):
    """Root mean square of each column; a filter that is always 0 counts as very small."""
    power = np.mean(np.square(values, dtype=np.float64), 0)
    return np.sqrt(np.maximum(power, 1e-12)).astype(np.float32)


def _on_axis(factors, axis):
    """Shapes factors of filters for a kernel `[k, k, rows, columns]`: 0 for its rows, 1 for its columns."""
    return factors[:, None] if axis == 0 else factors
