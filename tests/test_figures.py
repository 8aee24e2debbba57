"""The experiments' pictures: they show the data, everything has a name, and no words lie upon others."""

import itertools
import pathlib
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")
ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    for folder in ("examples", "experiments", "benchmarks"):
        monkeypatch.syspath_prepend(str(ROOT / folder))
    known = set(sys.modules)
    yield
    # Their names are common ones: other tests have other modules of such names.
    for name in set(sys.modules) - known:
        if pathlib.Path(getattr(sys.modules[name], "__file__", None) or "/").parent.parent == ROOT:
            del sys.modules[name]


def words(figure):
    """All texts that are seen, with the rectangles that they take, after everything is laid out."""
    import matplotlib.text

    figure.canvas.draw()
    hidden = set()
    for axes in figure.axes:
        for place, axis in enumerate((axes.xaxis, axes.yaxis)):
            low, high = sorted(axis.get_view_interval())
            # Ticks outside of an axis's limits are kept, and not drawn.
            labels = axis.get_ticklabels(which="both") if axes.axison else axis.findobj(matplotlib.text.Text)
            hidden |= {label for label in labels if not (axes.axison and low <= label.get_position()[place] <= high)}
    return [
        (text.get_text(), text.get_window_extent())
        for text in figure.findobj(matplotlib.text.Text)
        if text.get_text() and text.get_visible() and text not in hidden
    ]


def assert_readable(figure):
    """No text lies on another one or outside of the picture, and every axis and line has a name."""
    import matplotlib.pyplot as plt

    found = words(figure)
    for (a, box), (b, other) in itertools.combinations(found, 2):
        overlap = min(box.x1, other.x1) - max(box.x0, other.x0), min(box.y1, other.y1) - max(box.y0, other.y0)
        assert min(overlap) < 1, f"{a!r} and {b!r} overlap"
    for text, box in found:
        assert box.x0 > -1 and box.x1 < figure.bbox.width + 1, f"{text!r} is cut off"
        assert "10^" not in text and "mathdefault" not in text, f"{text!r} is no number as people write it"
    plt.close(figure)


def test_variational_bound():
    import variational_bound

    lmbdas = [0.0018, 0.0035, 0.0067, 0.013, 0.025, 0.0483, 0.0932, 0.18]
    rows = [
        {"prior": 0.2 * i, "likelihood": 3 + 0.1 * i, "constant": 3.0, "loss": 0.3 * i / np.log(2)} for i in range(1, 9)
    ]
    figure = variational_bound.draw(lmbdas, rows)
    [axis] = figure.axes
    bars = [[bar.get_height() for bar in group] for group in axis.containers]
    np.testing.assert_allclose(bars, [[0.2 * i for i in range(1, 9)], [0.1 * i for i in range(1, 9)]])
    assert [label.get_text() for label in axis.get_xticklabels()] == [f"{lmbda:g}" for lmbda in lmbdas]
    [lines] = [c for c in axis.collections]
    np.testing.assert_allclose([segment[0][1] for segment in lines.get_segments()], [0.3 * i for i in range(1, 9)])
    # The legend has room above the bars, and none of its lines runs through its words.
    legend = axis.get_legend()
    figure.canvas.draw()
    box = legend.get_window_extent()
    for bar in itertools.chain(*axis.containers):
        assert not box.overlaps(bar.get_window_extent())
    handle = legend.legend_handles[[t.get_text() for t in legend.get_texts()].index("training loss · ln 2")]
    assert handle.get_window_extent().x1 < min(text.get_window_extent().x0 for text in legend.get_texts())
    assert_readable(figure)


