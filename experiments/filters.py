"""The learned filters and GDN weights as pictures.

    python experiments/filters.py

Takes a few seconds a model. Rows: first filters of the analysis; last filters of the synthesis;
what one latent of each channel adds to a gray picture; γ of every GDN and
IGDN. Everything is sorted by energy.
"""

from absl import app, flags
from matplotlib.colors import LogNorm
import matplotlib.pyplot as plt
import numpy as np

import kodak

FLAGS = flags.FLAGS


def mosaic(patches, columns):
    """Patches `[count, h, w, 3]`, each scaled to its own contrast around gray, as one picture."""
    count, height, width, channels = patches.shape
    peak = np.abs(patches).max(axis=(1, 2, 3), keepdims=True)
    patches = 0.5 + 0.5 * patches / np.maximum(peak, 1e-12)
    rows = -(-count // columns)
    picture = np.ones([rows * (height + 1) + 1, columns * (width + 1) + 1, channels])
    for i, patch in enumerate(patches):
        top, left = i // columns * (height + 1) + 1, i % columns * (width + 1) + 1
        picture[top : top + height, left : left + width] = patch
    return picture


def strongest_first(patches):
    """The patches by falling energy, and their order."""
    energy = np.sqrt(np.sum(np.square(patches), axis=(1, 2, 3)))
    order = np.argsort(-energy)
    return patches[order], energy[order], order


def responses(rate_point, channels):
    """What one step of a latent adds to a picture: `[len(channels), 80, 80, 3]`."""
    from balle2017.model.transforms import synthesize

    latents = np.zeros([len(channels) + 1, 5, 5, rate_point.num_latents], np.float32)
    latents[:] = rate_point.tables.constants
    for i, channel in enumerate(channels):
        latents[i, 2, 2, channel] += FLAGS.step
    weights = rate_point.synthesis
    pixels = synthesize(latents, weights, rate_point.gdn_alpha, rate_point.gdn_epsilon).numpy()
    return pixels[:-1] - pixels[-1:]


def main(argv):
    del argv
    rate_points = kodak.find_rate_points(None if FLAGS.model else "mse")
    names = [rate_point.name for rate_point in rate_points]
    if FLAGS.model and FLAGS.model not in names:
        raise app.UsageError(f"There is no model {FLAGS.model}; installed are {', '.join(names)}.")
    rate_point = rate_points[names.index(FLAGS.model) if FLAGS.model else len(names) // 2]

    first = rate_point.analysis.kernels[0].transpose(3, 0, 1, 2)
    last = rate_point.synthesis.kernels[-1].transpose(3, 0, 1, 2)
    first, first_energy, first_order = strongest_first(first)
    last, last_energy, last_order = strongest_first(last)
    active = rate_point.tables.active
    reach, reach_energy, reach_order = strongest_first(responses(rate_point, active))

    def half(energy):
        return int(np.searchsorted(np.cumsum(energy**2), 0.9 * np.sum(energy**2))) + 1

    print(f"{rate_point.name}: λ = {rate_point.lmbda:g}, {rate_point.num_filters} filters,"
          f" {len(active)} of {rate_point.num_latents} latents active")  # fmt: skip
    print(f"90 % of the energy of the first filters is in {half(first_energy)}, of the last in {half(last_energy)}.")
    pools = [*rate_point.analysis.gammas, *rate_point.synthesis.gammas]
    each = len(pools) // 2
    titles = [f"{kind} {number + 1}" for kind in ("GDN", "IGDN") for number in range(each)]
    for title, gamma in zip(titles, pools):
        diagonal = np.trace(gamma) / max(gamma.sum(), 1e-12)
        print(f"{title}: {100 * diagonal:.0f} % of the weights' sum lies on the diagonal,"
              f" largest weight {gamma.max():.3g},"
              f" {100 * np.mean(gamma > 0.01 * gamma.max()):.0f} % of the weights above a hundredth of it")  # fmt: skip

    figure = plt.figure(figsize=(14, 11.5), layout="constrained")
    grid = figure.add_gridspec(3, len(pools), height_ratios=[1.0, 1.0, 1.0])
    panels = [
        (grid[0, :each], mosaic(first, 16), "First filters of the analysis, 9×9×3, strongest first"),
        (grid[0, each:], mosaic(last, 16), "Last filters of the synthesis, 9×9×3, strongest first"),
        (
            grid[1, :],
            mosaic(reach[:60, 8:72, 8:72], 15),
            f"What a latent of {FLAGS.step:g} adds to a gray picture, 64×64 pixels, strongest first",
        ),
    ]
    for place, picture, title in panels:
        axis = figure.add_subplot(place)
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(title, fontsize=10, loc="left")
        axis.axis("off")
    # Those of the first analysis and last synthesis stage in the order of their filters above.
    orders = [first_order, *[None] * (len(pools) - 2), last_order]
    for index, (gamma, order) in enumerate(zip(pools, orders)):
        order = np.argsort(-np.diag(gamma)) if order is None else order
        axis = figure.add_subplot(grid[2, index])
        # Relative to the largest: they differ by orders of magnitude.
        peak = max(float(gamma.max()), 1e-12)
        shown = np.maximum(gamma[np.ix_(order, order)] / peak, 1e-4)
        image = axis.imshow(shown, cmap="magma", interpolation="nearest", norm=LogNorm(1e-4, 1))
        axis.set_title(f"γ of {titles[index]}, largest {peak:.2g}", fontsize=10, loc="left")
        axis.set_xlabel("normalized channel", fontsize=8)
        axis.set_ylabel("weighs with", fontsize=8)
        axis.tick_params(labelsize=7)
    bar = figure.colorbar(image, ax=figure.axes[3:], shrink=0.8, label="γ over its largest", format="{x:g}")
    bar.ax.minorticks_off()
    figure.suptitle(f"{rate_point.name}, λ = {rate_point.lmbda:g}", fontsize=12)
    kodak.save(figure, FLAGS.out)


if __name__ == "__main__":
    kodak.define_flags("filters.png")
    flags.DEFINE_string("model", None, "Name of the model; by default the middle one.")
    flags.DEFINE_float("step", 8.0, "How far the latent is moved, in quantizer steps.")
    flags.adopt_module_key_flags(kodak)
    app.run(main)
