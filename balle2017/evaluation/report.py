"""The evaluation as one HTML page that needs no network: curves, BD-rates, images side by side."""

import base64
import dataclasses
import io
import json
import pathlib
from typing import Any, Optional

from PIL import Image

from balle2017.evaluation import baselines, bd, metrics
from balle2017.files.writing import write_text

TEMPLATE = pathlib.Path(__file__).with_name("report_template.html")


@dataclasses.dataclass
class Report:
    """What a report shows.

    Attributes:
      title: Heading of the page.
      curves: Measured curves by set of images; the first set is the aggregate.
      published: Further curves, of the aggregate.
      visible: Names of the published curves that are shown from the start.
      viewer: Images as `compare` gives them.
    """

    title: str
    curves: dict[str, list[bd.Curve]]
    published: list[bd.Curve] = dataclasses.field(default_factory=list)
    visible: list[str] = dataclasses.field(default_factory=list)
    viewer: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def compare(name, pixels, compared, rates, progress=None):
    """One image through several codecs at matched file sizes.

    The codec with the coarsest choice of qualities sets the sizes; the others
    take the quality that brings them nearest.

    Args:
      name: Of the image.
      pixels: uint8 `[height, width, 3]`.
      compared: `baselines.Codec`s.
      rates: Rates to aim at, in bpp.
      progress: Function called after each codec at each rate.

    Returns:
      JSON types: the image, and for each size the codecs' files and figures.
      Files that browsers can show are embedded as they are, everything else losslessly.
    """
    height, width, _ = pixels.shape
    coarsest = min(compared, key=lambda codec: len(codec.scale))
    sizes = {}
    for rate in rates:
        target, files = rate * width * height / 8, {}
        for codec in [coarsest, *(codec for codec in compared if codec is not coarsest)]:
            files[codec.name] = baselines.match_size(codec, pixels, target)
            target = len(files[coarsest.name][1])
            if progress:
                progress()
        # Two rates may meet in one quality.
        sizes[target] = [_shown(codec, pixels, *files[codec.name]) for codec in compared]
    return {
        "name": name,
        "width": width,
        "height": height,
        "original": _lossless(pixels),
        "sizes": [{"bytes": size, "files": files} for size, files in sizes.items()],
    }


def _shown(codec, pixels, quality, data):
    decoded = codec.decode(data)
    media_type = codec.media_type
    return {
        "codec": codec.name,
        "quality": quality,
        "bytes": len(data),
        "bpp": 8 * len(data) / (pixels.shape[0] * pixels.shape[1]),
        "psnr": _finite(metrics.psnr(pixels, decoded)),
        "ms_ssim": metrics.ms_ssim(pixels, decoded),
        "url": _data_url(data, media_type) if media_type else _lossless(decoded),
    }


def _lossless(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True, method=4)
    return _data_url(file.getvalue(), "image/webp")


def _data_url(data, media_type):
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _finite(value: Optional[float]):
    return None if value is None or value == float("inf") else value


def write(path, report):
    """Writes a `Report` as one HTML file, in one step."""
    path = pathlib.Path(path)
    aggregate = next(iter(report.curves.values()))
    everything = aggregate + report.published
    content = {
        "title": report.title,
        "measures": bd.MEASURES,
        "codecs": [
            {"name": c.name, "label": c.label, "source": c.source, "published": c in report.published}
            for c in everything
        ],
        "visible": report.visible,
        "sets": [
            {"name": name, "curves": {c.name: _points(c) for c in curves}} for name, curves in report.curves.items()
        ],
        "published": {c.name: _points(c) for c in report.published},
        "bd": {
            measure: {
                "rate": bd.matrix(everything, measure, bd.bd_rate),
                "quality": bd.matrix(everything, measure, bd.bd_quality),
            }
            for measure in bd.MEASURES
        },
        "viewer": report.viewer,
    }
    # A closing tag inside of the data would end the script element.
    text = json.dumps(content, ensure_ascii=False).replace("</", "<\\/")
    page = TEMPLATE.read_text(encoding="utf-8").replace("/*DATA*/", text)
    write_text(path, page)


def _points(curve):
    return {measure: [[round(x, 5), round(y, 4)] for x, y in zip(*points)] for measure, points in curve.points.items()}
