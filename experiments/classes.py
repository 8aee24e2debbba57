"""What competing coding tables save: bits against the number of classes, on photographs that are held out.

    python experiments/classes.py --data FOLDER

For some rate points, tables of 1, 2, 4, … classes are made from the latents of the training photographs, as
`python -m balle2017.train` makes them, and code those of the photographs that training holds out. Writes
`classes.md` and its curves to `docs/experiments/`. Takes some minutes for each rate point on 2 cores.
"""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags
import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from balle2017 import codec
from balle2017.entropy import competition
from balle2017.entropy.coder import Coder
from balle2017.entropy.tables import CodingTables, table_bits
from balle2017.files.writing import write_text
from balle2017.model.network import STRIDE
from balle2017.saved_model import reading
from balle2017.training import photographs
from balle2017.training.photographs import whole_blocks
import kodak

FLAGS = flags.FLAGS
CLASSES = (1, 2, 4, 8, 16, CodingTables.MAX_CLASSES)


def latents_of(model, photographs):
    """Rounded latents `[h, w, num_latents]` of whole photographs, cut to whole blocks."""
    result = []
    for _, pixels in tqdm(photographs, desc=model.name, leave=False, disable=None):
        result.append(np.concatenate(list(model.analyze(whole_blocks(pixels)))).astype(np.int16))
    return result


def bits_per_pixel(tables, images):
    """Rate of latents under coding tables, a slice for each image: of all that is coded, and of the classes."""
    coder, bits, class_bits, positions = Coder(tables), 0.0, 0.0, 0
    for latents in images:
        flat = latents.reshape(-1, latents.shape[-1]).astype(np.int32)
        classes, own = coder.choose_classes(flat, np.int32([len(flat)]))
        bits += table_bits(tables, flat, classes.numpy())
        class_bits += float(np.sum(own))
        positions += len(flat)
    return bits / (positions * STRIDE**2), class_bits / (positions * STRIDE**2)


def main(argv):
    del argv
    images = photographs.load_images(photographs.find_files([FLAGS.data]), 3, STRIDE)
    training, held_out = photographs.hold_out(images, FLAGS.validation_fraction)
    names = FLAGS.models or [info["name"] for info in codec.list_models() if info["channels"] == 3][1::2]
    lines = [
        f"Bits per pixel of {len(held_out)} photographs that are held out, and of that the classes themselves;"
        f" tables made from {len(training)} photographs.",
        "",
        "| classes | " + " | ".join(f"`{name}` | saved | classes" for name in names) + " |",
        "|---" * (1 + 3 * len(names)) + "|",
    ]
    columns = []
    for name in names:
        model = codec.load(name)
        single = competition.merged_tables(reading.load_rate_point(str(model.folder)).tables)
        images, tested = latents_of(model, training), latents_of(model, held_out)
        columns.append([bits_per_pixel(competition.competing_tables(single, images, k), tested) for k in CLASSES])
        print(name, [f"{bpp:.4f}" for bpp, _ in columns[-1]], flush=True)
    for row, k in enumerate(CLASSES):
        cells = []
        for column in columns:
            bpp, own = column[row]
            cells.append(f"{bpp:.4f} | {1 - bpp / column[0][0]:.1%} | {own:.4f}")
        lines.append(f"| {k} | " + " | ".join(cells) + " |")
    out = pathlib.Path(FLAGS.out)
    figure, axis = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for name, column in zip(names, columns):
        saved = [100 * (1 - bpp / column[0][0]) for bpp, _ in column]
        axis.plot(CLASSES, saved, marker="o", label=name)
    axis.set_xscale("log", base=2)
    axis.set_xticks(CLASSES, [str(k) for k in CLASSES])
    axis.set(xlabel="sets of coding tables that compete", ylabel="bits saved, % (held-out photographs)")
    axis.grid(color="#e6e6e6")
    axis.legend(fontsize=9, frameon=False)
    kodak.save(figure, out)
    text = ["# Competing coding tables", "", *lines, "", f"![Bits saved against classes]({out.name})", ""]
    write_text(out.with_suffix(".md"), "\n".join(text))
    print("\n".join(lines))


if __name__ == "__main__":
    flags.DEFINE_string("data", str(kodak.ROOT.parent / "shared/images/train"), "Folder of training photographs.")
    flags.DEFINE_float("validation_fraction", 0.05, "Part of them that training holds out.", 0, 0.9)
    flags.DEFINE_list("models", [], "Rate points; by default every second one that ships.")
    flags.DEFINE_string("out", str(kodak.ROOT / "docs/experiments/classes.png"), "The picture; the table beside it.")
    app.run(main)