def test_large_images():
    import large_images

    rows = [[runtime, command, x, 2 + x / divisor, 700 + x]
            for runtime, command, divisor in (("onnx", "compress", 10), ("tensorflow", "decompress", 5))
            for x in (1, 3, 6, 12, 25, 50, 100)]  # fmt: skip
    figure = large_images.plot(rows)
    memory, time, slope = figure.axes
    assert [text.get_text() for text in memory.get_legend().get_texts()] == [
        "compress, onnx",
        "decompress, tensorflow",
        "the limit, 2 GiB",
    ]
    np.testing.assert_allclose(memory.lines[1].get_xydata()[:, 1], [row[4] for row in rows[7:]])
    np.testing.assert_allclose(time.lines[0].get_xydata()[:, 1], [row[3] for row in rows[:7]])
    np.testing.assert_allclose(slope.lines[1].get_xydata()[:, 1], 0.2)
    figure.canvas.draw()
    assert memory.get_legend().get_window_extent().y0 > memory.transData.transform((0, 2048))[1]
    assert all(axis.get_title() and axis.get_xlabel() and axis.get_ylabel() for axis in figure.axes)
    assert_readable(figure)


def test_rate_and_distortion_of_both_families():
    import rd

    published = rd.kodak.published()
    papers = [published[name] for name in rd.kodak.PAPERS.values()]
    measured = {}
    for place, name in enumerate(("bls2017-mse", "bls2017-msssim", "jpeg", "jpeg2000", "webp", "avif", "jpegxl")):
        curve = rd.bd.Curve(name, f"the codec {name}", "")
        curve.add("psnr_rgb", [0.1, 0.5, 2.0], [25 - place / 4, 31, 38])
        curve.add("ms_ssim_rgb", [0.1, 0.5, 2.0], [0.91 - place / 100, 0.975, 0.995])
        measured[name] = curve
    families = ["bls2017-mse", "bls2017-msssim"]
    both, by_ms_ssim = (
        rd.draw(measured, families, papers),
        rd.draw_ms_ssim(measured, families, papers, published["tfc-bpg444"]),
    )
    labels = [[text.get_text() for text in f.axes[0].get_legend().get_texts()] for f in (both, by_ms_ssim)]
    assert labels[0] == [
        *(c.label for c in measured.values()),
        *(f"the paper's own points ({k})" for k in ("MSE", "MS-SSIM")),
    ]
    assert set(labels[1]) == {*labels[0], "BPG (4:4:4), tfc"}
    np.testing.assert_allclose(
        by_ms_ssim.axes[0].lines[1].get_xydata()[:, 1], measured["bls2017-msssim"].points["ms_ssim_rgb"][1]
    )
    colors = [line.get_color() for line in by_ms_ssim.axes[0].lines if line.get_linestyle() == "-"]
    assert len(set(colors)) == len(colors)
    for figure in (both, by_ms_ssim):
        assert_readable(figure)


@pytest.mark.parametrize("size", [(48, 72), (72, 48)])
def test_reconstructions(size):
    import reconstructions

    random = np.random.default_rng(0)
    captions = [["Original, 05.png", "768×512"], *(
        [f"{codec}: 13436 bytes, 0.273 bpp", "PSNR 25.12 dB, MS-SSIM 0.9351"]
        for codec in ("balle2017 (MSE)", "JPEG", "JPEG 2000")
    )]  # fmt: skip
    rows = [[(caption, random.integers(0, 256, [*size, 3], np.uint8)) for caption in captions] for _ in range(3)]
    figure = reconstructions.draw(rows)
    assert len(figure.axes) == 24
    for column, (caption, pixels) in enumerate(rows[0]):
        np.testing.assert_array_equal(figure.axes[column].images[0].get_array(), pixels)
        part = figure.axes[4 + column].images[0].get_array()
        top, left = int(0.4 * size[0]), int(0.4 * size[1])
        np.testing.assert_array_equal(part, pixels[top : top + 12, left : left + 18])
        assert figure.axes[column].get_title(loc="left") == "\n".join(caption)
        assert "18×12 pixels" in figure.axes[4 + column].get_title(loc="left")
    assert_readable(figure)


