"""Numbers of bytes in words."""


def size(count) -> str:
    """A number of bytes, as `13 bytes`, `1.3 kB`, `1.3 MB` or `1.3 GB` (of 1000s)."""
    if count < 1000:
        return f"{count} byte" if count == 1 else f"{count} bytes"
    for unit in ("kB", "MB"):
        count /= 1000
        # What would round to 1000.0 is one of the next unit.
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} GB"
