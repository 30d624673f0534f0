"""Images and volumes at other sizes: nearest, linear, cubic and area interpolation over one to three spatial axes.

``resample`` is a sparse linear map along each axis, one axis after the other; ``resample_backward`` applies the
transposed maps, and each is the other's gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _engine
from .._arguments import integer, number
from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from .record import op

__all__ = ["interpolate"]
METHODS = ()

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor

#: How the primitives are told what to do; "linear" and "cubic" for every number of axes.
_NEAREST, _EXACT, _LINEAR, _CUBIC = range(4)

# ---- references: the weights of every output, then sums over them ----


def _cubic(x: float, a: float) -> float:
    """Keys, "Cubic convolution interpolation for digital image processing" (1981)."""
    x = abs(x)
    return (a + 2) * x**3 - (a + 3) * x**2 + 1 if x <= 1 else a * (x - 1) * (x - 2) ** 2 if x < 2 else 0.0


def _taps(
    kind: Any, n: int, m: int, mode: int, align_corners: bool, antialias: bool, scale: float
) -> list[list[tuple]]:
    """For each of m outputs the places among n inputs and their weights; ``kind`` is x's type."""
    step = 1 / scale if scale else n / m
    if align_corners:
        step = (n - 1) / (m - 1) if m > 1 else 0.0
    taps: list[list[tuple]] = []
    for j in range(m):
        if mode in (_NEAREST, _EXACT):
            exact = float(kind(step)) * (j + 0.5) - 0.5
            at = kind(step) * kind(j) if mode == _NEAREST else max(kind(exact), kind(0)) + kind(0.5)
            taps.append([(min(int(np.float32(at)), n - 1), 1.0)])  # PyTorch's roundings
        elif antialias:
            wide, center = max(step, 1.0), step * (j + 0.5)
            reach = wide * (2 if mode == _CUBIC else 1)
            places = range(max(int(center - reach + 0.5), 0), min(int(center + reach + 0.5), n))
            x = [(i - center + 0.5) / wide for i in places]
            weights = [_cubic(v, -0.5) if mode == _CUBIC else max(0.0, 1 - abs(v)) for v in x]
            taps.append([(i, w / sum(weights)) for i, w in zip(places, weights, strict=True)])
        else:
            source = step * j if align_corners else step * (j + 0.5) - 0.5
            if mode == _LINEAR:
                source = float(j) if n == m else max(source, 0.0)
            first = min(math.floor(source), n - 1)
            past = min(source - first, 1.0)
            if mode == _LINEAR:
                taps.append([(first, 1 - past), (min(first + 1, n - 1), past)])
            else:
                taps.append([(min(max(first + i, 0), n - 1), _cubic(i - past, -0.75)) for i in (-1, 0, 1, 2)])
    return taps


def _resample_reference(
    x: np.ndarray, size: Any, mode: int, align_corners: bool, antialias: bool, scales: Any
) -> np.ndarray:
    y = x.astype(np.float64)
    for d, (m, scale) in enumerate(zip(size, scales, strict=True)):
        rows = np.moveaxis(y, 2 + d, 0)
        taps = _taps(x.dtype.type, len(rows), m, mode, align_corners, antialias, scale)
        y = np.moveaxis(np.stack([sum(w * rows[i] for i, w in t) for t in taps]), 0, 2 + d)
    return y.astype(x.dtype)


def _backward_reference(
    x: np.ndarray, size: Any, mode: int, align_corners: bool, antialias: bool, scales: Any
) -> np.ndarray:
    y = x.astype(np.float64)
    for d, (n, scale) in enumerate(zip(size, scales, strict=True)):
        rows = np.moveaxis(y, 2 + d, 0)
        to = np.zeros((n, *rows.shape[1:]))
        for row, taps in zip(
            rows, _taps(x.dtype.type, n, len(rows), mode, align_corners, antialias, scale), strict=True
        ):
            for i, w in taps:
                to[i] += w * row
        y = np.moveaxis(to, 0, 2 + d)
    return y.astype(x.dtype)


