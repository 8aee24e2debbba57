"""Rate–distortion curves and the Bjøntegaard differences between them."""

import dataclasses
import json
import pathlib
import warnings

import bjontegaard
import numpy as np

from balle2017.evaluation import metrics

# What a curve may be measured by: key of a measurement, and its name for people.
MEASURES = {
    "psnr_rgb": "PSNR (RGB) in dB",
    "ms_ssim_rgb": "MS-SSIM (RGB) in dB",
    "psnr_luma": "PSNR (luma) in dB",
    "ms_ssim_luma": "MS-SSIM (luma) in dB",
}

# Where the published models of the paper have their points.
BPP_RANGE = (0.1, 2.2)


@dataclasses.dataclass
class Curve:
    """A rate–distortion curve.

    Attributes:
      name: Short and unique.
      label: For people.
      source: Where it comes from, or the codec's settings.
      points: For each measure of `MEASURES` that is known, rates in bpp and
        values in dB (MS-SSIM too), float64 arrays by ascending rate.
    """

    name: str
    label: str
    source: str
    points: dict[str, tuple[np.ndarray, np.ndarray]] = dataclasses.field(default_factory=dict)

    def add(self, measure, bpp, values):
        """Sets the points of one measure; MS-SSIM comes as it is measured, up to 1."""
        values = np.asarray(values, np.float64)
        if measure.startswith("ms_ssim"):
            values = np.array([metrics.decibels(value) for value in values])
        bpp = np.asarray(bpp, np.float64)
        keep = np.isfinite(values)
        order = np.argsort(bpp[keep])
        self.points[measure] = bpp[keep][order], values[keep][order]


def bd_rate(anchor, test, measure="psnr_rgb", bpp_range=BPP_RANGE):
    """Mean difference in rate at equal quality (Bjøntegaard 2001, Akima interpolation).

    Args:
      anchor, test: `Curve`s.
      measure: A key of `MEASURES`.
      bpp_range: Only points at rates in this interval are used.

    Returns:
      Percent; negative if `test` needs fewer bits. `None` if one of the curves
      has no such measure, or they have no quality in common.
    """
    return _delta(bjontegaard.bd_rate, anchor, test, measure, bpp_range)


def bd_quality(anchor, test, measure="psnr_rgb", bpp_range=BPP_RANGE):
    """Mean difference in quality at equal rate, dB (BD-PSNR for PSNR); else as `bd_rate`."""
    return _delta(bjontegaard.bd_psnr, anchor, test, measure, bpp_range)


def _delta(function, anchor, test, measure, bpp_range):
    arguments = []
    for curve in (anchor, test):
        if measure not in curve.points:
            return None
        bpp, values = curve.points[measure]
        inside = (bpp >= bpp_range[0]) & (bpp <= bpp_range[1])
        bpp, values = rising(bpp[inside], values[inside])
        if len(bpp) < 2:
            return None
        arguments += [bpp, values]
    with warnings.catch_warnings():
        # Without overlap it gives NaN, which is answer enough.
        warnings.simplefilter("ignore")
        delta = function(*arguments, method="akima", require_matching_points=False, min_overlap=0)
    return float(delta) if np.isfinite(delta) else None


def rising(bpp, values):
    """Drops the points that cost more than another one without being better."""
    keep = [i for i in range(len(bpp)) if i == 0 or values[i] > np.max(values[:i])]
    return bpp[keep], values[keep]


def matrix(curves, measure="psnr_rgb", function=bd_rate):
    """`function(row, column)` of all pairs; row is the anchor, column the test, `None` where undefined."""
    return [[function(anchor, test, measure) for test in curves] for anchor in curves]


def margins(anchor, test, measure="psnr_rgb"):
    """How far the points of a curve lie above another curve at their own rates.

    Args:
      anchor, test: `Curve`s that have the measure; `anchor` is interpolated
        linearly over the logarithm of the rate.
      measure: A key of `MEASURES`.

    Returns:
      float64 `[points of test]`, dB; NaN at rates that `anchor` does not reach.
    """
    anchor_bpp, anchor_values = anchor.points[measure]
    bpp, values = test.points[measure]
    reached = (bpp >= anchor_bpp[0]) & (bpp <= anchor_bpp[-1])
    return np.where(reached, values - np.interp(np.log(bpp), np.log(anchor_bpp), anchor_values), np.nan)


def count_above(pairs, measure="psnr_rgb"):
    """How often points lie above a curve: the paper's claim, image by image.

    Args:
      pairs: Iterable of `(anchor, test)`, `Curve`s of one image each, see `margins`.
      measure: A key of `MEASURES`.

    Returns:
      Number of points above, and number of those that can be compared, whose
      rate the anchor reaches on the same image.
    """
    found = np.concatenate([np.empty(0), *(margins(anchor, test, measure) for anchor, test in pairs)])
    found = found[np.isfinite(found)]
    return int(np.sum(found > 0)), len(found)


def load_published(folder):
    """Published curves: every `*.json` in CompressAI's result format, and tfc's tables.

    Args:
      folder: Holds files of CompressAI's format, or folders by the name of
        tfc's measures (`PSNR_sRGB_RGB`, …) with a table each (`bpp, value` a
        line after `#` comments); also both, or folders of them.

    Returns:
      `Curve`s, named by their files.
    """
    folder = pathlib.Path(folder)
    curves = {}
    for path in sorted(folder.rglob("*.json")):
        content = json.loads(path.read_text())
        results = content["results"]
        name = "compressai-" + path.stem.replace("compressai-", "")
        curve = Curve(name, f"{content['name']}, CompressAI", "published by CompressAI: " + path.name)
        for measure in MEASURES:
            key = measure.replace("ms_ssim", "ms-ssim").replace("_", "-")
            if key in results:
                curve.add(measure, results["bpp"], results[key])
        curves[path] = curve
    names = {"PSNR": "psnr", "MS-SSIM": "ms_ssim", "RGB": "rgb", "Y": "luma"}
    for path in sorted(folder.rglob("*.txt")):
        quantity, _, components = path.parent.name.split("_")
        measure = f"{names[quantity]}_{names[components]}"
        key = path.parent.parent / path.name
        if key not in curves:
            title = path.read_text().partition('"')[2].partition('"')[0]
            source = f"published by tensorflow-compression: {path.name}"
            curves[key] = Curve(f"tfc-{path.stem}", f"{title}, tfc", source)
        bpp, values = np.loadtxt(path, delimiter=",", ndmin=2).T
        curves[key].add(measure, bpp, values)
    return list(curves.values())