@pytest.mark.parametrize("seconds", [(0.04, 0.29, 0.79, 7.25), (0.9, 1.1, 1.9, 2.9)])
def test_effort(seconds):
    import effort

    rows = [(i, -4.0 * i, -2.0 * i, -6.0, s, s / seconds[0]) for i, s in enumerate(seconds)]
    figure = effort.draw([("for squared error", "psnr_rgb", rows), ("for MS-SSIM", "ms_ssim_rgb", rows[:2])])
    [axis] = figure.axes
    # Each family in its own measure.
    np.testing.assert_allclose(axis.lines[0].get_xydata(), [(row[4], row[1]) for row in rows])
    np.testing.assert_allclose(axis.lines[1].get_xydata(), [(row[4], row[2]) for row in rows[:2]])
    assert [text.get_text() for text in axis.texts] == ["0", "1", "2", "3", "0", "1"]
    shown = {text for text, _ in words(figure)}
    assert {"1", "2", "for MS-SSIM"} <= shown and ("0.1" in shown) == (seconds[0] < 0.1)
    assert_readable(figure)


def test_relaxation():
    import relaxation

    random = np.random.default_rng(0)
    values = [(lmbda, scale * random.uniform(0.8, 1.2, [24, 2, 2])) for lmbda, scale in ((0.0018, 0.3), (0.18, 2.0))]
    figure = relaxation.draw(values)
    for quantity, axis in enumerate(figure.axes):
        for (_, expected), dots in zip(values, axis.collections):
            np.testing.assert_allclose(dots.get_offsets(), expected[:, :, quantity])
        assert "noise" in axis.get_xlabel() and "rounding" in axis.get_ylabel()
    assert {text.get_text() for text in figure.axes[0].get_legend().get_texts()} == {"λ = 0.0018", "λ = 0.18", "equal"}
    assert "0.5" in {text for text, _ in words(figure)}
    assert_readable(figure)


def test_bits_that_are_saved_at_equal_quality():
    pytest.importorskip("tensorflow")
    import gray

    curve = [(0.1, 26), (0.4, 30), (1.6, 34)]
    assert gray.saving((0.4, 30), curve) == pytest.approx(0)
    # In the middle between two points the curve is at the geometric mean of their rates.
    assert gray.saving((0.19, 28), curve) == pytest.approx(0.05)
    assert gray.saving((0.22, 28), curve) == pytest.approx(-0.1)
    assert np.isnan(gray.saving((0.1, 25), curve)) and np.isnan(gray.saving((2, 35), curve))


def test_a_comparison_has_names_and_figures():
    from balle2017.evaluation import panels

    shown = [
        (np.full([40, 420, 3], 10 * i, np.uint8), lines) for i, lines in enumerate((["a", "b"], ["", ""], ["c", ""]))
    ]
    image = np.asarray(panels.comparison(shown))
    below = panels.caption_height(2)
    assert image.shape == (40 + below, 3 * 420 + 2 * panels.GAP, 3)
    for index, (pixels, lines) in enumerate(shown):
        left = index * (420 + panels.GAP)
        np.testing.assert_array_equal(image[:40, left : left + 420], pixels)
        # Ink where there are words, and none where there are none.
        for line in range(2):
            top = 40 + panels.MARGIN + line * panels.LINE
            assert bool(lines[line]) == (image[top : top + panels.FONT_SIZE, left : left + 420].min() < 128)
    # Four of them are two rows of two.
    image = np.asarray(panels.comparison([*shown, shown[1]], 2))
    assert image.shape == (2 * (40 + below), 2 * 420 + panels.GAP, 3)
    np.testing.assert_array_equal(image[40 + below :][:40, :420], shown[2][0])
    np.testing.assert_array_equal(image[40 + below :][:40, -420:], shown[1][0])
    original = np.full([512, 768, 3], 100, np.uint8)
    assert panels.figures(original, original + np.uint8(1), 7257)[0] == "7.3 kB, 0.148 bpp"
