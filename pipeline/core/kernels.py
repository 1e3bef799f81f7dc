"""How hot loops are compiled."""

from collections.abc import Callable
from typing import Any

import numba


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """numba, one thread (a worker owns one CPU); kept on disk so that each worker process need not compile anew."""
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:  # neither the package nor the home folder can be written
        return numba.njit(function)
