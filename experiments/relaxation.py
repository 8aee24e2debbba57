"""How close additive noise is to rounding: rate and distortion of both, over images and λ (paper: section 3).

    python experiments/relaxation.py

For each model and image one dot: what the loss sees with noise against what a
file gets (rounding). Models whose synthesis has learned from rounded latents
(mixed relaxation, fine-tuning) stand below the diagonal in distortion. Takes about
3 minutes for 8 models and 24 images.
"""

from absl import app, flags
import matplotlib.pyplot as plt
import numpy as np

import kodak

FLAGS = flags.FLAGS


def measure(rate_point, pixels, seed):
    """Rate and distortion of one image with noise and with rounding.

    Args:
      rate_point: `RatePoint`.
      pixels: float32 `[1, height, width, 3]`.
      seed: Of the noise.

    Returns:
      `[[bpp, MSE] with noise, [bpp, MSE] with rounding]`.
    """
    import tensorflow as tf

    from balle2017.model.competing_prior import prior_of
    from balle2017.model.objective import bottleneck_of
    from balle2017.model.transforms import analyze, synthesize

    tf.random.set_seed(seed)
    exponents = rate_point.gdn_alpha, rate_point.gdn_epsilon
    latents = analyze(pixels, rate_point.analysis, *exponents)
    result = []
    for noisy in (True, False):
        # A fresh prior each time, as with noise it counts classes and so changes what the next ones cost.
        coded, bits = bottleneck_of(prior_of(rate_point.prior))(latents, training=noisy)
        reconstruction = synthesize(coded, rate_point.synthesis, *exponents)
        mse = tf.reduce_mean(tf.math.squared_difference(reconstruction, pixels))
        result.append([float(bits[0]) / (pixels.shape[1] * pixels.shape[2]), float(mse)])
    return result


def main(argv):
    del argv
    paths = kodak.find_images()
    dots = []
    rate_points = kodak.find_rate_points()
    print("Noise in place of rounding, mean over images (rounding − noise, relative):")
    print(f"{'model':18} {'λ':>8} {'bpp noise':>10} {'rounded':>9} {'':>8} {'MSE noise':>10} {'rounded':>9} {'':>8}"
          f" {'loss':>8}")  # fmt: skip
    for rate_point in rate_points:
        values = np.array([measure(rate_point, p, i) for i, p in enumerate(kodak.crops(paths, FLAGS.side))])
        (bpp_noise, mse_noise), (bpp, mse) = values.mean(0)
        losses = values @ [1, rate_point.lmbda]
        change = np.mean(losses[:, 1] / losses[:, 0] - 1)
        print(f"{rate_point.name:18} {rate_point.lmbda:8g} {bpp_noise:10.4f} {bpp:9.4f} {bpp / bpp_noise - 1:+8.2%}"
              f" {mse_noise:10.3f} {mse:9.3f} {mse / mse_noise - 1:+8.2%} {change:+8.2%}")  # fmt: skip
        dots.append((rate_point.lmbda, values))
    kodak.save(draw(dots), FLAGS.out)


def draw(dots):
    """Rounding against noise, as a figure.

    Args:
      dots: List of λ and float `[images, 2, 2]`, of each image what `measure` returns.
    """
    figure, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
    colors = plt.get_cmap("viridis")
    for index, (lmbda, values) in enumerate(dots):
        color = colors(index / max(1, len(dots) - 1))
        for quantity, axis in enumerate(axes):
            axis.scatter(*values[:, :, quantity].T, s=14, color=color, label=f"λ = {lmbda:g}", linewidths=0)
    for axis, name in zip(axes, ("rate (bits per pixel)", "distortion (MSE)")):
        limits = min(axis.get_xlim()[0], axis.get_ylim()[0]), max(axis.get_xlim()[1], axis.get_ylim()[1])
        axis.set(xscale="log", yscale="log", xlabel=f"{name}, uniform noise", ylabel=f"{name}, rounding")
        inside = [max(limits[0], axis.dataLim.min.min() * 0.8), limits[1]]
        axis.plot(inside, inside, color="#999999", linewidth=1, zorder=0, label="equal")
        axis.set(xlim=inside, ylim=inside, aspect="equal")
        axis.grid(color="#eeeeee", which="both")
        axis.set_axisbelow(True)
        kodak.plain_logarithmic(axis.xaxis, axis.yaxis)
    axes[0].legend(fontsize=8, frameon=False)
    return figure


if __name__ == "__main__":
    kodak.define_flags("relaxation.png")
    flags.DEFINE_integer("side", 768, "Only this much of the middle of each image is taken.")
    flags.adopt_module_key_flags(kodak)
    app.run(main)
