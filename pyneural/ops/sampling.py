"""Images and volumes read at points of a grid, which may depend on parameters: spatial transformers.

Jaderberg, Simonyan, Zisserman, Kavukcuoglu, "Spatial transformer networks" (2015).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _engine
from .._arguments import integers
from .elementwise import isnan, where
from .gathering import gather, to_dtype
from .linalg import matmul
from .record import composed
from .shape import stack

__all__ = ["affine_grid", "grid_sample"]
METHODS = ()

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor

_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")
_A = -0.75  # of Keys' cubic, as in interpolate

# ---- references: output by output ----


def _bounded(at: float, n: int, padding_mode: str, align_corners: bool) -> float:
    """Where the mode reads instead of ``at``."""
    low, high = (0.0, n - 1.0) if align_corners else (-0.5, n - 0.5)
    if padding_mode == "zeros":
        return at
    if padding_mode == "reflection":
        if high == low:
            return 0.0
        turns, rest = divmod(abs(at - low), high - low)
        at = low + (rest if turns % 2 == 0 else high - low - rest)
    return min(max(at, 0.0), n - 1.0)


def _reads(at: float, n: int, mode: str, padding_mode: str, align_corners: bool) -> list[tuple[int, float]]:
    """The places along an axis of n elements that are read for the coordinate ``at``, and their weights."""
    if mode == "bicubic":
        low = math.floor(at) if math.isfinite(at) else at
        t = at - low
        keys = [((_A * (s - 5) * s + 8 * _A) * s - 4 * _A if s > 1 else ((_A + 2) * s - (_A + 3)) * s * s + 1)
                for s in (1 + t, t, 1 - t, 2 - t)]  # fmt: skip
        taps = [(_bounded(low - 1 + k, n, padding_mode, align_corners), w) for k, w in enumerate(keys)]
    else:
        at = _bounded(at, n, padding_mode, align_corners)
        if not math.isfinite(at):
            return []
        low = math.floor(at)
        taps = [(round(at), 1.0)] if mode == "nearest" else [(low, 1 - (at - low)), (low + 1, at - low)]
    return [(round(i), w) for i, w in taps if math.isfinite(i) and 0 <= round(i) < n]


def _sample_reference(
    x: np.ndarray, grid: np.ndarray, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool = False
) -> np.ndarray:
    sizes, y = x.shape[2:], np.zeros((*x.shape[:2], *grid.shape[1:-1]), x.dtype)
    for point in np.ndindex(grid.shape[:-1]):
        n, to, reads = point[0], np.moveaxis(y, 1, -1)[point], []
        for g, size in zip(grid[point][::-1].tolist(), sizes, strict=True):
            g = -1.0 if math.isnan(g) else g
            at = (g + 1) / 2 * (size - 1) if align_corners else ((g + 1) * size - 1) / 2
            reads.append(_reads(at, size, mode, padding_mode, align_corners))
        for taps in np.ndindex(*map(len, reads)):
            chosen = [r[t] for r, t in zip(reads, taps, strict=True)]
            place = (n, slice(None), *(i for i, _ in chosen))
            to += math.prod(w for _, w in chosen) * x[place]
    return y


def _affine_reference(theta: np.ndarray, size: Sequence[int], align_corners: bool = False) -> np.ndarray:
    axes = [np.linspace(-1, 1, n) * (1 if align_corners else (n - 1) / n) if n > 1 else np.zeros(1) for n in size[2:]]
    points = np.stack([*np.meshgrid(*axes, indexing="ij")[::-1], np.ones(tuple(size[2:]))], axis=-1)
    return np.einsum("n...j,nij->n...i", np.broadcast_to(points, (len(theta), *points.shape)), theta).astype(
        theta.dtype
    )


def _sampled(make: Any) -> list[tuple]:
    def points(*shape: int) -> np.ndarray:
        # Of the range, with some beyond it; away from the whole coordinates, where the derivative jumps.
        rng = np.random.default_rng(3)
        return (rng.uniform(-1.4, 1.4, shape)).astype(make(1).dtype)

    return [
        (make(2, 3, 4, 5), points(2, 3, 2, 2)),
        (make(1, 2, 3, 4), points(1, 2, 3, 2), "bilinear", "zeros", True),
        (make(1, 2, 3, 4), points(1, 2, 3, 2), "bilinear", "border"),
        (make(1, 2, 3, 4), points(1, 2, 3, 2), "bilinear", "reflection", True),
        (make(1, 2, 3, 4), points(1, 2, 3, 2), "nearest", "reflection"),
        (make(2, 1, 5, 4), points(2, 2, 2, 2), "bicubic"),
        (make(2, 1, 5, 4), points(2, 2, 2, 2), "bicubic", "reflection"),
        (make(2, 1, 1, 4), points(2, 2, 2, 2), "bicubic", "border", True),
        (make(1, 2, 2, 3, 4), points(1, 2, 1, 3, 3)),
        (make(1, 2, 2, 3, 4), points(1, 2, 1, 3, 3), "bilinear", "reflection"),
        (make(0, 2, 3, 4), points(0, 2, 3, 2)),
    ]


def _sample_errors(make: Any) -> list[tuple]:
    x, grid = make(2, 3, 4, 5), make(2, 3, 3, 2)
    return [
        ((make(3, 4, 5), grid), ValueError, r"x must be \(N, C, H, W\) or \(N, C, D, H, W\), got shape"),
        ((x, make(2, 3, 3, 3)), ValueError, r"grid must be \(N, \.\.\., 2\) .* of shape \(2, \*, \*, 2\)"),
        ((x, make(1, 3, 3, 2)), ValueError, r"but its shape is \(1, 3, 3, 2\)"),
        ((make(2, 3, 0, 5), grid), ValueError, "x has no elements to read"),
        ((x, grid, "linear"), ValueError, "mode is 'linear' but must be one of"),
        ((x, grid, "bilinear", "wrap"), ValueError, "padding_mode is 'wrap' but must be one of"),
        ((make(2, 3, 4, 5, 6), make(2, 3, 3, 3, 3), "bicubic"), ValueError, "mode 'bicubic' is for images"),
        ((x, make(2, 3, 3, 2).astype(np.int64)), TypeError, "x is .* and grid is int64"),
    ]


# ---- along one axis ----


def _inside(at: Tensor, low: float, high: float) -> Tensor:
    """``at`` limited to [low, high], with no slope at the limits and beyond."""
    middle = (at > low).logical_and(at < high)
    return where(middle, at, at.detach().clamp(low, high))


def _continued(at: Tensor, n: int, padding_mode: str, align_corners: bool) -> Tensor:
    if padding_mode == "reflection":
        low, span = (0.0, n - 1.0) if align_corners else (-0.5, float(n))
        if span == 0:
            return _inside(at, 0.0, 0.0)
        away = where(at < low, low - at, at - low)
        turns = (away.detach() / span).floor()
        rest = away - turns * span
        at = low + where(turns.remainder(2) == 0, rest, span - rest)
    return _inside(at, 0.0, n - 1.0) if padding_mode != "zeros" else at


def _axis(g: Tensor, n: int, mode: str, padding_mode: str, align_corners: bool) -> tuple[Tensor, ...]:
    """For coordinates g in [-1, 1] along an axis of n elements, (N, P): places of the taps, their weights, and whether
    they are within the axis, each (N, T, P)."""
    at = (g + 1.0) / 2.0 * (n - 1.0) if align_corners else ((g + 1.0) * float(n) - 1.0) / 2.0
    if mode == "bicubic":
        low = at.detach().floor()
        t = at - low
        inner = [((_A + 2) * s - (_A + 3)) * s * s + 1.0 for s in (t, 1.0 - t)]
        outer = [((s - 5.0) * s + 8.0) * s * _A - 4 * _A for s in (1.0 + t, 2.0 - t)]
        weights = stack([outer[0], *inner, outer[1]], 1)
        places = _continued(stack([low + float(k) for k in (-1, 0, 1, 2)], 1), n, padding_mode, align_corners)
    else:
        at = _continued(at, n, padding_mode, align_corners)
        low = at.detach().floor()
        if mode == "nearest":
            places, weights = stack([at.detach().round()], 1), stack([at * 0.0 + 1.0], 1)
        else:
            places, weights = stack([low, low + 1.0], 1), stack([1.0 - (at - low), at - low], 1)
    places = places.detach().round()
    there = (places >= 0.0).logical_and(places <= n - 1.0)
    # The weights of an infinite coordinate are NaN.
    return to_dtype(where(there, places, 0.0), np.dtype(np.int64)), where(there, weights, 0.0), there


# ---- public ----


@composed(reference=_sample_reference, samples=_sampled, errors=_sample_errors, tolerance=64)
def grid_sample(
    x: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Tensor:
    """x read at the points of a grid, as ``torch.nn.functional.grid_sample``; differentiable in x and in the points.

    Args:
        x: (N, C, H, W) or (N, C, D, H, W), float.
        grid: (N, H', W', 2) or (N, D', H', W', 3) of x's type: for each output the point (x, y[, z]) to read, from -1
            (left, top, front) to 1. NaN counts as -1.
        mode: "bilinear" (of volumes: trilinear), "nearest" (halves to the even one; no gradient for the points), or
            "bicubic" (images only; Keys 1981 with a = -3/4).
        padding_mode: What lies outside: "zeros", the nearest "border" element, or the image's "reflection".
        align_corners: Whether -1 and 1 are the centres of the outer elements; else, the default, their outer edges.

    Returns:
        (N, C, H', W') or (N, C, D', H', W').

    Raises:
        ValueError: The shapes do not fit each other, x has no element, or a mode is unknown.
        TypeError: x and grid are not of one float type.
    """
    x, grid = as_tensor(x), as_tensor(grid)
    if x.ndim not in (4, 5):
        raise ValueError(f"grid_sample: x must be (N, C, H, W) or (N, C, D, H, W), got shape {x.shape}")
    spatial = x.ndim - 2
    if grid.ndim != x.ndim or grid.shape[0] != x.shape[0] or grid.shape[-1] != spatial:
        wanted = ", ".join([str(x.shape[0]), *"*" * spatial, str(spatial)])
        raise ValueError(f"grid_sample: grid must be (N, ..., {spatial}) for x of shape {x.shape}, which is of shape "
                         f"({wanted}), but its shape is {grid.shape}")  # fmt: skip
    if x.dtype != grid.dtype or x.dtype.kind != "f":
        raise TypeError(f"grid_sample: x is {x.dtype} and grid is {grid.dtype}, but both must be of one float type")
    if 0 in x.shape[2:]:
        raise ValueError(f"grid_sample: x has no elements to read, its shape is {x.shape}")
    for what, value, known in (("mode", mode, _MODES), ("padding_mode", padding_mode, _PADDINGS)):
        if value not in known:
            raise ValueError(f"grid_sample: {what} is {value!r} but must be one of {', '.join(map(repr, known))}")
    if mode == "bicubic" and spatial == 3:
        raise ValueError("grid_sample: mode 'bicubic' is for images (N, C, H, W) only")
    batch, channels, *sizes = x.shape
    outputs = grid.shape[1:-1]
    count = math.prod(outputs)
    points = grid.reshape(batch, count, spatial)
    points = where(isnan(points), -1.0, points)
    total: tuple[Tensor, ...] = ()
    for axis, n in enumerate(sizes):
        own = _axis(points[:, :, spatial - 1 - axis], n, mode, padding_mode, bool(align_corners))
        if total:
            # Every tap of the axes before with every one of this axis.
            (index, weight, there), (places, factors, inside) = (
                [t.unsqueeze(d) for t in ts] for d, ts in ((2, total), (1, own))
            )
            own = (index * n + places, weight * factors, there.logical_and(inside))
            own = tuple([t.reshape(batch, t.shape[1] * t.shape[2], count) for t in own])
        total = own
    index, weight, there = total
    taps = index.shape[1]
    reads = index.reshape(batch, 1, taps * count).expand(batch, channels, taps * count)
    read = gather(x.reshape(batch, channels, math.prod(sizes)), 2, reads).reshape(batch, channels, taps, count)
    read = where(there.unsqueeze(1), read, 0.0)  # a weight of 0 would not undo an infinite element
    return (read * weight.unsqueeze(1)).sum(2).reshape(batch, channels, *outputs)


@composed(
    reference=_affine_reference,
    samples=lambda make: [(make(2, 2, 3), (2, 1, 3, 4)), (make(2, 2, 3), (2, 5, 1, 4), True),
                          (make(1, 3, 4), (1, 1, 2, 3, 4)), (make(1, 3, 4), (1, 1, 2, 3, 1), True)],
    errors=lambda make: [((make(2, 2, 3), (2, 1, 3)), ValueError, r"size must be \(N, C, H, W\) or"),
                         ((make(2, 2, 3), (2, 1, 0, 3)), ValueError, "size is .* but must be positive"),
                         ((make(2, 2, 2), (2, 1, 4, 3)), ValueError, r"theta must be \(2, 2, 3\), .* \(2, 2, 2\)"),
                         ((make(1, 2, 3).astype(np.int64), (1, 1, 4, 3)), TypeError, "theta is int64")],
)  # fmt: skip
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The points theta (p, 1) for every place p of an output, for :func:`grid_sample`, as
    ``torch.nn.functional.affine_grid``.

    Args:
        theta: (N, 2, 3) or (N, 3, 4): a linear map of (x, y[, z]) and, in the last column, a shift.
        size: Of the output: (N, C, H, W) or (N, C, D, H, W).
        align_corners: Whether the outer places are at -1 and 1; else, the default, their outer edges are.

    Returns:
        (N, H, W, 2) or (N, D, H, W, 3).

    Raises:
        ValueError: theta or size has another shape, or size is not positive.
        TypeError: theta is not of a float type.
    """
    theta = as_tensor(theta)
    sizes = integers("affine_grid", "size", size)
    if len(sizes) not in (4, 5):
        raise ValueError(f"affine_grid: size must be (N, C, H, W) or (N, C, D, H, W), got {sizes}")
    if min(sizes) < 1:
        raise ValueError(f"affine_grid: size is {sizes} but must be positive")
    if theta.dtype.kind != "f":
        raise TypeError(f"affine_grid: theta is {theta.dtype} but must be of a float type")
    n = len(sizes) - 2
    if theta.shape != (sizes[0], n, n + 1):
        raise ValueError(f"affine_grid: theta must be {(sizes[0], n, n + 1)}, as size is {sizes}, but is {theta.shape}")
    axes = [(2 * np.arange(m) - (m - 1)) / (max(m - 1, 1) if align_corners else m) for m in sizes[2:]]
    points = np.stack([*np.meshgrid(*axes, indexing="ij")[::-1], np.ones(sizes[2:])], axis=-1)
    flat = as_tensor(points.reshape(-1, n + 1).astype(theta.dtype))
    return matmul(flat, theta.transpose(1, 2)).reshape(sizes[0], *sizes[2:], n)
