"""The codec: pixels to the bytes of a `.tfci` file and back, with installed models.

    from balle2017 import codec
    data = codec.load("bls2017-mse-4").compress(pixels)
    pixels = codec.decompress(data).pixels

Two runtimes do the same, with TensorFlow or without; what a model needs is imported when it first runs.
"""

from balle2017.codec.checks import EFFORTS, MAX_EFFORT
from balle2017.codec.compression import compress
from balle2017.codec.decompression import Decoded, Decompression, TooLargeError, decompress
from balle2017.codec.model import Model
from balle2017.codec.model_info import FamilyError, ModelError
from balle2017.codec.rate_search import compress_to_bpp
from balle2017.codec.registry import (
    DEFAULT_MODEL,
    MODELS_VARIABLE,
    check_runtime,
    example_model,
    list_models,
    load,
    load_family,
    models_dir,
    scan_models,
)
from balle2017.codec.runtime import RUNTIMES, can_refine, check_effort, default_effort, has_tensorflow
from balle2017.codec.tensorflow_runtime import ARITHMETIC, tensorflow
from balle2017.container.bitstream import BitstreamError, DamagedError
from balle2017.pictures.images import ImageError

__all__ = [
    "ARITHMETIC", "DEFAULT_MODEL", "EFFORTS", "MAX_EFFORT", "MODELS_VARIABLE", "RUNTIMES", "BitstreamError",
    "DamagedError", "Decoded", "Decompression", "FamilyError", "ImageError", "Model", "ModelError", "TooLargeError",
    "can_refine", "check_effort", "check_runtime", "compress", "compress_to_bpp", "decompress", "default_effort",
    "example_model", "has_tensorflow", "list_models", "load", "load_family", "models_dir", "scan_models", "tensorflow",
]  # fmt: skip
