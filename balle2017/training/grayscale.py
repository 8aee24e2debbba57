"""A rate point for photographs in colour as one for gray ones: the paper's second set of models, from the first."""

import dataclasses

import numpy as np

from balle2017.model.weights import Transform


def grayscale(rate_point):
    """A rate point of one channel that codes a gray photograph as one of three channels codes its three equal ones.

    The first kernels take the sum over the channels that they looked at, so that the latents are the same; the last
    ones give the mean of the channels that they made. Coding tables and prior stay.

    Args:
      rate_point: `RatePoint` of any number of channels.

    Returns:
      `RatePoint` with `channels` of 1; the arrays that do not change are shared.
    """
    analysis, synthesis = rate_point.analysis, rate_point.synthesis
    first = np.sum(analysis.kernels[0], 2, keepdims=True, dtype=np.float32)
    last = np.mean(synthesis.kernels[-1], 2, keepdims=True, dtype=np.float32)
    bias = np.mean(synthesis.biases[-1], keepdims=True, dtype=np.float32)
    return dataclasses.replace(
        rate_point,
        channels=1,
        analysis=Transform([first, *analysis.kernels[1:]], analysis.biases, analysis.betas, analysis.gammas),
        synthesis=Transform(
            [*synthesis.kernels[:-1], last], [*synthesis.biases[:-1], bias], synthesis.betas, synthesis.gammas
        ),
    )
