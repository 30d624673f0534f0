"""Fifty digits: exact values of the sigmoid and its logarithm, and errors counted in units of the last place."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

DIGITS = 50


def exact(function: Callable[[Decimal], Decimal], x: np.ndarray) -> list[Decimal]:
    """The function at each number of `x`, in decimal arithmetic that is sure of 50 digits."""
    with localcontext() as context:
        context.prec = 2 * DIGITS  # 1 + e^-x may lose as many digits as e^-x is small
        context.Emin = -10_000
        return [+function(Decimal(float(v))) for v in x.ravel()]


def sigmoid(v: Decimal) -> Decimal:
    """1 / (1 + e^-v)."""
    return 1 / (1 + (-v).exp())


def log_sigmoid(v: Decimal) -> Decimal:
    """-log(1 + e^-v): by the series of log(1 + u) where e^-v = u is too small for the digits that are carried."""
    if v < 0:
        return v + log_sigmoid(-v)
    u = (-v).exp()
    return -(1 + u).ln() if u > Decimal(10) ** -40 else -(u - u * u / 2)


def ulps(measured: np.ndarray, values: list[Decimal]) -> np.ndarray:
    """|measured - value| in units of the last place of the value in measured's float type; infinite for NaN."""
    errors = np.full(measured.size, np.inf)
    for i, (m, value) in enumerate(zip(measured.ravel(), values, strict=True)):
        if np.isfinite(m):
            unit = np.spacing(np.abs(measured.dtype.type(float(value))))
            errors[i] = abs(Decimal(float(m)) - value) / Decimal(float(unit))
    return errors.reshape(measured.shape)


def relative(measured: np.ndarray, values: list[Decimal]) -> np.ndarray:
    """|measured - value| / |value|; NaN where measured is no finite number."""
    errors = [
        float(abs(Decimal(float(m)) - v) / abs(v)) if np.isfinite(m) else np.nan
        for m, v in zip(measured.ravel(), values, strict=True)
    ]
    return np.array(errors).reshape(measured.shape)


def with_warnings(function: Callable[[Any], Any], x: Any) -> tuple[np.ndarray, str]:
    """(function(x), what NumPy warned of: "none", "overflow", "invalid value, overflow" and the like)."""
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="warn", under="ignore"):
        warnings.simplefilter("always")
        result = np.asarray(function(x))
    return result, ", ".join(sorted({str(w.message).split(" encountered")[0] for w in caught})) or "none"


def bfloat16(x: Any) -> np.ndarray:
    """Rounded to the nearest bfloat16 (ties to even), held as float32: the upper half of its bits."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), np.float32(np.nan), rounded.view(np.float32))
