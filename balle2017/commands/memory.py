"""What a command's process does with large free blocks, once it has met a large picture: it gives them back."""

import contextlib

_THRESHOLD = 2**20
# As glibc's malloc.h has it.
_M_MMAP_THRESHOLD = -3


def return_large_blocks():
    """Has the C library map blocks of a megabyte and more, and unmap them when they are freed.

    Otherwise it keeps ever larger ones in the heap, between which others stand. It takes a few percent of the time,
    and is of the whole process and for good, so that a library has no right to it. Only glibc has the function.
    """
    with contextlib.suppress(AttributeError, ImportError, OSError, TypeError):
        import ctypes

        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _THRESHOLD)
