"""The models that are installed: where they are, which there are, and each loaded once."""

import difflib
import functools
import os
import pathlib
import threading

from balle2017.codec.model import Model
from balle2017.codec.model_info import FamilyError, ModelError, read_info
from balle2017.saved_model.folder import read_versions

DEFAULT_MODEL = "bls2017-mse-4"
MODELS_VARIABLE = "BALLE2017_MODELS"
# Held while one is made: threads that ask for the same model at the same time share it.
_loading = threading.Lock()


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


def list_models(path=None) -> list[dict]:
    """What `model.json` says of each installed model, by family and ascending λ; unusable ones are left out.

    `versions` are the numbers of its decoders, of which the last makes files.
    """
    return scan_models(path)[0]


def scan_models(path=None) -> tuple[list[dict], list[ModelError]]:
    """As `list_models`, and what is wrong with the folders that it leaves out."""
    found, problems = [], []
    for file in sorted(models_dir(path).glob("*/model.json")):
        try:
            found.append(_read_named(file.parent))
        except ModelError as error:
            problems.append(error)
    return sorted(found, key=lambda info: (_family(info["name"]), info["lambda"])), problems


def example_model(path=None, preferred=DEFAULT_MODEL) -> str:
    """The name of an installed model, to be named in a sentence."""
    names = [info["name"] for info in list_models(path)]
    return preferred if preferred in names or not names else names[0]


def load(name, path=None, arithmetic="float32", runtime="auto") -> Model:
    """The model of a name, or in a folder, loaded once.

    Args:
      name: For example `bls2017-mse-4`, or the path of an exported model.
      path: Folder of models, see `models_dir`.
      arithmetic: "float32", or "bfloat16", which is faster on processors that multiply it.
      runtime: "onnx" (without TensorFlow), "tensorflow", or "auto", the quickest to start of those
        that are installed. Both read and write the same files.

    Raises:
      ModelError: If there is none, or nothing that runs it.
    """
    name = os.fspath(name)
    if os.path.basename(name) != name:
        return _load(name, arithmetic, runtime)
    folder = models_dir(path) / name
    if not (folder / "model.json").is_file():
        raise _no_model(name, path)
    _read_named(folder)
    return _load(folder, arithmetic, runtime)


def load_family(name, path=None, arithmetic="float32", runtime="auto") -> list[Model]:
    """All models of a family such as `bls2017-mse`, by ascending λ.

    Raises:
      ModelError: If there is none.
    """
    names = [info["name"] for info in list_models(path)]
    members = [member for member in names if _family(member) == name]
    if members:
        return [load(member, path, arithmetic, runtime) for member in members]
    if name in names:
        raise ModelError(f"{name} is one model; a rate is for its family: {_family(name)}.")
    families = sorted({_family(member) for member in names})
    raise ModelError(f"There is no family of models {name} in {models_dir(path)}{_known(name, families)}.")


def check_runtime(path=None, arithmetic="float32", runtime="auto"):
    """Checks that some installed model can be run so; arguments are those of `load`.

    Raises:
      ModelError: If there are models, and none can.
    """
    refused = None
    for info in list_models(path):
        try:
            load(info["name"], path, arithmetic, runtime)
            return
        except ModelError as error:
            refused = refused or error
    if refused:
        raise refused


def _load(folder, arithmetic, runtime):
    folder = os.path.abspath(folder)
    try:
        # A model that is exported again is another one.
        stamp = os.stat(os.path.join(folder, "model.json")).st_mtime_ns
    except OSError:
        stamp = None
    with _loading:
        return _load_once(folder, arithmetic, runtime, stamp)


@functools.lru_cache(maxsize=16)
def _load_once(folder, arithmetic, runtime, _):
    return Model(folder, arithmetic, runtime)


def _read_named(folder):
    """`read_info` of a folder that must have the model's name, by which files find it, and its `versions`."""
    info = read_info(folder)
    info["versions"] = sorted({*read_versions(folder), info.get("version", 1)})
    if info["name"] != folder.name:
        raise ModelError(f"The folder {folder} holds the model {info['name']}: give it that name.")
    return info


def _no_model(name, path):
    infos, problems = scan_models(path)
    for problem in problems:
        # Its folder has another name, perhaps.
        if f" {name}: " in str(problem):
            return problem
    names = [info["name"] for info in infos]
    members = [member for member in names if _family(member) == name]
    if members:
        return FamilyError(f"{name} is a family: name one of {', '.join(members)}.")
    return ModelError(f"There is no model {name} in {models_dir(path)}{_known(name, names)}.")


def _known(name, names):
    if not names:
        return "; none is installed"
    near = difflib.get_close_matches(name, names, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"{hint}; installed are {', '.join(names)}"


def _family(name):
    return name.rpartition("-")[0]
