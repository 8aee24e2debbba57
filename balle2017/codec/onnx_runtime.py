"""A rate point run without TensorFlow: its transforms by onnxruntime, its range coder in NumPy."""

import contextlib
import functools
import importlib.util
import threading

import numpy as np

from balle2017.codec import forks
from balle2017.codec.model_info import ModelError
from balle2017.entropy.numpy_coder import NumpyCoder
from balle2017.model.network import STRIDE
from balle2017.saved_model import stored_arrays
from balle2017.saved_model.stored_arrays import GRAPHS


@functools.cache
def onnxruntime():
    """The package, imported without its messages."""
    import onnxruntime as ort

    # Only errors, of which it raises those that matter.
    ort.set_default_logger_severity(3)
    return ort


class OnnxRuntime:
    """Runs the encoder and the decoder of a model, each loaded when first used.

    Args:
      folder: Of the model.
      info: The contents of its `model.json`, or of that of an older decoder.
    """

    name = "onnx"

    def __init__(self, folder, info):
        self._folder = folder
        self._name = info["name"]
        self._version = str(info.get("version", 1))
        self._slice_length = info["slice_length"]
        self.renew()
        forks.renew_in_children(self)

    def renew(self):
        """Forgets what is loaded; returns what of it must stay as it is in a process that was forked."""
        loaded = getattr(self, "_loaded", None)
        self._loaded = {}
        # One for each part, as some are loaded side by side.
        self._locks = {(half, part): threading.Lock() for half in GRAPHS for part in ("graph", "coder")}
        return loaded

    @staticmethod
    def lacks(folder, info):
        """What keeps it from running a model, a sentence, or `None`."""
        if importlib.util.find_spec("onnxruntime") is None:
            return "The runtime onnx needs the package onnxruntime, which is not installed."
        version = str(info.get("version", 1))
        if not any((folder / half / version / graph).is_file() for half, graph in GRAPHS.items()):
            return f"{info['name']} has no ONNX graphs, which the runtime onnx needs: export it again."
        return None

    def analyze(self, pixels):
        """Quantized latents int32 `[⌈height/16⌉, ⌈width/16⌉, M]` of uint8 `[height, width, channels]`."""
        padding = [(0, -side % STRIDE) for side in pixels.shape[:2]]
        pixels = np.pad(pixels, [*padding, (0, 0)], mode="edge")
        return self._run("encoder", pixels=pixels[None])

    def synthesize(self, latents):
        """Pixels uint8 `[16 h, 16 w, channels]` of int32 `[h, w, M]`."""
        return self._run("decoder", latents=np.ascontiguousarray(latents[None]))

    def encode_slices(self, latents):
        """Latents int32 `[positions, M]` as a list of the bytes of their slices."""
        return self._coder("encoder").encode(latents)

    def decode_slices(self, slices, slice_length, num_positions):
        """Inverse of `encode_slices`; see `Model.decode_slices`."""
        return self._coder("decoder").decode(slices, slice_length, num_positions)

    @contextlib.contextmanager
    def opening_decoder(self):
        """Opens the decoder's graph while latents are decoded that it is for, by a thread that has ended at its end."""
        if ("decoder", "graph") in self._loaded:
            yield
            return
        # Python's own locks are held while it imports, and a fork must find them open.
        onnxruntime()
        thread = threading.Thread(target=self._try_to_open, args=("decoder",))
        try:
            thread.start()
        except RuntimeError:
            # There are no threads to have, for instance when the interpreter ends.
            thread = None
        try:
            yield
        finally:
            if thread:
                thread.join()

    def _run(self, half, **inputs):
        session = self._load(half, "graph", self._open)
        try:
            return session.run(None, inputs)[0][0]
        except Exception as error:
            # It has no type of its own for this.
            if "alloc" in str(error):
                raise MemoryError from error
            raise

    def _try_to_open(self, half):
        # If it fails, it will again where the graph is needed.
        with contextlib.suppress(Exception):
            self._load(half, "graph", self._open)

    def _coder(self, half):
        return self._load(half, "coder", self._make_coder)

    def _load(self, half, part, make):
        with self._locks[half, part]:
            if (half, part) not in self._loaded:
                folder = self._folder / half / self._version
                try:
                    self._loaded[half, part] = make(half, folder)
                except (MemoryError, ImportError):
                    raise
                except Exception:
                    # onnxruntime's errors have no common type, and none that is documented.
                    raise ModelError(f"The {half} of {self._name} cannot be loaded from {folder}.") from None
            return self._loaded[half, part]

    def _open(self, half, folder):
        ort = onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 3
        # Threads that wait busily take the processor from those of other pictures.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = str(folder / GRAPHS[half])
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def _make_coder(self, half, folder):
        tables = stored_arrays.tables_of(stored_arrays.read(folder, "coder/"))
        return NumpyCoder(tables, self._slice_length)
