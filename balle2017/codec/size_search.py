"""The λ at which a file has a given size: refinement at some λ, each from where it helps most.

What a change of λ does to the size is not known before it has been tried.
"""

import math

from balle2017.codec.refine import DESCENTS, TRIAL, TUNING

# How many λ are tried for a file's size.
_SEARCH_STEPS = 24
# How far from its target the logarithm of a size may be for a search between bounds.
_FAR = 0.03
# Relative change in size for a relative change in λ, before it is known better.
_SLOPE = 0.4


def find_size(refinement, target, lmbda, effort, encode, strict=False, tolerance=0.004, progress=None):
    """Refines for the λ at which the file has a given size.

    A few steps at each of some λ find the one that fits, which is all of effort 1. The steps of
    efforts 2 and more follow, and some more, from where those end, make good what they changed
    in size.

    Args:
      refinement: A `Refinement`, which stays as it is.
      target: Size in bytes.
      lmbda: λ to begin with.
      effort: 1 to `len(DESCENTS)`.
      encode: Function of latents to the bytes of a file.
      strict: Whether the target must not be exceeded.
      tolerance: Relative error in size that ends the search.
      progress: As of `run`; without a Lagrangian while λ is sought.

    Returns:
      The bytes of the file that comes closest.
    """
    best = _Closest(target, strict, tolerance)
    found, refined = _search(refinement, (DESCENTS[0], TRIAL), lmbda, encode, best, progress)
    if effort == 1:
        return best.data
    best = _Closest(target, strict, tolerance)
    refined.descend(DESCENTS[1:effort], found, progress=progress)
    best.add(encode(refined.latents))
    if not best.fits:
        _search(refined, (TUNING,), found, encode, best, progress)
    if strict and len(best.data) > target:
        # More effort must not fail where less does not.
        return find_size(refinement, target, lmbda, effort - 1, encode, strict, tolerance, progress)
    return best.data


def _search(start, descents, lmbda, encode, best, progress=None):
    """Finds the λ at which some descents end in a file that fits.

    Returns:
      λ, and the refinement that ended there.
    """
    x = math.log(lmbda)
    low = high = last = None
    tries, stalled, nearest = 0, 0, math.inf
    for _ in range(_SEARCH_STEPS):
        here = start.copy()
        here.descend(descents, math.exp(x), keep_best=False, progress=progress)
        error = best.add(encode(here.latents))
        if best.fits:
            break
        if abs(error) > _FAR or tries == 4:
            # Far away, or out of these descents' reach from there, each try goes on from the last.
            if abs(error) > 0.99 * nearest:
                stalled += 1
                if stalled == 3:
                    break
            nearest = min(nearest, abs(error))
            start, low, high, last, tries = here, None, None, None, 0
            x -= min(max(error / _SLOPE, -0.6), 0.6)
            continue
        tries += 1
        if error > 0:
            high = x, error
        else:
            low = x, error
        if low and high:
            # The secant, but not too close to an end, where it could stay for long.
            part = low[1] / (low[1] - high[1])
            x = low[0] + min(max(part, 0.1), 0.9) * (high[0] - low[0])
        else:
            slope = (error - last[1]) / (x - last[0]) if last else _SLOPE
            last = x, error
            x -= min(max(1.1 * error / max(slope, 0.05), -0.6), 0.6)
    return math.exp(x), here


class _Closest:
    """Keeps the file whose size comes closest to a target.

    Attributes:
      data: The bytes of that file.
      fits: Whether its size is near enough.
    """

    def __init__(self, target, strict, tolerance):
        # What must not exceed the target aims below it.
        self._aim = math.log(target) - (tolerance / 2 if strict else 0)
        self._limit = target if strict else math.inf
        self._tolerance = tolerance / 2
        self._order = (True, math.inf)
        self.data, self.fits = None, False

    def add(self, data):
        """Takes a file, and returns by how much it is too large, as a logarithm."""
        error = math.log(len(data)) - self._aim
        order = len(data) > self._limit, abs(error)
        if order < self._order:
            self.data, self._order = data, order
            self.fits = abs(error) <= self._tolerance
        return error
