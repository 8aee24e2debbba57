"""How a picture of any size is worked on in parts: tiles, bands and runs of slices.

Large pictures are transformed in overlapping tiles, so memory is bounded. A
tile's context is exactly what the receptive fields take (`model.network`): a
latent depends on pixels of one block before its own and of two after it.
Synthesis is the adjoint, so it needs two before and one after.
Where a tile ends at the picture's border, it sees the padding that the whole
picture sees.
"""

from balle2017.model import network

# Latents before and after a tile that its own latents, or pixels, depend on.
ANALYSIS_CONTEXT = network.context()
SYNTHESIS_CONTEXT = ANALYSIS_CONTEXT[::-1]
# Latents in a tile with its context: about a megapixel, some 200 MB of activations.
_TILE_SIDE = 64
_TILE_AREA = _TILE_SIDE**2
# Latents in a row of tiles, of which pixels and latents are in memory: tiles of wide pictures are flat.
_BAND_AREA = 2**15
_MIN_TILE_SIDE = 16
# Latent positions that go through the range coder at once.
CODER_POSITIONS = 2**14


def latent_size(pixels):
    """Height and width of the latents of pixels `[height, width, channels]`."""
    return tuple(-(-side // network.STRIDE) for side in pixels.shape[:2])


def tiles(height, width, context):
    """Divides latents into rows and columns of tiles: two lists of `(begin, end)`.

    With their context tiles are squares of `_TILE_SIDE`, or as long as the
    area allows where a picture is narrower, or flat where it is very wide.
    """
    if height * width <= _TILE_AREA:
        return [(0, height)], [(0, width)]
    side = min(_TILE_SIDE, max(_MIN_TILE_SIDE, _BAND_AREA // width))
    rows = min(height, max(side, _TILE_AREA // width))
    cols = min(width, _TILE_AREA // rows)
    return _divide(height, rows, context), _divide(width, cols, context)


def _divide(size, tile, context):
    """Divides a side evenly, so that nearly all tiles have the same size."""
    count = 1 if tile >= size else -(-size // (tile - context))
    edges = [size * i // count for i in range(count + 1)]
    return list(zip(edges[:-1], edges[1:]))


def widen(begin, end, size, context):
    """A range of latents with its context, as far as there are any."""
    return max(begin - context[0], 0), min(end + context[1], size)
