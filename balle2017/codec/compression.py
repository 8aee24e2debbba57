"""Pixels to the bytes of a file, with a model by name."""

from balle2017.codec.registry import DEFAULT_MODEL, load


def compress(
    pixels, model=DEFAULT_MODEL, path=None, metadata=None, effort=0, arithmetic="float32", runtime="auto"
) -> bytes:
    """Codes a picture with an installed model.

    Args:
      pixels: uint8 `[height, width, channels]`.
      model: Name of the model, or the path of an exported one.
      path: Folder of models, see `models_dir`.
      metadata, effort: See `Model.compress`.
      arithmetic, runtime: See `load`.

    Raises:
      ModelError: If there is no such model. Otherwise as `Model.compress`.
    """
    return load(model, path, arithmetic, runtime).compress(pixels, metadata, effort)
