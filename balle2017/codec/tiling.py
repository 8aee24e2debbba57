"""How a picture of any size is worked on in parts: tiles, bands and runs of slices.

Large pictures are transformed in overlapping tiles, so memory is bounded. A
tile's context is exactly what the receptive fields take (`model.network`): a
latent depends on pixels of one block before its own and of two after it.
Synthesis is the adjoint, so it needs two before and one after.
Where a tile ends at the picture's border, it sees the padding that the whole
picture sees.
"""

import collections
import concurrent.futures
import itertools
import threading

from balle2017.model import network

# Latents before and after a tile that its own latents, or pixels, depend on.
ANALYSIS_CONTEXT = network.context()
SYNTHESIS_CONTEXT = ANALYSIS_CONTEXT[::-1]
# Tiles of a picture that are transformed at the same time. While one waits for the last thread of an
# op, the other keeps the cores busy, and both do while slices are coded or rows are read and written.
_SIDE_BY_SIDE = 2
# Latents in a tile with its context: about half a megapixel, some 100 MB of activations.
_TILE_SIDE = 52
# Tiles that are refined one by one, and so can be larger.
REFINED_SIDE = 64
# Latents in a row of tiles, of which pixels and latents are in memory: tiles of wide pictures are flat.
_BAND_AREA = 2**15
_MIN_TILE_SIDE = 16
# Latent positions that go through the range coder at once.
CODER_POSITIONS = 2**13


def latent_size(pixels):
    """Height and width of the latents of pixels `[height, width, channels]`."""
    return tuple(-(-side // network.STRIDE) for side in pixels.shape[:2])


def tiles(height, width, context, side=None):
    """Divides latents into rows and columns of tiles: two lists of `(begin, end)`.

    With their context tiles are squares of `side` (default: `_TILE_SIDE`), or as long
    as the area allows where a picture is narrower, or flat where it is very wide.
    """
    side = side or _TILE_SIDE
    area = side**2
    if height * width <= area:
        return [(0, height)], [(0, width)]
    side = min(side, max(_MIN_TILE_SIDE, _BAND_AREA // width))
    rows = min(height, max(side, area // width))
    cols = min(width, area // rows)
    return _divide(height, rows, context), _divide(width, cols, context)


def _divide(size, tile, context):
    """Divides a side evenly, so that nearly all tiles have the same size."""
    count = 1 if tile >= size else -(-size // (tile - context))
    edges = [size * i // count for i in range(count + 1)]
    return list(zip(edges[:-1], edges[1:]))


def widen(begin, end, size, context):
    """A range of latents with its context, as far as there are any."""
    return max(begin - context[0], 0), min(end + context[1], size)


def side_by_side(function, jobs):
    """Yields `function(*job)` for each of an iterable of jobs, in order, and runs a few at the same time.

    The next job is made in the caller's thread while those before it run; all that is ever kept
    are a few jobs and results.
    """
    if not threading.main_thread().is_alive():
        # No pool begins any more.
        yield from itertools.starmap(function, jobs)
        return
    jobs = iter(jobs)
    first = list(itertools.islice(jobs, 2))
    if len(first) == 1:
        # Most pictures are a single tile, which needs no other thread.
        yield function(*first.pop())
        return
    running = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        try:
            running.extend(pool.submit(function, *job) for job in first)
            del first
            for job in jobs:
                running.append(pool.submit(function, *job))
                del job
                if len(running) > _SIDE_BY_SIDE:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