# ---- records ----

#: Shape of x, size of the result, mode, align_corners, antialias, scales.
_SAMPLES = (
    ((2, 3, 6, 6), (12, 12), _CUBIC, False, False, (2.0, 2.0)),
    ((2, 3, 5, 7), (9, 4), _CUBIC, False, False, (0.0, 0.0)),
    ((1, 2, 4, 3), (7, 8), _CUBIC, True, False, (0.0, 0.0)),
    ((1, 1, 1, 2), (3, 1), _CUBIC, False, False, (3.0, 0.7)),
    ((17, 2, 3, 5), (4, 6), _CUBIC, True, False, (0.0, 0.0)),
    ((1, 2, 70, 67), (67, 129), _CUBIC, False, False, (0.0, 0.0)),
    ((2, 3, 5, 7), (9, 4), _LINEAR, False, False, (1.8, 0.6)),
    ((2, 3, 5), (11,), _LINEAR, True, False, (0.0,)),
    ((3, 2, 4), (1,), _LINEAR, True, False, (0.0,)),
    ((1, 2, 3, 4, 5), (5, 4, 7), _LINEAR, False, False, (0.0, 0.0, 0.0)),
    ((1, 1, 17, 18, 19), (19, 11, 33), _LINEAR, True, False, (0.0, 0.0, 0.0)),
    ((2, 2, 5, 3), (13, 3), _NEAREST, False, False, (2.7, 1.0)),
    ((33, 1, 7), (14,), _NEAREST, False, False, (0.0,)),
    ((2, 1, 4, 3, 2), (3, 7, 4), _EXACT, False, False, (0.0, 0.0, 0.0)),
    ((2, 2, 9, 11), (4, 5), _CUBIC, False, True, (0.0, 0.0)),
    ((2, 2, 9, 5), (4, 8), _LINEAR, False, True, (0.44, 1.6)),
    ((0, 2, 4, 4), (2, 2), _LINEAR, False, False, (0.0, 0.0)),
)


def _errors(make: Any) -> list[tuple]:
    rest = (_LINEAR, False, False)
    return [
        ((make(2, 3), (3,), *rest, (0.0,)), ValueError, "must have a batch and a channel dimension"),
        ((make(2, 3, 4), (3, 3), *rest, (0.0,)), ValueError, "size has 2 entries"),
        ((make(2, 3, 4), (0,), *rest, (0.0,)), ValueError, "sizes must be at least 1"),
        ((make(2, 3, 0), (3,), *rest, (0.0,)), ValueError, "sizes must be at least 1"),
        ((make(2, 3, 4), (3,), *rest, (0.0, 0.0)), ValueError, "there are 2 scale factors"),
    ]


_ATTRIBUTES = "size mode align_corners antialias scales"

_resample: Any = op(
    "resample",
    "x",
    attributes=_ATTRIBUTES,
    reference=_resample_reference,
    gradient={
        "x": lambda g, x_shape, mode, align_corners, antialias, scales: _resample_backward(
            g, x_shape[2:], mode, align_corners, antialias, scales
        )
    },
    formula={"x": r"R^{T} g"},
    samples=lambda make: [(make(*shape), *rest) for shape, *rest in _SAMPLES],
    errors=_errors,
    tolerance=16,
)

#: ``resample_backward(x, size, ...)``: the adjoint of ``resample`` with the same settings; size is that of the result.
_resample_backward: Any = op(
    "resample_backward",
    "x",
    attributes=_ATTRIBUTES,
    reference=_backward_reference,
    gradient={
        "x": lambda g, x_shape, mode, align_corners, antialias, scales: _resample(
            g, x_shape[2:], mode, align_corners, antialias, scales
        )
    },
    formula={"x": r"R\,g"},
    samples=lambda make: [(make(*shape[:2], *size), shape[2:], *rest) for shape, size, *rest in _SAMPLES],
    errors=_errors,
    tolerance=16,
)

# ---- public ----

