"""All times in one run, side by side: `python benchmarks/run.py [--quick] [--update]`.

Encodes and decodes (pixels to bytes and back) one photograph at 768×512 and at 12 megapixels, with
this package, with the reference formulation of tfc's published example, and with Pillow's JPEG 2000
and AVIF at about the same rate; measures the limit that the machine's matrix products set, each step
on its own, a command's cold start and a folder. Prints Markdown, and writes it with all single times
as JSON. Takes about seven minutes on two idle cores; what else the machine does is noticed and said.
"""

import argparse
import functools
import importlib.util
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from tqdm import tqdm

from balle2017 import codec
from balle2017.evaluation import baselines, metrics, results
from balle2017.pictures import images

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LARGE = 2832, 4240
MATRIX = 2048
# Above this part of the processor's cores, what others did is worth a warning.
NOTABLE_LOAD = 0.05


class QuickAvif(baselines.Avif):
    """AVIF at Pillow's default speed; the comparisons of quality use a slower one."""

    def options(self, quality):
        return dict(quality=quality)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bls2017-mse-4", help="name of a rate point")
    parser.add_argument("--models_dir", help="folder of models")
    parser.add_argument("--image", default=os.path.join(ROOT, "examples", "kodak-23.png"), help="picture")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no 12 megapixels")
    parser.add_argument("--json", default="results/bench.json", help="where all times go")
    parser.add_argument("--update", action="store_true", help="put the tables into docs/measurements.md")
    args = parser.parse_args()
    measured = measure(args)
    os.makedirs(os.path.dirname(os.path.abspath(args.json)), exist_ok=True)
    with open(args.json, "w") as file:
        json.dump(measured, file, indent=1, ensure_ascii=False)
    text = report(measured)
    print(text)
    if args.update:
        results.update_part(pathlib.Path(ROOT, "docs", "measurements.md"), text, "bench")


def measure(args):
    """Runs everything; returns what goes into the JSON file."""
    from rounds import BackgroundLoad, take_turns
    import web_page

    load = BackgroundLoad()
    progress = tqdm(desc="benchmark", unit=" calls", disable=None)
    commands = measure_commands(args, take_turns, progress)

    tf = codec.tensorflow()
    tf.autograph.set_verbosity(0)
    from balle2017.saved_model import reading, writing
    from stages import stages

    pixels = images.read(args.image).pixels
    model = codec.load(args.model, args.models_dir, runtime="tensorflow")
    rate_point = reading.load_rate_point(str(model.folder))
    with tempfile.TemporaryDirectory() as folder:
        writing.export(rate_point, os.path.join(folder, args.model), "stock")
        contestants = make_contestants(args, rate_point, pixels, folder)
        files = {}
        with web_page.contestants(args.model, args.models_dir) as page:
            tasks = make_tasks({**contestants, **page}, pixels, files, tf)
            small = take_turns(tasks, 5 if args.quick else 15, progress)
        quality = {
            name: [len(file), metrics.psnr(pixels, contestants.get(name, contestants["balle2017"])[1](file))]
            for name, file in files.items()
            if isinstance(file, bytes)
        }
        large = {}
        if not args.quick:
            tasks = make_tasks(contestants, mirror(pixels, *LARGE), {}, tf)
            large = take_turns(tasks, 3, progress, warm_up=1)
    steps, counts = {}, {}
    tasks = {}
    for dtype in ("float32", "bfloat16"):
        for direction, part in zip(
            ("encode", "decode"), stages(model, rate_point, args.image, tf.dtypes.as_dtype(dtype))
        ):
            for name, function, products in part:
                tasks[f"{direction}|{name}|{dtype}"] = function
                counts[f"{direction}|{name}"] = products
    steps = take_turns(tasks, 5 if args.quick else 15, progress)
    progress.close()
    return {
        "machine": f"{results.processor()}, {os.cpu_count()} cores, Python {platform.python_version()},"
        f" TensorFlow {tf.__version__}",
        "model": args.model,
        "background_cores": load.cores(),
        "area": {"small": pixels.shape[0] * pixels.shape[1], "large": LARGE[0] * LARGE[1]},
        "files": quality,
        "products": counts,
        "seconds": {"small": small, "large": large, "steps": steps, "commands": commands},
        "folder_images": FOLDER_IMAGES,
    }


