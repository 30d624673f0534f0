"""Tensors as they were at one moment, and how their numbers are shown: whole if few, else statistics and a picture."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

#: More elements than this are shown by statistics and a small picture.
FEW = 36
_ROWS, _COLUMNS = 16, 32  # cells of a small picture at most
MINUS = "\N{MINUS SIGN}"


class Value:
    """A tensor as it was at one moment.

    Attributes:
        shape, dtype: Of the tensor; the shape is None where nothing is known but that it was there.
        array: Its numbers, a read-only array; None where they are not known, or too many for the file it was read from.
    """

    __slots__ = ("shape", "dtype", "array", "_summary")

    def __init__(self, array: np.ndarray | None = None, shape: tuple[int, ...] | None = None, dtype: str = "") -> None:
        self.shape = shape if array is None else array.shape
        self.dtype = dtype if array is None else str(array.dtype)
        self.array = array
        self._summary: dict[str, Any] | None = None

    @classmethod
    def of(cls, tensor: Any) -> Value:
        """A copy of a tensor's numbers."""
        array = np.array(tensor.detach().numpy())
        array.flags.writeable = False
        return cls(array)

    @property
    def size(self) -> int:
        return math.prod(self.shape) if self.shape is not None else 0

    @property
    def summary(self) -> dict[str, Any] | None:
        """Least, greatest, mean and standard deviation of what is finite; how many are 0, and not finite; a picture.

        The picture has at most 16 x 32 cells, means over blocks of the last axis against the others (of the first
        sample where there are more than two axes), as bytes: 0 is -scale, 128 is 0, 255 is scale. None if the numbers
        are unknown or there are none.
        """
        if self._summary is None and self.array is not None and self.array.size:
            with np.errstate(all="ignore"):
                self._summary = _summarise(self.array)
        return self._summary

    def to_dict(self, limit: int = FEW) -> dict[str, Any]:
        """For JSON: all numbers if there are at most `limit`, else the summary."""
        d: dict[str, Any] = {"shape": None if self.shape is None else list(self.shape), "dtype": self.dtype}
        if self.array is not None and self.array.size <= limit:
            d["values"] = [_plain(x) for x in self.array.ravel().tolist()]
        elif self.summary is not None:
            d["summary"] = self.summary
        return d

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Value:
        """The value that `to_dict` has written."""
        shape = None if d["shape"] is None else tuple(d["shape"])
        if "values" in d:
            array = np.array([float(x) if isinstance(x, str) else x for x in d["values"]], d["dtype"]).reshape(shape)
            array.flags.writeable = False
            return cls(array)
        value = cls(None, shape, d["dtype"])
        value._summary = d.get("summary")
        return value

    def line(self, digits: int = 5, few: int = 12) -> str:
        """One line of text: the numbers if there are at most `few`, else statistics."""
        if self.array is not None and self.array.size <= few:
            return _nested(self.array, digits)
        if self.shape is None:
            return "not kept"
        s = self.summary
        if s is None:
            return f"{self.dtype} {tuple(self.shape)}".strip() + ("" if self.size == 0 else ", not kept")
        if s["nonfinite"] == self.size:
            return f"{tuple(self.shape)} all NaN or inf"
        text = f"{tuple(self.shape)} {number(s['low'], digits)} to {number(s['high'], digits)}"
        text += f", mean {number(s['mean'], digits)}, sd {number(s['deviation'], digits)}"
        if s["nonfinite"]:
            text += f", {s['nonfinite']} NaN or inf"
        return text

    def rows(self, digits: int = 4) -> list[str]:
        """A few lines of text for a picture: the rows of a small matrix, a vector standing up, or statistics."""
        a = self.array
        if a is not None and a.ndim <= 2 and 0 < a.size <= 16:
            table = a.reshape(len(a), -1) if a.ndim else a.reshape(1, 1)
            cells = [[number(x, digits) for x in row] for row in table.tolist()]
            width = max(len(c) for row in cells for c in row)
            return [" ".join(c.rjust(width) for c in row) for row in cells]
        s = self.summary
        shape = "" if self.shape is None else "\N{MULTIPLICATION SIGN}".join(map(str, self.shape))
        if s is None:
            return [shape or "not kept"]
        return [shape, f"mean {number(s['mean'], 3)}", f"sd {number(s['deviation'], 3)}"]


def _summarise(a: np.ndarray) -> dict[str, Any]:
    real = a.astype(np.float32) if a.dtype.kind in "bui" else a
    finite = real
    total = float(real.sum(dtype=np.float64))
    if not math.isfinite(total):
        whole = np.isfinite(real)
        finite, real = real[whole], np.where(whole, real, 0)
        total = float(finite.sum(dtype=np.float64))
    mean = low = high = deviation = 0.0
    if finite.size:
        mean, low, high = total / finite.size, float(finite.min()), float(finite.max())
        centred = (finite - finite.dtype.type(mean)).ravel()
        deviation = math.sqrt(float(np.dot(centred, centred)) / finite.size)
    cells, rows = _cells(real)
    cells = np.nan_to_num(cells)
    scale = float(np.abs(cells).max()) or 1.0
    shades = np.clip(np.rint(cells / scale * 127) + 128, 0, 255).astype(np.uint8)
    picture = {"rows": rows, "scale": scale, "cells": base64.b64encode(shades.tobytes()).decode("ascii")}
    numbers = {"low": low, "high": high, "mean": mean, "deviation": deviation}
    counts = {"zeros": int(a.size - np.count_nonzero(a)), "nonfinite": a.size - finite.size}
    return {**{name: _plain(x) for name, x in numbers.items()}, **counts, "picture": picture}


def _cells(a: np.ndarray) -> tuple[np.ndarray, int]:
    """Means over blocks, row by row, and the number of rows."""
    a = a.squeeze()
    while a.ndim > 2 and a.size > _ROWS * _COLUMNS:
        a = a[0]
    table = a.reshape(-1, a.shape[-1]) if a.ndim > 1 else a.reshape(1, -1)
    for axis, most in ((0, _ROWS), (1, _COLUMNS)):
        n = table.shape[axis]
        if n > most:
            edges = np.arange(most) * n // most
            sums = np.add.reduceat(table, edges, axis=axis, dtype=np.float64)
            counts = np.diff(np.append(edges, n))
            table = sums / (counts[:, None] if axis == 0 else counts)
    return np.ascontiguousarray(table, np.float64), table.shape[0]


def _plain(x: Any) -> Any:
    """JSON has no NaN and no infinity: those become text."""
    return x if not isinstance(x, float) or math.isfinite(x) else repr(x)


def number(x: Any, digits: int = 5) -> str:
    """A number with so many digits that count, a real minus sign, and no zeros that say nothing."""
    if isinstance(x, (bool, np.bool_)):
        return str(bool(x))
    if isinstance(x, (int, np.integer)):
        return str(x).replace("-", MINUS)
    text = f"{float(x):.{digits}g}"
    return "0" if text in ("0", "-0") else text.replace("-", MINUS)


def _nested(a: np.ndarray, digits: int) -> str:
    if a.ndim == 0:
        return number(a.item(), digits)
    return "[" + ", ".join(_nested(np.asarray(x), digits) for x in a) + "]"


__all__ = ["FEW", "MINUS", "Value", "number"]
