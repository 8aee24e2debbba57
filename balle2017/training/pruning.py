"""Channels of the latents that died: they are 0 on every training photograph, and what ships does without them.

At low rates a third of the channels dies in training: once all of a channel rounds to 0, no gradient brings its
synthesis kernel back. Without them the point weighs less and is coded faster, and is the same but for their
last trace in the pools of the others' GDN, of which β takes the mean.
"""

import numpy as np
import tensorflow as tf

from balle2017.model.network import STAGES
from balle2017.model.weights import Transform
from balle2017.training.conditioning import without_gdn_at_latents
from balle2017.training.photographs import whole_blocks

# Photographs from which the mean of the trace is taken.
_PHOTOGRAPHS = 20


def alive(latents):
    """Which channels of `[h, w, M]` arrays of rounded latents are not always 0, bool `[M]`; at least one is."""
    seen = np.any([np.any(picture != 0, (0, 1)) for picture in latents], 0)
    if not seen.any():
        seen[0] = True
    return seen


def without_dead_latents(analysis, synthesis, prior, alive, exponents, images):
    """Drops the channels that are not alive.

    Args:
      analysis, synthesis: `weights.Transform`s, of arrays.
      prior: Parameters by name, of either kind of prior.
      alive: What `alive` returned.
      exponents: α and ε of GDN.
      images: List of `(name, uint8 [height, width, channels])`, for the means of the traces.

    Returns:
      The two transforms and the parameters, of fewer channels.
    """
    analysis, synthesis = (
        Transform(*(list(getattr(half, field)) for field in ("kernels", "biases", "betas", "gammas")))
        for half in (analysis, synthesis)
    )
    if len(analysis.betas) == len(STAGES):
        trace = _pool_powers(analysis, exponents, images[:_PHOTOGRAPHS])[~alive]
        analysis.betas[-1] = (analysis.betas[-1] + trace @ analysis.gammas[-1][~alive])[alive].astype(np.float32)
        analysis.gammas[-1] = analysis.gammas[-1][np.ix_(alive, alive)]
        synthesis.betas[0] = synthesis.betas[0][alive]
        synthesis.gammas[0] = synthesis.gammas[0][np.ix_(alive, alive)]
    analysis.kernels[-1] = analysis.kernels[-1][..., alive]
    analysis.biases[-1] = analysis.biases[-1][alive]
    synthesis.kernels[0] = synthesis.kernels[0][..., alive]
    return analysis, synthesis, {name: _of_channels(name, value, alive) for name, value in prior.items()}


def _of_channels(name, value, alive):
    if name in ("share", "pairs"):
        return value
    # The factorized prior has its channels first, the competing one last.
    return value[:, alive] if name in ("loc", "log_scale") else value[alive]


def _pool_powers(analysis, exponents, images):
    """Means of |v|**α before the GDN at the latents, `[M]`."""
    alpha, _ = exponents
    pools = (without_gdn_at_latents(analysis, exponents, whole_blocks(pixels)[None]) for _, pixels in images)
    return np.mean([tf.reduce_mean(tf.abs(pool) ** alpha, [0, 1, 2]).numpy() for pool in pools], 0)
