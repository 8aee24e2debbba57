"""Makes rate points of what `train.py` wrote: the package makes their coding tables, and exports them.

    .venv/bin/python experiments/gpu/export.py runs/gpu/bls2017-mse-4.npz --images FOLDER --out runs/models

It needs what `python -m balle2017.train` needs, and no PyTorch.
"""

import argparse
import dataclasses
import functools
import json
import os

# 3 silences what TensorFlow says about GPUs that are not there.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from balle2017.commands import ending, extras

PROGRAM = "experiments/gpu/export.py"
complain = functools.partial(ending.complain, program=PROGRAM)
with extras.needed("train", PROGRAM):
    import numpy as np

    from balle2017.model.prior import set_prior_parameters
    from balle2017.saved_model import stored_arrays, writing
    from balle2017.training import loop
    from balle2017.training.photographs import DataError
    from balle2017.training.settings import Settings, SettingsError


def main(argv=None):
    """The command; returns the exit status."""
    args = _parser().parse_args(argv)
    photographs = None
    try:
        for path in args.points:
            name = os.path.basename(path).removesuffix(".npz")
            directory = os.path.join(args.out, name)
            if os.path.lexists(directory):
                return complain(f"{directory} exists already: move it away, or name another --out", 2)
            arrays, info = _read(path)
            settings = _settings(name, arrays, info, args.images)
            if photographs is None:
                photographs, _ = loop.load_photographs(settings)
            model = _model(settings, arrays)
            if args.num_classes:
                settings = dataclasses.replace(settings, num_classes=args.num_classes)
            rate_point = loop.rate_point_of(model, settings, photographs, info)
            writing.export(rate_point, directory)
            print(directory, flush=True)
    except (OSError, ValueError, DataError) as error:
        return complain(error, 1)
    return 0


def _read(path):
    """The arrays of a file `NAME.npz`, and what `NAME.json` says of them."""
    try:
        with np.load(path) as file, open(path.removesuffix("npz") + "json", encoding="utf-8") as text:
            return dict(file), json.load(text)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} is nothing that train.py wrote ({error})") from None


def _settings(name, arrays, info, images):
    *_, filters, latents = arrays["analysis/kernels/2"].shape
    return Settings(
        name=name,
        lmbda=float(arrays["lmbda"]),
        distortion=info["distortion"],
        relaxation="mixed",
        num_filters=filters,
        num_latents=latents,
        num_classes=len(arrays["prior/share"]),
        slice_length=int(arrays["slice_length"]),
        patch_size=256,
        data=(images,),
    )


def _model(settings, arrays):
    """The package's model with these weights."""
    model = loop.model_of(settings, "float32")
    for half in ("analysis", "synthesis"):
        weights = stored_arrays.transform_of(arrays, half).map(np.float32)
        getattr(model, half).set_plain_weights(weights)
    set_prior_parameters(
        model.prior, {name: arrays[f"prior/{name}"] for name in ("loc", "log_scale", "share", "pairs")}
    )
    return model


def _parser():
    parser = argparse.ArgumentParser(
        prog=f"python {PROGRAM}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("points", nargs="+", metavar="POINT", help="files NAME.npz of train.py")
    parser.add_argument("--images", required=True, metavar="FOLDER", help="the photographs that were trained on")
    parser.add_argument(
        "--num_classes",
        type=int,
        metavar="K",
        help="sets of coding tables that compete (default: as many as densities)",
    )
    parser.add_argument("--out", default="runs/models", help="where rate points are exported (default: %(default)s)")
    return parser


if __name__ == "__main__":
    ending.run(main, PROGRAM)
