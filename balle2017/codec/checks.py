"""Numbers that callers give, checked where they come in, so that wrong ones get a sentence."""

import math
import operator

MAX_EFFORT = 4
# What is taken for an effort: earlier versions had 5 to 9, which are 4 now.
EFFORTS = range(10)


def whole_effort(effort, lowest=0) -> int:
    """An effort as a Python integer.

    Raises:
      ValueError: If it is no integer from `lowest` to 4; 5 to 9 are taken as 4.
    """
    try:
        number = operator.index(effort)
    except TypeError:
        number = -1
    if number < lowest or number not in EFFORTS:
        raise ValueError(f"Effort is a whole number from {lowest} to {MAX_EFFORT}, not {effort!r}.")
    return min(number, MAX_EFFORT)


def positive(value, what) -> float:
    """A number above 0 and below infinity; `what` names it.

    Raises:
      ValueError: If it is none.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"{what} is a number above 0, not {value!r}.")
    return number
