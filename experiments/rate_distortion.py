"""Rate–distortion curves against JPEG and JPEG 2000, mean and per image (paper: section 4).

    python experiments/rate_distortion.py

Takes about 12 minutes for 8 models and 24 images on 2 cores, a few seconds once
`make rd` has measured the same files.
"""

from absl import app, flags
import matplotlib.pyplot as plt
import numpy as np

from balle2017.evaluation import baselines, bd, results
import kodak

FLAGS = flags.FLAGS


def main(argv):
    del argv
    paths = kodak.find_images()
    families = kodak.find_families()
    names = [family.name for family in families]
    records, chosen = kodak.measure(paths, families + [baselines.Jpeg(), baselines.Jpeg2000()])
    sets = results.curves_by_image(records, chosen)

    print(f"{'BD-rate, PSNR RGB (MS-SSIM RGB), %':36}" + "".join(f"{n:>22}" for n in ("JPEG", "JPEG 2000")))
    better = {}
    for title, curves in sets.items():
        by_name = {curve.name: curve for curve in curves}
        for name in names:
            cells = []
            for anchor in ("jpeg", "jpeg2000"):
                rates = [bd.bd_rate(by_name[anchor], by_name[name], m) for m in ("psnr_rgb", "ms_ssim_rgb")]
                better.setdefault((name, anchor), []).append(rates)
                cells.append("{:.1f} ({:.1f})".format(*(np.nan if r is None else r for r in rates)))
            print(f"{name + ', ' + title:36}" + "".join(f"{cell:>22}" for cell in cells))
    for (name, anchor), rates in better.items():
        # The first is the mean.
        counts = [sum(r[i] is not None and r[i] < 0 for r in rates[1:]) for i in range(2)]
        print(f"{name} needs fewer bits than {anchor} on {counts[0]} (PSNR) and {counts[1]} (MS-SSIM)"
              f" of {len(rates) - 1} images.")  # fmt: skip

    columns = 5
    rows = -(-len(sets) // columns)
    figure, axes = plt.subplots(2 * rows, columns, figsize=(3.6 * columns, 5.2 * rows), layout="constrained")
    for axis in axes.flat:
        axis.set_visible(False)
    for half, measure in enumerate(("psnr_rgb", "ms_ssim_rgb")):
        for index, (title, curves) in enumerate(sets.items()):
            axis = axes[half * rows + index // columns, index % columns]
            axis.set_visible(True)
            for curve in curves:
                kodak.draw(axis, curve, measure, color=kodak.color(curve, names), marker=".", markersize=4)
            kodak.finish(axis, title, measure)
    axes[0, 0].legend(fontsize=8, frameon=False)
    kodak.save(figure, FLAGS.out)


if __name__ == "__main__":
    kodak.define_flags("rate_distortion.png")
    flags.adopt_module_key_flags(kodak)
    app.run(main)