def make_contestants(args, rate_point, pixels, stock_dir):
    """Functions that encode and decode, by name."""
    from reference import ReferenceCodec

    def pair(models_dir, arithmetic, runtime="tensorflow"):
        model = codec.load(args.model, models_dir, arithmetic, runtime)
        return (
            model.compress,
            lambda data: codec.decompress(data, models_dir, arithmetic=arithmetic, runtime=runtime).pixels,
        )

    reference = ReferenceCodec(rate_point)
    found = {
        "balle2017": pair(args.models_dir, "float32"),
        "balle2017, onnxruntime": pair(args.models_dir, "float32", "onnx"),
        "balle2017, stock runtime": pair(stock_dir, "float32"),
        "balle2017, bfloat16": pair(args.models_dir, "bfloat16"),
        "reference (tfc's example)": (
            lambda pixels: [part.numpy() for part in reference.compress(pixels)],
            lambda parts: reference.decompress(*parts).numpy(),
        ),
    }
    size = len(found["balle2017"][0](pixels))
    for other in (baselines.Jpeg2000, QuickAvif):
        try:
            other = other()
        except baselines.CodecUnavailable as error:
            print(error, file=sys.stderr)
            continue
        quality, _ = baselines.match_size(other, pixels, size)
        found[f"{other.label} (Pillow)"] = (functools.partial(other.encode, quality=quality), other.decode)
    if importlib.util.find_spec("compressai"):
        found["bmshj2018-factorized (CompressAI)"] = compressai_pair()
    return found


def compressai_pair():
    """CompressAI's model of the same structure with about the same rate."""
    from compressai.zoo import bmshj2018_factorized
    import torch

    network = bmshj2018_factorized(quality=4, pretrained=True).eval()

    @torch.no_grad()
    def encode(pixels):
        x = torch.from_numpy(pixels.transpose(2, 0, 1)[None]).float() / 255
        # It takes multiples of 16 pixels, which both pictures are.
        return network.compress(x)

    @torch.no_grad()
    def decode(parts):
        x = network.decompress(parts["strings"], parts["shape"])["x_hat"]
        return (x[0] * 255).round().clamp(0, 255).byte().numpy().transpose(1, 2, 0)

    return encode, decode


def make_tasks(contestants, pixels, files, tf):
    """What takes turns: `encode|NAME` and `decode|NAME`, and matrix products for the limit."""

    def encode(name):
        files[name] = contestants[name][0](pixels)

    tasks = {}
    for name, (_, decode) in contestants.items():
        tasks[f"encode|{name}"] = functools.partial(encode, name)
        tasks[f"decode|{name}"] = lambda name=name, decode=decode: decode(files[name])
    for dtype in ("float32", "bfloat16"):
        matrix = tf.cast(tf.random.normal([MATRIX, MATRIX]), dtype)
        tasks[f"product|{dtype}"] = lambda matrix=matrix: tf.matmul(matrix, matrix)
    return tasks


FOLDER_IMAGES = 24


def measure_commands(args, take_turns, progress):
    """Cold starts, and a folder, each in a process of its own."""
    options = ["--models_dir", args.models_dir] if args.models_dir else []
    with tempfile.TemporaryDirectory() as folder:
        packed, unpacked = os.path.join(folder, "1.tfci"), os.path.join(folder, "1.png")
        compress = ["compress", *options, "--overwrite", args.model]
        decompress = ["decompress", *options, "--overwrite"]
        os.mkdir(os.path.join(folder, "in"))
        for index in range(FOLDER_IMAGES):
            shutil.copy(args.image, os.path.join(folder, "in", f"{index}.png"))
        command = ["-m", "balle2017.tfci"]
        folders = [os.path.join(folder, name) for name in ("in", "packed", "out")]
        single, several = {"import tensorflow": lambda: run(["-c", "import tensorflow"])}, {}
        for runtime in ("tensorflow", "onnx"):
            here = [*command, *compress, "--runtime", runtime], [*command, *decompress, "--runtime", runtime]
            outs = "--out", folders[1], "--out", folders[2]
            single[f"compress --runtime {runtime}"] = functools.partial(run, [*here[0], args.image, packed])
            single[f"decompress --runtime {runtime}"] = functools.partial(run, [*here[1], packed, unpacked])
            several[f"compress --runtime {runtime}, folder"] = functools.partial(run, [*here[0], folders[0], *outs[:2]])
            several[f"decompress --runtime {runtime}, folder"] = functools.partial(
                run, [*here[1], folders[1], *outs[2:]]
            )
        seconds = take_turns(single, 2 if args.quick else 7, progress, warm_up=1)
        return {**seconds, **take_turns(several, 1 if args.quick else 3, progress, warm_up=0)}


