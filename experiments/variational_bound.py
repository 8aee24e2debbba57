"""The relaxed loss as a variational bound of a generative model (paper: section 3, the relation to VAEs).

    python experiments/variational_bound.py

Takes about a minute. The model: latents ỹ from the prior p(ỹ), pixels of an
image x with C channels from Normal(g_s(ỹ), σ²) with σ² = C / (2 λ ln 2); the
posterior q(ỹ | x) is uniform of width 1 around g_a(x). Then, in nats,

    E_q[ log q(ỹ | x) - log p(ỹ) - log p(x | ỹ) ]  ≥  -log p(x)
         = 0            = rate · ln 2   = λ · distortion · pixels · ln 2 + constant

with classes of positions that compete, p(ỹ) is p(ỹ, k), whose k is a function of x, so that log q has no part of
it. So the training loss is this bound divided by pixels · ln 2, but for a
constant that no weight appears in. Each term is evaluated by TensorFlow
Probability's densities and checked against the loss that training computes.
"""

import sys

from absl import app, flags
import matplotlib.pyplot as plt
import numpy as np

import kodak

FLAGS = flags.FLAGS
TOLERANCE = 1e-5


def terms(rate_point, images, seed):
    """The bound's terms for one draw of the noise, and the training loss for the same.

    Args:
      rate_point: `RatePoint`.
      images: float32 `[batch, height, width, channels]`.
      seed: Of the noise.

    Returns:
      Dictionary of floats, terms in nats a pixel: `posterior` (E log q), `prior`
      (-log p(ỹ)), `likelihood` (-log p(x | ỹ)), the `constant` of the latter; and
      the `loss` in bits a pixel.
    """
    import tensorflow as tf
    import tensorflow_probability as tfp

    from balle2017.model.competing_prior import prior_of
    from balle2017.model.objective import RateDistortionModel, bottleneck_of

    channels = rate_point.channels
    model = RateDistortionModel(
        rate_point.lmbda,
        rate_point.num_filters,
        channels,
        rate_point.gdn_alpha,
        rate_point.gdn_epsilon,
        num_latents=rate_point.num_latents,
        num_gdns=len(rate_point.analysis.betas),
    )
    model.analysis.set_plain_weights(rate_point.analysis)
    model.synthesis.set_plain_weights(rate_point.synthesis)
    model.prior = prior_of(rate_point.prior)
    model.bottleneck = bottleneck_of(model.prior)

    # The same seed gives the same noise twice: to the loss, and to the densities.
    tf.random.set_seed(seed)
    loss = model.losses_of(images, training=True)[0]
    tf.random.set_seed(seed)
    latents = model.analysis(images)
    noisy, _ = model.bottleneck(latents, training=True)

    pixels = float(np.prod(images.shape[:3]))
    variance = channels / (2 * rate_point.lmbda * np.log(2))
    # Rounding may put a noisy latent a hair outside of its interval.
    posterior = tfp.distributions.Uniform(latents - 0.5 - 1e-4, latents + 0.5 + 1e-4)
    width = np.log(1 + 2e-4)
    likelihood = tfp.distributions.Normal(model.synthesis(noisy), np.float32(variance**0.5))

    def total(values):
        return float(tf.reduce_sum(tf.cast(values, tf.float64))) / pixels

    return {
        "posterior": total(posterior.log_prob(noisy) + np.float32(width)),
        # A fresh one, as training counts classes and so changes what the next ones cost.
        "prior": -total(log_prior(prior_of(rate_point.prior), latents, noisy)),
        "likelihood": -total(likelihood.log_prob(images)),
        "constant": channels / 2 * np.log(2 * np.pi * variance),
        "loss": float(loss),
    }


def log_prior(prior, latents, noisy):
    """log p(ỹ), by TensorFlow Probability's densities where classes compete: then of ỹ and its classes."""
    import tensorflow as tf
    import tensorflow_compression as tfc

    from balle2017.model.competing_prior import MIN_LOG_SCALE, CompetingPrior
    from balle2017.model.prior import LIKELIHOOD_BOUND

    if not isinstance(prior, CompetingPrior):
        return prior.log_prob(noisy)
    classes = prior.choose(tf.round(latents))
    density = tfc.NoisyLogistic(
        loc=tf.gather(prior.loc, classes),
        scale=tf.exp(tf.maximum(tf.gather(prior.log_scale, classes), MIN_LOG_SCALE)),
    )
    # In training no value takes more bits than this one.
    log_likelihood = tf.maximum(density.log_prob(noisy), np.log(LIKELIHOOD_BOUND))
    return tf.reduce_sum(log_likelihood, -1) - np.log(2) * prior.class_bits(classes)


def main(argv):
    del argv
    images = np.concatenate(list(kodak.crops(kodak.find_images(), 256)))
    rate_points = kodak.find_rate_points()
    print("Nats per pixel: E log q, -log p(ỹ), -log p(x|ỹ), of which the constant; bound;"
          " loss from the bound, in training")  # fmt: skip
    rows, worst = [], 0.0
    for rate_point in rate_points:
        row = terms(rate_point, images, seed=1)
        bound = row["posterior"] + row["prior"] + row["likelihood"]
        from_bound = (bound - row["constant"]) / np.log(2)
        worst = max(worst, abs(from_bound / row["loss"] - 1))
        rows.append(row)
        print(f"{rate_point.name:18} {row['posterior']:9.6f} {row['prior']:9.5f} {row['likelihood']:9.5f}"
              f" ({row['constant']:8.5f}) {bound:9.5f}   {from_bound:9.6f} {row['loss']:9.6f}")  # fmt: skip
    print(f"Largest relative difference between the bound's loss and the training loss: {worst:.1e}")
    kodak.save(draw([rate_point.lmbda for rate_point in rate_points], rows), FLAGS.out)
    if worst > TOLERANCE:
        sys.exit(f"The bound and the loss differ by more than {TOLERANCE}.")


def draw(lmbdas, rows):
    """The terms, stacked, and the training loss across them, as a figure.

    Args:
      lmbdas: λ of each model.
      rows: What `terms` returns of each.
    """
    figure, axis = plt.subplots(figsize=(8.5, 4.6), layout="constrained")
    places = np.arange(len(rows))
    parts = [
        ("−log p(ỹ): rate", [row["prior"] for row in rows], "#2b7bba"),
        (
            "−log p(x|ỹ) without its constant: λ · distortion",
            [row["likelihood"] - row["constant"] for row in rows],
            "#e08e1b",
        ),
    ]
    bottom = np.zeros(len(rows))
    for label, heights, color in parts:
        axis.bar(places, heights, 0.6, bottom, label=label, color=color)
        bottom += heights
    loss = [row["loss"] * np.log(2) for row in rows]
    axis.hlines(loss, places - 0.36, places + 0.36, color="black", linewidth=1.6, label="training loss · ln 2")
    axis.set_xticks(places, [f"{lmbda:g}" for lmbda in lmbdas], fontsize=9)
    axis.set_xlabel("λ")
    axis.set_ylabel("nats per pixel")
    # The bars are low where λ is small; a third more than the highest leaves room for any of them.
    axis.set_ylim(0, 1.3 * max(loss))
    axis.legend(fontsize=9, frameon=False, loc="upper left")
    return figure


if __name__ == "__main__":
    kodak.define_flags("variational_bound.png")
    flags.adopt_module_key_flags(kodak)
    app.run(main)
