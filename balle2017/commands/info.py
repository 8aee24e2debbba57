"""What a `.tfci` file says of itself, without decoding it."""

from balle2017.commands.sizes import size
from balle2017.container import bitstream


def describe(data) -> dict:
    """What the bytes of a file say, as JSON can hold it.

    Returns:
      A dict of `bytes`, `whole` (whether all checksums agree) and `problem` (a sentence, `None` for
      a whole file), and as far as there is a header: `model`, `fingerprint` (8 hexadecimal digits),
      `width`, `height`, `channels`, `bits_per_pixel`, `slices`, `slice_length` (latent positions),
      `damaged_slices` (counted from 1) and `metadata` (bytes by tag; `None` if they cannot be read).
    """
    found = {"bytes": len(data), "whole": False, "problem": None}
    try:
        contents = bitstream.read_header(data)
    except bitstream.BitstreamError as error:
        return {**found, "problem": str(error)}
    found.update(
        model=contents.model,
        fingerprint=f"{contents.fingerprint:08x}",
        width=contents.width,
        height=contents.height,
        channels=contents.channels,
        bits_per_pixel=8 * len(data) / (contents.width * contents.height),
        slices=contents.num_slices,
        slice_length=contents.slice_length,
        damaged_slices=[],
        metadata=None,
    )
    try:
        metadata = bitstream.unpack(data).metadata
    except bitstream.BitstreamError as error:
        damaged = [index + 1 for index in getattr(error, "slices", ())]
        return {**found, "problem": str(error), "damaged_slices": damaged}
    return {**found, "whole": True, "metadata": {tag.strip(): len(value) for tag, value in metadata.items()}}


def text(found) -> str:
    """What `describe` has found, in lines for people."""
    lines = []
    if "model" in found:
        colours = "colour" if found["channels"] == 3 else "grayscale"
        metadata = found["metadata"]
        listed = ", ".join(f"{tag} ({size(count)})" for tag, count in (metadata or {}).items())
        lines += [
            f"model     {found['model']} (fingerprint {found['fingerprint']})",
            f"picture   {found['width']}×{found['height']} pixels, {colours}",
            f"size      {size(found['bytes'])}, {found['bits_per_pixel']:.4f} bits per pixel",
            f"slices    {found['slices']} of {found['slice_length']} latent positions",
            f"metadata  {'not known' if metadata is None else listed or 'none'}",
        ]
    else:
        lines.append(f"size      {size(found['bytes'])}")
    lines.append(f"state     {'whole' if found['whole'] else found['problem']}")
    if "model" in found and not found["whole"]:
        lines.append(
            "          What is said above may be damaged, too: model, fingerprint and size are as the file has them."
        )
    return "\n".join(f"  {line}" for line in lines)