#: Public modes: the primitive's mode, and the numbers of spatial axes that it is for.
_MODES = {
    "nearest": (_NEAREST, (1, 2, 3)), "nearest-exact": (_EXACT, (1, 2, 3)), "linear": (_LINEAR, (1,)),
    "bilinear": (_LINEAR, (2,)), "trilinear": (_LINEAR, (3,)), "bicubic": (_CUBIC, (2,)), "area": (None, (1, 2, 3)),
}  # fmt: skip


def _per_axis(what: str, value: Any, spatial: int) -> list:
    values = list(value) if isinstance(value, (tuple, list)) else [value] * spatial
    if len(values) != spatial:
        raise ValueError(f"interpolate: {what} is {value!r} but must be one number or {spatial}, one per spatial axis")
    return values


def interpolate(
    x: Tensor, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest", align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:  # fmt: skip
    """x resampled to another size, as ``torch.nn.functional.interpolate``.

    Output j of an axis with m outputs for n elements lies at (j + 1/2) n / m - 1/2, or with align_corners at
    j (n - 1) / (m - 1), and takes the nearest element, or the weighted mean of two ("linear") or four ("cubic", Keys
    1981 with a = -3/4) along each axis; beyond the ends the last element goes on.

    Args:
        x: (N, C, L), (N, C, H, W) or (N, C, D, H, W), float.
        size: Of the result: one number, or one for each spatial axis.
        scale_factor: Instead of size: the size is floor(factor n), and the factor stands for m / n above.
        mode: "nearest" (element floor(j n / m)), "nearest-exact", "linear" (3 dimensions), "bilinear" and "bicubic" (4),
            "trilinear" (5), or "area" (means, see :func:`adaptive_avg_pool2d`).
        align_corners: Whether the outer elements' centres, and not their outer edges, stay in place; False by default.
            For linear and cubic modes only.
        recompute_scale_factor: Use m / n although scale_factor is given.
        antialias: For "bilinear" and "bicubic" (with a = -1/2): where the image shrinks, widen the kernel by as much.

    Raises:
        ValueError: Neither or both of size and scale_factor are given, one of them has the wrong length or is not
            positive, or the mode does not fit x's dimensions or the other arguments.
    """
    x = as_tensor(x)
    if mode not in _MODES:
        raise ValueError(f"interpolate: mode is {mode!r} but must be one of {', '.join(map(repr, _MODES))}")
    kind, axes = _MODES[mode]
    spatial = x.ndim - 2
    if spatial not in axes:
        raise ValueError(
            f"interpolate: mode {mode!r} is for {' or '.join([str(a + 2) for a in axes])} dimensions (batch, channels, "
            f"spatial axes), but x has shape {x.shape}"
        )
    if align_corners is not None and kind not in (_LINEAR, _CUBIC):
        raise ValueError(f"interpolate: align_corners is for linear and cubic modes; leave it out for mode {mode!r}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolate: antialias is for modes 'bilinear' and 'bicubic', but mode is {mode!r}")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give either size or scale_factor" + (", not both" if size is not None else ""))
    scales = [0.0] * spatial
    if size is not None:
        if recompute_scale_factor:
            raise ValueError("interpolate: recompute_scale_factor says nothing where size is given")
        sizes = [integer("interpolate", "size", m) for m in _per_axis("size", size, spatial)]
    else:
        factors = [number("interpolate", "scale_factor", f) for f in _per_axis("scale_factor", scale_factor, spatial)]
        if not all(0 < f < math.inf for f in factors):
            raise ValueError(f"interpolate: scale_factor is {scale_factor!r} but must be positive and finite")
        sizes = [math.floor(n * f) for n, f in zip(x.shape[2:], factors, strict=True)]
        if not recompute_scale_factor:
            scales = factors
    if min(sizes) < 1 or 0 in x.shape[2:]:
        raise ValueError(
            f"interpolate: the spatial sizes {x.shape[2:]} would become {tuple(sizes)}; all must be at least 1"
        )
    if kind is None:
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[spatial - 1](x, sizes)
    return _resample(x, sizes, kind, bool(align_corners), bool(antialias), scales)
