"""What tests need that is not everywhere."""

import importlib.util

import pytest

NEEDS_TENSORFLOW = "TensorFlow 2.14 and tensorflow-compression, for Python up to 3.11, are not installed"
HAS_TENSORFLOW = bool(importlib.util.find_spec("tensorflow_compression"))
needs_tensorflow = pytest.mark.skipif(not HAS_TENSORFLOW, reason=NEEDS_TENSORFLOW)
