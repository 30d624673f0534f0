"""Central differences: the gradient from values of the function alone, a judge that knows no rule of calculus."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def central_differences(function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """(f(w + step) - f(w - step)) / (2 step) for each element of w = `at`, in float64; has the shape of `at`.

    The error is step^2 / 6 times the third derivative, plus rounding of about 1e-16 f / step.
    """
    slopes = np.zeros(at.shape)
    for index in np.ndindex(at.shape):
        shift = np.zeros(at.shape)
        shift[index] = step
        slopes[index] = (function(at + shift) - function(at - shift)) / (2 * step)
    return slopes


def gap(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference between two arrays of one shape. Raises ValueError for two shapes."""
    if np.shape(a) != np.shape(b):
        raise ValueError(f"gap: shapes {np.shape(a)} and {np.shape(b)} differ")
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())
