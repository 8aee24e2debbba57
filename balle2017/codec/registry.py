"""The models that are installed: where they are, which there are, and each loaded once."""

import functools
import os
import pathlib
from typing import List

from balle2017.codec.model import Model
from balle2017.codec.model_info import ModelError, read_info

MODELS_VARIABLE = "BALLE2017_MODELS"


def models_dir(path=None) -> pathlib.Path:
    """The folder of models: `path`, or `$BALLE2017_MODELS`, or what ships with the package."""
    path = path or os.environ.get(MODELS_VARIABLE)
    if path:
        if not os.path.isdir(path):
            raise ModelError(f"There is no folder of models at {path}.")
        return pathlib.Path(path)
    package = pathlib.Path(__file__).resolve().parents[1]
    installed, checkout = package / "saved_models", package.parent / "saved_models"
    return installed if installed.is_dir() else checkout


def list_models(path=None) -> List[dict]:
    """What `model.json` says of each installed model, by family and ascending λ."""
    found = []
    for file in sorted(models_dir(path).glob("*/model.json")):
        found.append(read_info(file.parent))
    return sorted(found, key=lambda info: (info["name"].rpartition("-")[0], info["lambda"]))


@functools.lru_cache(maxsize=16)
def load(name, path=None, arithmetic="float32") -> Model:
    """The model of a name, or in a folder, loaded once.

    Args:
      name: For example `bls2017-mse-4`, or the path of an exported model.
      path: Folder of models, see `models_dir`.
      arithmetic: "float32", or "bfloat16", which is faster on processors that multiply it.

    Raises:
      ModelError: If there is none.
    """
    if os.path.basename(name) != name:
        return Model(name, arithmetic)
    folder = models_dir(path) / name
    if not (folder / "model.json").is_file():
        names = [info["name"] for info in list_models(path)]
        known = f"installed are {', '.join(names)}" if names else "none is installed"
        raise ModelError(f"There is no model {name} in {folder.parent}; {known}.")
    return Model(folder, arithmetic)


def load_family(name, path=None, arithmetic="float32") -> List[Model]:
    """All models of a family such as `bls2017-mse`, by ascending λ.

    Raises:
      ModelError: If there is none.
    """
    infos = list_models(path)
    members = [i["name"] for i in infos if i["name"].rpartition("-")[0] == name]
    if not members:
        families = sorted({info["name"].rpartition("-")[0] for info in infos})
        known = f"installed are {', '.join(families)}" if families else "none is installed"
        raise ModelError(f"There is no family of models {name} in {models_dir(path)}; {known}.")
    return [load(member, path, arithmetic) for member in members]
