"""Makes the sample inputs that op records ask for, and the awkward forms of them that every op must take."""

from __future__ import annotations

from typing import Any

import numpy as np


class Fixed(np.ndarray):
    """Values that keep float64 and their dense memory whatever the test tries: an optimiser's settings and counters."""


class Make:
    """Seeded sample values. A record's ``samples(make)`` builds argument tuples with it.

    Float arrays are float64; the tests convert them to the dtype under test. Integer and bool arrays stay as they are.
    """

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.Generator(np.random.PCG64(seed))

    def __call__(self, *shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray:
        """Uniform values in [low, high)."""
        return np.asarray(self.rng.uniform(low, high, shape))

    def positive(self, *shape: int) -> np.ndarray:
        """Values in [0.5, 2)."""
        return self(*shape, low=0.5, high=2.0)

    def distinct(self, *shape: int) -> np.ndarray:
        """Values at least 0.1 apart from each other and from 0, where kinks and ties are."""
        n = int(np.prod(shape))
        values = (self.rng.permutation(n) - n // 2 + 0.5) * 0.1
        return np.asarray(values.reshape(shape) + np.where(values.reshape(shape) > 0, 0.05, -0.05))

    def fixed(self, values: Any) -> Fixed:
        """These values, in float64 and dense in every form of the sample."""
        return np.array(values, np.float64).view(Fixed)

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> np.ndarray:
        """int64 values in [low, high)."""
        return np.asarray(self.rng.integers(low, high, shape))

    def bools(self, *shape: Any) -> np.ndarray:
        """True and False; the shape as one tuple or as separate sizes."""
        shape = shape[0] if shape and isinstance(shape[0], tuple) else shape
        return np.asarray(self.rng.integers(0, 2, shape).astype(bool))


def is_float(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.dtype == np.float64 and not isinstance(a, Fixed)


def converted(args: tuple, dtype: Any) -> list:
    """The float arrays among args (and in sequences among them) in another dtype."""
    return [_convert(a, dtype) for a in args]


def _convert(a: Any, dtype: Any) -> Any:
    if is_float(a):
        return a.astype(dtype)
    if isinstance(a, (list, tuple)) and any(isinstance(x, np.ndarray) for x in a):
        return type(a)(_convert(x, dtype) for x in a)
    return a


def strided(a: Any) -> Any:
    """The same values on memory with gaps, running backwards along the last axis."""
    if isinstance(a, (list, tuple)) and any(isinstance(x, np.ndarray) for x in a):
        return type(a)(strided(x) for x in a)
    if not isinstance(a, np.ndarray) or isinstance(a, Fixed) or a.ndim == 0:
        return a
    room = np.zeros((*a.shape[:-1], 2 * a.shape[-1] + 1), a.dtype)
    view = room[..., 1::2][..., ::-1]
    view[...] = a
    return view


def transposed(a: Any) -> Any:
    """The same values in column-major order."""
    if isinstance(a, (list, tuple)) and any(isinstance(x, np.ndarray) for x in a):
        return type(a)(transposed(x) for x in a)
    return np.asfortranarray(a) if isinstance(a, np.ndarray) and a.ndim > 1 else a
