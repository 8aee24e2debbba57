"""Where tensors are, and how precise products of float32 are."""

import contextlib

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def tf32():
    """Matrix products inside take TF32: factors of 10 bits in place of 23, where the GPU has it; sums stay float32."""
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
