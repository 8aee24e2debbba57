"""The prior of the latents (paper: section 3, the density of ỹ).

The density of each latent channel is tfc's `NoisyDeepFactorized`: a monotone network for the
cumulative distribution, convolved with the unit uniform distribution of the quantization noise.
Training minimizes the rate of this factorized prior, as the paper does.
"""

import tensorflow as tf
import tensorflow_compression as tfc

# Keeps log p finite; a latent as improbable as this costs 30 bits.
LIKELIHOOD_BOUND = 1e-9


class FactorizedPrior(tfc.NoisyDeepFactorized):
    """`NoisyDeepFactorized` whose log-density evaluates the network once instead of four times."""

    def _log_prob(self, y):
        # p(y) = c(y + ½) − c(y − ½); on the side where c is small the difference is exact.
        logits = self.base._logits_cumulative(tf.stack([y - 0.5, y + 0.5]))
        lower, upper = logits[0], logits[1]
        sign = tf.stop_gradient(-tf.sign(lower + upper))
        likelihood = tf.abs(tf.sigmoid(sign * upper) - tf.sigmoid(sign * lower))
        return tf.math.log(tf.maximum(likelihood, LIKELIHOOD_BOUND))


def prior_parameters(prior):
    """The prior's trainable parameters by name, as NumPy arrays."""
    return {variable.name.split("/")[-1].split(":")[0]: variable.numpy() for variable in prior.variables}


def set_prior_parameters(prior, parameters):
    """Assigns what `prior_parameters` returned."""
    for variable in prior.variables:
        variable.assign(parameters[variable.name.split("/")[-1].split(":")[0]])
