"""The factorized prior of the latents (paper: the marginal densities of ỹ).

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
        # p(y) = c(y + ½) − c(y − ½).
        logits = self.base._logits_cumulative(tf.stack([y - 0.5, y + 0.5]))
        return log_of_difference(logits[0], logits[1])


def log_of_difference(lower, upper):
    """log(F(upper) − F(lower)) of logits, F the logistic function, bounded from below."""
    # On the side where F is small the difference is exact.
    sign = tf.stop_gradient(tf.where(lower + upper > 0, -1.0, 1.0))
    likelihood = tf.abs(tf.sigmoid(sign * upper) - tf.sigmoid(sign * lower))
    return tf.math.log(tf.maximum(likelihood, LIKELIHOOD_BOUND))


def prior_parameters(prior):
    """The prior's trainable parameters by name, as NumPy arrays."""
    return {variable.name.split("/")[-1].split(":")[0]: variable.numpy() for variable in prior.variables}


def set_prior_parameters(prior, parameters):
    """Assigns what `prior_parameters` returned."""
    for variable in prior.variables:
        variable.assign(parameters[variable.name.split("/")[-1].split(":")[0]])
