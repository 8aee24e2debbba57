"""Trains all rate points of a family side by side on one GPU, in minutes, with PyTorch in place of TensorFlow:

    python experiments/gpu/train.py --distortion mse --images FOLDER --init_from LOW --init_from HIGH --out runs/gpu

It needs the packages torch, numpy and pillow. First come bases of two neighbouring λ each, at a constant learning rate;
then the points, each from its base, at a rate that falls to 0. `plan.json` has the settings. `export.py` makes rate
points of what it writes, OUT/NAME.npz (plain arrays) and OUT/NAME.json (what made them).
"""

import argparse
import datetime
import functools
import json
import math
import os

from balle2017.commands import ending
from balle2017.files import writing

try:
    import numpy as np
    import torch

    import photographs
    import point
    import side_by_side
    import start

    missing = None
except ModuleNotFoundError as error:
    # Said after the arguments, so that --help needs none of it.
    missing = error.name

PROGRAM = "experiments/gpu/train.py"
complain = functools.partial(ending.complain, program=PROGRAM)
say = functools.partial(print, flush=True)


def main(argv=None):
    """The command; returns the exit status."""
    args = _parser().parse_args(argv)
    if missing:
        return complain(f"this needs the package {missing}: pip install torch numpy pillow", 2)
    with open(args.plan, encoding="utf-8") as file:
        plan = json.load(file)
    plan.update(plan[args.distortion], distortion=args.distortion, folder=args.images)
    plan["seconds"] = args.seconds or plan["seconds"]
    lmbdas, factors = plan["lmbdas"], plan["factors"]
    names = [f"{plan['family']}-{k + 1}" for k in range(len(lmbdas))]
    pairs = range(0, len(names), 2)
    if len(pairs) % len(args.init_from):
        return complain(f"{len(pairs)} bases are not an equal number of each of the points in --init_from", 2)
    for name in names:
        if os.path.lexists(os.path.join(args.out, f"{name}.npz")):
            return complain(f"{args.out} holds {name}.npz already: name another folder with --out", 2)

    torch.backends.cudnn.benchmark = torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(args.seed)
    try:
        training, held_out = photographs.load(args.images)
        say(f"{len(training)} photographs to train on, {len(held_out)} held out, on {_device()}")
        source, held_out = photographs.CropSource(training), photographs.held_out_crops(held_out)
        crops = source.crops(256, photographs.LEAST)
        starts = [(path, *start.load(path, crops)) for path in args.init_from]
    except (photographs.DataError, start.StartError) as error:
        return complain(error, 1)

    # The start of each base.
    starts = [starts[i * len(starts) // len(pairs)] for i in range(len(pairs))]

    bases = []
    for k, (_, arrays, _) in zip(pairs, starts):
        lmbda = math.sqrt(lmbdas[k] * lmbdas[k + 1])
        # λ of another distortion is of other units: the quantizer stays as it is.
        arrays = start.rescaled(arrays, lmbda) if arrays["distortion"] == args.distortion else arrays
        bases.append(point.Point(f"{plan['family']}-{k + 1}-{k + 2}", lmbda, args.distortion, arrays, factors[k]))
    of_bases = stage(bases, source, held_out, plan, "bases", len(training))
    points = []
    for k, (name, lmbda) in enumerate(zip(names, lmbdas)):
        arrays = start.rescaled(bases[k // 2].arrays(), lmbda)
        points.append(point.Point(name, lmbda, args.distortion, arrays, factors[k]))
    of_points = stage(points, source, held_out, plan, "points", len(training))

    os.makedirs(args.out, exist_ok=True)
    for k, one in enumerate(points):
        figures = one.evaluate(held_out)
        if not math.isfinite(figures[0]):
            return complain(f"the loss of {one.name} is not finite: lower learning_rate in {args.plan}", 1)
        path, _, ancestors = starts[k // 2]
        base = bases[k // 2]
        of_start = os.path.basename(os.path.normpath(path)).removesuffix(".npz")
        runs = [*ancestors, _run(base, of_bases, of_start), _run(one, of_points, base.name)]
        save(one, figures, runs, plan["slice_lengths"][k], os.path.join(args.out, one.name))
    return 0


def stage(points, source, held_out, plan, kind, num_images):
    """Trains points side by side for their part of the time.

    Args:
      points: List of `point.Point`.
      source: `photographs.CropSource`.
      held_out: uint8 `[n, 256, 256, 3]`.
      plan: The settings.
      kind: `bases` or `points`.
      num_images: How many photographs are trained on.

    Returns:
      What `model.json` says of such a run, but for what is each point's own.
    """

    def report(seconds, steps, rate):
        say(f"{seconds:.0f} s, {steps} steps, learning rate {rate:.5f}")
        for one in points:
            loss, bpp, distortion = one.evaluate(held_out)
            say(f"  {one.name}, λ {one.lmbda:.5g}: loss {loss:.4f}, {bpp:.4f} bpp, distortion {distortion:.4f}")

    report(0, 0, 0)
    settings = {**plan, **plan[kind]}
    seconds = plan["seconds"] * settings["part"]
    steps, pixels = side_by_side.train(points, source, seconds, settings, report)
    report(seconds, steps, 0)
    return {
        "gigapixels": round(pixels / 1e9, 3),
        "hours": round(seconds / 3600, 3),
        "training_images": num_images,
        "date": datetime.date.today().isoformat(),
        "settings": {
            "program": PROGRAM,
            "device": _device(),
            "distortion": plan["distortion"],
            "relaxation": "mixed",
            "prior": "competing",
            "num_gdns": 3,
            "optimizer": "soap",
            "steps": steps,
            "fine_tune_steps": 0,
            "learning_rate": settings["learning_rate"],
            "falls_from": settings["falls_from"],
            "phases": settings["phases"],
            "data": [os.path.basename(os.path.normpath(plan["folder"]))],
        },
    }


def save(one, figures, runs, slice_length, path):
    """Writes PATH.npz and PATH.json of a `point.Point`, its figures `[loss, bpp, distortion]` and its runs."""
    info = {
        "distortion": one.distortion,
        "date": runs[-1]["date"],
        "validation": {name: round(value, 6) for name, value in zip(("loss", "bpp", "distortion"), figures)},
        "gigapixels": round(sum(run.get("gigapixels") or 0 for run in runs), 3),
        "hours": round(sum(run.get("hours") or 0 for run in runs), 2),
        "runs": runs,
    }
    writing.write_text(f"{path}.json", json.dumps(info, indent=2) + "\n")
    with writing.replacing(f"{path}.npz") as file:
        np.savez_compressed(file, slice_length=slice_length, **one.arrays())
    say(f"{path}.npz")


def _run(one, of_stage, init_from):
    settings = {**of_stage["settings"], "init_from": init_from}
    settings["learning_rate"] *= one.factor
    return {**of_stage, "name": one.name, "lambda": one.lmbda, "settings": settings}


def _device():
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def _parser():
    parser = argparse.ArgumentParser(
        prog=f"python {PROGRAM}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--distortion", choices=("mse", "ms_ssim"), default="mse", help="what λ weighs (default: %(default)s)"
    )
    parser.add_argument("--images", required=True, metavar="FOLDER", help="training photographs, searched recursively")
    parser.add_argument(
        "--init_from", required=True, action="append", metavar="POINT",
        help="an exported rate point, or a file NAME.npz of this program; repeated, from the lowest rate on, each for"
        " an equal number of bases",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, help="training time on the GPU (default: what the plan says)")
    parser.add_argument("--out", default="runs/gpu", metavar="FOLDER", help="where results go (default: %(default)s)")
    parser.add_argument(
        "--plan", default=os.path.join(os.path.dirname(__file__), "plan.json"),
        help="the settings (default: plan.json beside this program)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="of crops and noise (default: %(default)s)")
    return parser


if __name__ == "__main__":
    ending.run(main, PROGRAM)
