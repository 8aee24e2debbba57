"""What the page consists of: its own files, an index of the installed models, and their weights."""

import json
import os
import pathlib
import shutil
import zlib

from balle2017 import codec
from balle2017.files import writing
from balle2017.saved_model import stored_arrays
from balle2017.saved_model.stored_arrays import GRAPHS

STATIC = pathlib.Path(__file__).parent / "static"
INDEX = "models.json"
_EXAMPLE = pathlib.Path(__file__).parents[1] / "examples" / "seeding_by_clements_engelhardt.jpg"
_KEYS = ("name", "lambda", "distortion", "channels", "slice_length", "kodak")


class Site:
    """The files of the page.

    Args:
      models_dir: Folder of models, see `codec.models_dir`.

    Attributes:
      files: Paths of files by path in the site, with slashes.
      index: The contents of `models.json`: what the page has to know of the models.

    Raises:
      codec.ModelError: If there are no models that a page can load.
    """

    def __init__(self, models_dir=None):
        self.files = {path.name: path for path in sorted(STATIC.iterdir()) if path.suffix != ".sha256"}
        self.files["example.jpg"] = _EXAMPLE
        folder = codec.models_dir(models_dir)
        models = [self._add_model(folder / info["name"], info) for info in codec.list_models(models_dir)]
        self.index = {"models": [model for model in models if model]}
        if not self.index["models"]:
            raise codec.ModelError(
                f"No models with plain weights are in {folder}; python -m balle2017.export writes them."
            )

    def contents(self, path):
        """The bytes of a file of the site, or `None` if there is no such file."""
        if path == INDEX:
            return json.dumps(self.index).encode("utf-8")
        return self.files[path].read_bytes() if path in self.files else None

    def write(self, directory):
        """Writes the site for any host of static files, whole or not at all.

        Raises:
          FileExistsError: If there is something in the folder already.
          OSError: If it cannot be written.
        """
        directory = pathlib.Path(directory)
        if directory.is_dir() and any(directory.iterdir()):
            raise FileExistsError(None, f"{directory} is not empty")
        with writing.folder(directory):
            try:
                for path, source in self.files.items():
                    target = directory / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, target)
                (directory / INDEX).write_bytes(self.contents(INDEX))
            except BaseException:
                for path in directory.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                raise

    def _add_model(self, folder, info):
        """Describes a model; `None` if it was exported without plain weights, or is damaged."""
        try:
            return self._described(folder, info)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _described(self, folder, info):
        encoders, decoders = (self._add_half(folder, half) for half in GRAPHS)
        if not encoders or not decoders:
            return None
        for decoder in decoders:
            # Each decoder says itself which it is; in older exports there is one only.
            own = folder / "decoder" / decoder["folder"].rpartition("/")[2] / "model.json"
            said = json.loads(own.read_text(encoding="utf-8")) if own.is_file() else info
            decoder.update({key: said[key] for key in ("fingerprint", "slice_length")})
        return {**{key: info[key] for key in _KEYS if key in info}, "encoder": encoders[0], "decoders": decoders}

    def _add_half(self, folder, half):
        """Describes the versions of an encoder or decoder, the newest first."""
        found = []
        versions = [path for path in (folder / half).glob("*") if path.name.isdigit()]
        for version in sorted(versions, key=lambda path: int(path.name), reverse=True):
            graph, arrays = version / GRAPHS[half], version / stored_arrays.INDEX
            if not graph.is_file() or not arrays.is_file():
                continue
            weights = version / os.path.basename(json.loads(arrays.read_text(encoding="utf-8"))["file"])
            name = f"models/{folder.name}/{half}/{version.name}"
            crc = 0
            for path in (graph, arrays, weights):
                self.files[f"{name}/{path.name}"] = path
                crc = zlib.crc32(path.read_bytes(), crc)
            found.append({"folder": name, "version": f"{crc:08x}", "bytes": weights.stat().st_size})
        return found
