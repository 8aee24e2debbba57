"""What the experiments on the Kodak set have in common: where it is, and how its curves look."""

import os
import pathlib
import sys

from absl import flags
import matplotlib

matplotlib.use("Agg")
from matplotlib import ticker  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402 (after the choice of the backend)
import numpy as np  # noqa: E402

from balle2017.evaluation import baselines, bd, measuring  # noqa: E402
from balle2017.files import writing  # noqa: E402
from balle2017.pictures import images  # noqa: E402

FLAGS = flags.FLAGS
ROOT = pathlib.Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "experiments" / "data" / "kodak"
# The paper's own models, by what they were trained for.
PAPERS = {"mse": "tfc-balle-2017-iclr-opt-mse", "ms_ssim": "tfc-balle-2017-iclr-opt-msssim"}
PAPER = PAPERS["mse"]
# In which measure a family is at its best.
MEASURES = {"mse": "psnr_rgb", "ms_ssim": "ms_ssim_rgb"}

COLORS = {
    "paper": "#222222",
    "bpg": "#6b7f3a",
    "jpeg": "#8a6d3b",
    "jpeg2000": "#2b7bba",
    "webp": "#e08e1b",
    "avif": "#3a9d6e",
    "jpegxl": "#8e5cc2",
}
OURS = ["#d1495b", "#b5638f", "#e5832e"]


def define_flags(picture=None):
    """Flags that name the images, the models and where results go."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    flags.DEFINE_string("images", str(ROOT.parent / "shared/images/kodak"), "Folder of the Kodak images.")
    flags.DEFINE_string("models_dir", None, "Folder of models; by default those that come with the package.")
    flags.DEFINE_string(
        "results", str(ROOT / "results/kodak"), "Where measurements are kept: what is known is not measured again."
    )
    if picture:
        flags.DEFINE_string("out", str(ROOT / "docs/experiments" / picture), "The picture to write.")


def define_measurements_flag():
    """The flag that names the document with all measured tables."""
    flags.DEFINE_string(
        "measurements", str(ROOT / "docs/measurements.md"), "File whose part between the markers is replaced."
    )


def find_images():
    """The image files, or the end of the program with one sentence."""
    if not os.path.isdir(FLAGS.images):
        sys.exit(
            f"There is no folder {FLAGS.images}: name the one that holds the 24 Kodak photographs with --images"
            " (make rd IMAGES=FOLDER); docs/measurements.md says where they are found."
        )
    try:
        return measuring.find_images(FLAGS.images)
    except ValueError as error:
        sys.exit(str(error))


def find_families():
    """The families of colour models, as codecs, or the end of the program with one sentence."""
    found = [c for c in baselines.installed(FLAGS.models_dir) if isinstance(c, baselines.RatePoints)]
    if not found:
        sys.exit("No models are installed: name a folder of models with --models_dir.")
    return found


def find_family(distortion):
    """The first family of colour models for a distortion, or the end of the program with one sentence."""
    found = [family for family in find_families() if family.distortion == distortion]
    if not found:
        sys.exit(f"No models that were trained for {distortion} are installed: name a folder with --models_dir.")
    return found[0]


def find_rate_points(distortion="mse"):
    """The models of `find_family`, or with `None` all colour models, as `RatePoint`s by family and ascending λ."""
    from balle2017.saved_model import reading

    families = [find_family(distortion)] if distortion else find_families()
    return [reading.load_rate_point(str(m.folder)) for f in families for m in f.models.values()]


def measure(paths, compared):
    """Measures codecs at their own qualities; returns the records and what was chosen."""
    chosen = [(codec, codec.qualities) for codec in compared]
    return measuring.evaluate(paths, chosen, os.path.join(FLAGS.results, "per_image")), chosen


def crops(paths, side):
    """The middle of each image as float32 `[1, side, side, 3]` at most, sides multiples of 16."""
    for path in paths:
        pixels = images.read(path).pixels
        height, width = (min(side, length) // 16 * 16 for length in pixels.shape[:2])
        top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
        yield pixels[np.newaxis, top : top + height, left : left + width].astype(np.float32)


def published():
    """The published tables as `bd.Curve`s by name."""
    return {curve.name: curve for curve in bd.load_published(PUBLISHED)}


def color(curve, families):
    """The colour of a curve, the same in all pictures."""
    if curve.name in families:
        return OURS[families.index(curve.name) % len(OURS)]
    return COLORS.get(curve.name, COLORS["paper"])


def draw(axes, curve, measure, **style):
    """Draws one curve of one measure, if it is known."""
    if measure in curve.points:
        bpp, values = curve.points[measure]
        axes.plot(bpp, values, **{"label": curve.label, "linewidth": 1.6, **style})


def finish(axes, title, measure, limits=(0, 2.1), values=None):
    """Title, labels and grid of a rate–distortion diagram."""
    axes.set_xlim(*limits)
    if values:
        axes.set_ylim(*values)
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("bits per pixel", fontsize=9)
    axes.set_ylabel(bd.MEASURES[measure].replace(" in dB", ", dB"), fontsize=9)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def plain_logarithmic(*axes):
    """Numbers of logarithmic `matplotlib.axis.Axis`es as people write them: 0.1, 1, 20."""
    for axis in axes:
        low, high = sorted(axis.get_view_interval())
        # Within one power of ten 1, 2, 5 would leave an axis with one or two numbers.
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high > 5 * low else (1, 1.5, 2, 3, 4, 5, 6, 8)))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(ticker.NullFormatter())


def save(figure, path):
    """Writes a figure as PNG, in one step."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing.replacing(path) as file:
        figure.savefig(file, format="png", dpi=110, bbox_inches="tight", facecolor="white")
    plt.close(figure)
    print(f"Picture: {path}")