def run(arguments):
    subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": ROOT},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def mirror(pixels, height, width):
    """A large picture without edges that a small one does not have."""
    tile = np.concatenate([pixels, pixels[::-1]])
    tile = np.concatenate([tile, tile[:, ::-1]], 1)
    repeats = -(-height // tile.shape[0]), -(-width // tile.shape[1]), 1
    return np.ascontiguousarray(np.tile(tile, repeats)[:height, :width])


def report(measured):
    """All tables, Markdown."""
    from rounds import quartiles

    seconds, lines = measured["seconds"], []
    cores = measured["background_cores"]
    lines.append(f"`{measured['model']}` on {measured['machine']}; one run, in turns, medians with their quartiles.")
    if cores is not None:
        part = cores / os.cpu_count()
        lines[-1] += f" Others used {part:.0%} of the processor."
        if part > NOTABLE_LOAD:
            lines[-1] += " **That disturbs the figures.**"
    products = {
        direction: sum(v for k, v in measured["products"].items() if k.startswith(direction))
        for direction in ("encode", "decode")
    }
    sizes = [("small", "768×512", 1e3, "ms")]
    if seconds["large"]:
        sizes.append(("large", "12 megapixels", 1, "s"))
    for size, title, unit, unit_name in sizes:
        times = {name: quartiles(values) for name, values in seconds[size].items()}
        scale = measured["area"][size] / measured["area"]["small"]
        rates = {d: 2 * MATRIX**3 / times[f"product|{d}"][1] for d in ("float32", "bfloat16")}
        names = [name.partition("|")[2] for name in times if name.startswith("encode|")]
        header = f"| {title} | bpp | PSNR (dB) | encode ({unit_name}) | decode ({unit_name}) |"
        header += " × reference (both) | × float32 limit (both) |"
        lines += ["", header, "|---|---|---|---|---|---|---|"]

        reference = [times[f"{d}|reference (tfc's example)"][1] for d in products]
        limit = [2 * products[d] * scale / rates["float32"] for d in products]
        for name in names:
            found = [times[f"{d}|{name}"] for d in products]
            cells = ["", ""]
            if size == "small" and name in measured["files"]:
                length, psnr = measured["files"][name]
                cells = [f"{8 * length / measured['area']['small']:.3f}", f"{psnr:.2f}"]
            cells += [spread(values, unit) for values in found]
            both = [
                ", ".join(f"{values[1] / other:.2f}" for values, other in zip(found, others))
                for others in (reference, limit)
            ]
            if "Pillow" in name or "CompressAI" in name:
                both[1] = ""
            lines.append("| " + " | ".join([name, *cells, *both]) + " |")
        for dtype, rate in rates.items():
            cells = [f"{2 * products[d] * scale / rate * unit:.3g}" for d in products]
            ideal = [2 * products[d] * scale / rate for d in products]
            both = [
                ", ".join(f"{value / other:.2f}" for value, other in zip(ideal, others))
                for others in (reference, limit)
            ]
            name = f"limit, {dtype} at {rate / 1e9:.0f} GFLOP/s"
            lines.append("| " + " | ".join([name, "", "", *cells, *both]) + " |")
    if seconds["large"]:
        lines += ["", "Time per pixel at 12 megapixels against 768×512: " + "; ".join(per_pixel(measured)) + "."]
    lines += ["", *bars_table(measured), "", *steps_table(measured), "", *commands_table(measured)]
    return "\n".join(lines)


def bars_table(measured):
    """What the project asks of itself, as ratios of medians of this run."""
    seconds = measured["seconds"]

    def ratio(direction, size, name, other):
        """Against another contestant, or against the limit of the transform's products."""
        times = seconds[size]
        if other == "limit":
            scale = measured["area"][size] / measured["area"]["small"]
            rate = 2 * MATRIX**3 / np.median(times["product|float32"])
            products = sum(v for k, v in measured["products"].items() if k.startswith(direction))
            return np.median(times[f"{direction}|{name}"]) * rate / (2 * products * scale)
        return np.median(times[f"{direction}|{name}"]) / np.median(times[f"{direction}|{other}"])

    asked = [
        ("768×512 against the float32 limit", "small", "balle2017", "limit", 1.35, 1.45),
        ("768×512, stock runtime against the tfc pair", "small", "balle2017, stock runtime", "balle2017", 1.7, 2),
        ("12 megapixels against the reference", "large", "balle2017", "reference (tfc's example)", 0.85, 0.85),
        ("12 megapixels against the float32 limit", "large", "balle2017", "limit", 1.3, 1.3),
    ]
    lines = ["| | encode | at most | decode | at most |", "|---|---|---|---|---|"]
    for title, size, name, other, *bars in asked:
        if seconds[size]:
            both = [f"{ratio(direction, size, name, other):.2f}" for direction in ("encode", "decode")]
            lines.append(f"| {title} | {both[0]} | {bars[0]} | {both[1]} | {bars[1]} |")
    png = np.median(seconds["steps"]["decode|PNG encoding|float32"]) * 1e3
    return [*lines, f"| 768×512, writing the PNG file (ms) | | | {png:.1f} | 12 |"]


def spread(values, unit):
    low, middle, high = values * unit
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 2
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def per_pixel(measured):
    """One phrase for each of this package's contestants; the page is timed with the small picture alone."""
    areas = measured["area"]
    for name in [n.partition("|")[2] for n in measured["seconds"]["large"] if n.startswith("encode|b")]:
        ratios = [
            np.median(measured["seconds"]["large"][f"{d}|{name}"])
            / areas["large"]
            / (np.median(measured["seconds"]["small"][f"{d}|{name}"]) / areas["small"])
            for d in ("encode", "decode")
        ]
        yield f"{name} {ratios[0]:.2f} (encode), {ratios[1]:.2f} (decode)"


def steps_table(measured):
    from rounds import quartiles

    times = {name: quartiles(v) for name, v in measured["seconds"]["steps"].items()}
    lines = ["| step at 768×512 | float32 (ms) | GFLOP/s | bfloat16 (ms) |", "|---|---|---|---|"]
    for step, products in measured["products"].items():
        direction, _, name = step.partition("|")
        exact, rounded = (times[f"{step}|{dtype}"] for dtype in ("float32", "bfloat16"))
        rate = f"{2 * products / exact[1] / 1e9:.0f}" if products else ""
        other = spread(rounded, 1e3) if products else ""
        lines.append(f"| {direction}: {name} | {spread(exact, 1e3)} | {rate} | {other} |")
    return lines


def commands_table(measured):
    from rounds import quartiles

    times = {name: quartiles(v) for name, v in measured["seconds"]["commands"].items()}
    base = times["import tensorflow"][1]
    lines = ["| whole command | s | × importing TensorFlow | images/s |", "|---|---|---|---|"]
    for name, values in times.items():
        folder = name.endswith("folder")
        count = measured["folder_images"]
        title = {"import tensorflow": '`python -c "import tensorflow"`'}.get(name, f"`balle2017 {name}`")
        if folder:
            title = f"`balle2017 {name.partition(',')[0]}`, a folder of {count} pictures of 768×512"
        speed = f"{count / values[1]:.1f}" if folder else ""
        ratio = "" if folder else f"{values[1] / base:.2f}"
        lines.append(f"| {title} | {spread(values, 1)} | {ratio} | {speed} |")
    return lines


if __name__ == "__main__":
    main()
