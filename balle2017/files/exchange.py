"""Two folders that take each other's place in one step, where the system can."""

import ctypes
import errno
import os
import sys

# Of Linux and of macOS.
_RENAME_EXCHANGE = _RENAME_SWAP = 2
_AT_FDCWD = -100
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EXDEV, errno.EPERM}


def exchange(one, other) -> bool:
    """Exchanges what is at two paths on one file system; `False` if the system or the file system cannot.

    Nobody sees either path without anything.

    Raises:
      OSError: If it fails otherwise.
    """
    paths = os.fsencode(one), os.fsencode(other)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            failed = library.renamex_np(*paths, _RENAME_SWAP)
        else:
            failed = library.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE)
    except (AttributeError, OSError, TypeError):
        # There is no such function, or as on Windows no such library.
        return False
    if failed:
        number = ctypes.get_errno()
        if number in _CANNOT:
            return False
        raise OSError(number, os.strerror(number), os.fspath(other))
    return True
