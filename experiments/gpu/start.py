"""What a training starts from: an exported rate point, as the package prepares it, or a point of another training here.

Nothing here needs TensorFlow: an export says in `arrays.json` where its weights are.
"""

import json
import math
import os
import zipfile

import numpy as np
import torch

from arithmetic import DEVICE
from balle2017.model.network import ARITHMETIC_VERSION, STAGES
from balle2017.model.weights import Transform
from balle2017.saved_model import stored_arrays
import prior
from transforms import analysis_operations, analyze, synthesis_operations

NUM_CLASSES = 16


class StartError(ValueError):
    """Nothing that a training can start from; the message is one sentence."""


def load(path, crops):
    """Reads a starting point.

    Args:
      path: Folder of an exported rate point, or a file `NAME.npz` that `train.py` wrote.
      crops: Typical crops, uint8 `[n, side, side, 3]`, by which an exported point is conditioned, and its prior fitted
        anew where classes of it have died.

    Returns:
      `(arrays, runs)`: what `point.Point` takes, `lmbda` and `distortion` among it, and the runs that made it, as
      `model.json` lists them.

    Raises:
      StartError: If there is none, or it is another network.
    """
    try:
        if path.endswith(".npz"):
            with np.load(path) as file, open(path[: -len("npz")] + "json", encoding="utf-8") as text:
                info = json.load(text)
                return {**file, "distortion": info["distortion"]}, info["runs"]
        return _of_export(path, crops.float())
    except StartError:
        raise
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise StartError(f"{path} is no rate point that was exported or trained here ({error})") from None


def rescaled(arrays, lmbda):
    """A point for another λ: the optimal step of a uniform quantizer falls with the root of λ."""
    arrays = {name: value if name == "distortion" else np.array(value, np.float32) for name, value in arrays.items()}
    finer = math.sqrt(lmbda / float(arrays["lmbda"]))
    arrays["analysis/kernels/2"] *= finer
    arrays["analysis/biases/2"] *= finer
    arrays["synthesis/kernels/0"] /= finer
    for name in ("analysis/gammas/2", "synthesis/gammas/0"):
        arrays[name] /= finer**2
    arrays["prior/loc"] *= finer
    arrays["prior/log_scale"] += math.log(finer)
    return {**arrays, "power": arrays["power"] * finer**2, "lmbda": lmbda}


@torch.no_grad()
def _of_export(folder, crops):
    with open(os.path.join(folder, "model.json"), encoding="utf-8") as file:
        info = json.load(file)
    if info.get("transforms", 1) != ARITHMETIC_VERSION:
        raise StartError(
            f"{folder} has weights of other transforms than this balle2017's: take the one that exported it"
        )
    version = str(info.get("version", 1))
    weights = {}
    for half, name in stored_arrays.TRANSFORMS.items():
        arrays = stored_arrays.read(os.path.join(folder, half, version))
        weights[name] = stored_arrays.transform_of(arrays, name).map(
            lambda a: torch.tensor(np.float32(a), device=DEVICE)
        )
    if (info["channels"], info["gdn_alpha"], info["gdn_epsilon"]) != (3, 2, 0.5):
        raise StartError(f"{folder} is for gray pictures or has another GDN than the paper's: name another one")
    if len(weights["analysis"].betas) < len(STAGES):
        raise StartError(f"{folder} has no GDN at the latents: train it on with the package and --num_gdns=3 first")
    analysis = _conditioned(weights["analysis"], analysis_operations, crops, inverse=False)
    rounded = torch.round(analyze(crops, analysis))
    synthesis = _conditioned(weights["synthesis"], synthesis_operations, rounded, inverse=True)
    before_gdn = crops
    for operation in list(analysis_operations(analysis))[:-1]:
        before_gdn = operation(before_gdn)
    arrays = {"power": max(1.0, float(before_gdn.square().sum(-1).mean()))}
    arrays.update({"lmbda": info["lambda"], "distortion": info.get("distortion", "mse")})
    for name, transform in (("analysis", analysis), ("synthesis", synthesis)):
        for field, values in vars(transform).items():
            arrays.update({f"{name}/{field}/{i}": value.cpu().numpy() for i, value in enumerate(values)})
    with np.load(os.path.join(folder, "prior.npz")) as file:
        trained = dict(file)
    share = trained.get("share", np.zeros(1))
    if len(share) == NUM_CLASSES and "pairs" in trained and share.min() > prior.ALIVE / NUM_CLASSES:
        arrays.update({f"prior/{name}": value for name, value in trained.items()})
    else:
        names = ("loc", "log_scale", "share", "pairs")
        fitted = prior.fitted(rounded, NUM_CLASSES)
        arrays.update({f"prior/{name}": value.cpu().numpy() for name, value in zip(names, fitted)})
    return arrays, info.get("runs", [])


def _conditioned(weights, operations_of, x, inverse):
    """`balle2017.training.conditioning.conditioned` of one transform: the same function in better units.

    The inputs of each inner GDN get the power 1, and its pools the mean 1; the next kernel takes the factors back.
    """
    kernels, biases, betas, gammas = ([value.clone() for value in part] for part in vars(weights).values())
    operations = list(operations_of(weights))
    # The units of the GDN at the latents are the quantizer's, and stay: an IGDN there comes first, a GDN there last.
    first = 1 if inverse else 0
    for operation in operations[:first]:
        x = operation(x)
    out, into = (-2, -1) if inverse else (-1, -2)
    for k, i in enumerate(range(first, first + len(STAGES) - 1)):
        x = operations[first + 2 * k](x)
        values = x.reshape(-1, x.shape[-1])
        s = _rms(values).reciprocal()
        x = operations[first + 2 * k + 1](x)
        powers = (values * s).square()
        gamma = gammas[i] / s.square()[:, None]
        mean = (betas[i] + powers @ gamma).mean(0)
        betas[i], gammas[i] = betas[i] / mean, gamma / mean
        pool = torch.sqrt(betas[i] + powers @ gammas[i])
        scaled = values * s * pool if inverse else values * s / pool
        back = _rms(x.reshape(values.shape)) / _rms(scaled)
        kernels[k] = kernels[k] * _on_axis(s, out)
        biases[k] = biases[k] * s
        kernels[k + 1] = kernels[k + 1] * _on_axis(back, into)
    return Transform(kernels, biases, betas, gammas)


def _rms(values):
    """Root mean square of each column; a filter that is always 0 counts as very small."""
    return values.double().square().mean(0).clamp(min=1e-12).sqrt().float()


def _on_axis(factors, axis):
    """Shapes factors of filters for a kernel `[k, k, rows, columns]`: −2 for its rows, −1 for its columns."""
    return factors[:, None] if axis == -2 else factors
