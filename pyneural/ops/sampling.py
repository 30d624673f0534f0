"""Images and volumes read at points of a grid, which may depend on parameters: spatial transformers.

``grid_sample`` has two gradients, ops themselves: ``grid_sample_backward`` for x and ``grid_sample_slopes`` for the
points. Only the latter's gradient, which second derivatives in the points ask for, is made of other ops.

Jaderberg, Simonyan, Zisserman, Kavukcuoglu, "Spatial transformer networks" (2015).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import _engine
from .._arguments import integers
from .elementwise import isnan, where
from .gathering import gather, to_dtype
from .linalg import matmul
from .record import composed, op
from .shape import stack

__all__ = ["affine_grid", "grid_sample"]
METHODS = ()

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor

#: Public names, numbered as the primitives are told.
_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")
_BILINEAR, _NEAREST, _BICUBIC = range(3)
_ZEROS, _BORDER, _REFLECTION = range(3)
_A = -0.75  # of Keys' cubic, as in interpolate

# ---- references: point by point ----


def _bounded(at: float, n: int, padding: int, align_corners: bool) -> tuple[float, int]:
    """Where the padding reads instead of ``at``, and the derivative."""
    low, high = (0.0, n - 1.0) if align_corners else (-0.5, n - 0.5)
    sign = 1
    if padding == _ZEROS:
        return at, sign
    if padding == _REFLECTION:
        sign = 1 if at >= low else -1
        turns, rest = divmod(abs(at - low), high - low) if high > low else (0.0, 0.0)
        sign, at = (sign, low + rest) if turns % 2 == 0 else (-sign, high - rest)
    return min(max(at, 0.0), n - 1.0), sign if 0 < at < n - 1 else 0


def _reads(g: float, n: int, mode: int, padding: int, align_corners: bool) -> list[tuple[int, float, float]]:
    """The places along an axis of n elements that are read for the coordinate g, their weights, and the derivatives."""
    scale = 0.0 if math.isnan(g) else (n - 1) / 2 if align_corners else n / 2
    g = -1.0 if math.isnan(g) else g
    at = (g + 1) / 2 * (n - 1) if align_corners else ((g + 1) * n - 1) / 2
    if mode == _BICUBIC:
        low = math.floor(at) if math.isfinite(at) else at
        taps = []
        for k in (-1, 0, 1, 2):
            away = abs(at - low - k)
            if k in (0, 1):
                weight, slope = ((_A + 2) * away - (_A + 3)) * away**2 + 1, (3 * (_A + 2) * away - 2 * (_A + 3)) * away
            else:
                weight, slope = _A * ((away - 5) * away + 8) * away - 4 * _A, _A * ((3 * away - 10) * away + 8)
            taps.append((_bounded(low + k, n, padding, align_corners)[0], weight, slope if k < 1 else -slope))
    else:
        at, sign = _bounded(at, n, padding, align_corners)
        low = math.floor(at) if math.isfinite(at) else at
        taps = [(low, 1 - (at - low), -sign), (low + 1, at - low, sign)] if mode == _BILINEAR else [(at, 1.0, 0.0)]
    return [(round(i), w, v * scale) for i, w, v in taps if math.isfinite(i) and 0 <= round(i) < n]


def _points(grid: np.ndarray, sizes: Sequence[int], *how: Any) -> Iterator[tuple[tuple, tuple, float, list[float]]]:
    """For all points: where it stands in the grid, a place that it reads, the weight, and its derivatives by x, y, z."""
    for point in np.ndindex(grid.shape[:-1]):
        axes = [_reads(g, n, *how) for g, n in zip(grid[point][::-1].tolist(), sizes, strict=True)]
        for taps in itertools.product(*axes):
            weights = [w for _, w, _ in taps]
            slopes = [math.prod([*weights[:d], v, *weights[d + 1 :]]) for d, (_, _, v) in enumerate(taps)]
            yield point, tuple([i for i, _, _ in taps]), math.prod(weights), slopes[::-1]


def _sample_reference(x: np.ndarray, grid: np.ndarray, *how: Any) -> np.ndarray:
    y = np.zeros((*x.shape[:2], *grid.shape[1:-1]), x.dtype)
    for (n, *point), place, weight, _ in _points(grid, x.shape[2:], *how):
        at, source = (n, slice(None), *point), (n, slice(None), *place)
        y[at] += weight * x[source]
    return y


def _backward_reference(x: np.ndarray, grid: np.ndarray, size: Sequence[int], *how: Any) -> np.ndarray:
    dx = np.zeros((*x.shape[:2], *size), x.dtype)
    for (n, *point), place, weight, _ in _points(grid, size, *how):
        at, source = (n, slice(None), *point), (n, slice(None), *place)
        dx[source] += weight * x[at]
    return dx


def _slopes_reference(dy: np.ndarray, x: np.ndarray, grid: np.ndarray, *how: Any) -> np.ndarray:
    slopes = np.zeros(grid.shape, grid.dtype)
    for (n, *point), place, _, slope in _points(grid, x.shape[2:], *how):
        at, source, to = (n, slice(None), *point), (n, slice(None), *place), (n, *point)
        slopes[to] += (dy[at] * x[source]).sum() * np.array(slope)
    return slopes


def _affine_reference(theta: np.ndarray, size: Sequence[int], align_corners: bool = False) -> np.ndarray:
    axes = [np.linspace(-1, 1, n) * (1 if align_corners else (n - 1) / n) if n > 1 else np.zeros(1) for n in size[2:]]
    points = np.stack([*np.meshgrid(*axes, indexing="ij")[::-1], np.ones(tuple(size[2:]))], axis=-1)
    return np.einsum("n...j,nij->n...i", np.broadcast_to(points, (len(theta), *points.shape)), theta).astype(
        theta.dtype
    )


# ---- made of other ops, for second derivatives in the points ----


def _inside(at: Tensor, low: float, high: float) -> Tensor:
    """``at`` limited to [low, high], with no slope at the limits and beyond."""
    middle = (at > low).logical_and(at < high)
    return where(middle, at, at.detach().clamp(low, high))


def _continued(at: Tensor, n: int, padding: int, align_corners: bool) -> Tensor:
    if padding == _REFLECTION:
        low, span = (0.0, n - 1.0) if align_corners else (-0.5, float(n))
        if span == 0:
            return _inside(at, 0.0, 0.0)
        away = where(at < low, low - at, at - low)
        turns = (away.detach() / span).floor()
        rest = away - turns * span
        at = low + where(turns.remainder(2) == 0, rest, span - rest)
    return _inside(at, 0.0, n - 1.0) if padding != _ZEROS else at


def _axis(g: Tensor, n: int, mode: int, padding: int, align_corners: bool) -> tuple[Tensor, ...]:
    """For coordinates g in [-1, 1] along an axis of n elements, (N, P): places of the taps, their weights, and whether
    they are within the axis, each (N, T, P)."""
    at = (g + 1.0) / 2.0 * (n - 1.0) if align_corners else ((g + 1.0) * float(n) - 1.0) / 2.0
    if mode == _BICUBIC:
        low = at.detach().floor()
        t = at - low
        inner = [((_A + 2) * s - (_A + 3)) * s * s + 1.0 for s in (t, 1.0 - t)]
        outer = [((s - 5.0) * s + 8.0) * s * _A - 4 * _A for s in (1.0 + t, 2.0 - t)]
        weights = stack([outer[0], *inner, outer[1]], 1)
        places = _continued(stack([low + float(k) for k in (-1, 0, 1, 2)], 1), n, padding, align_corners)
    else:
        at = _continued(at, n, padding, align_corners)
        low = at.detach().floor()
        if mode == _NEAREST:
            places, weights = stack([at.detach().round()], 1), stack([at * 0.0 + 1.0], 1)
        else:
            places, weights = stack([low, low + 1.0], 1), stack([1.0 - (at - low), at - low], 1)
    places = places.detach().round()
    there = (places >= 0.0).logical_and(places <= n - 1.0)
    # The weights of an infinite coordinate are NaN.
    return to_dtype(where(there, places, 0.0), np.dtype(np.int64)), where(there, weights, 0.0), there


def _by_ops(x: Tensor, grid: Tensor, mode: int, padding: int, align_corners: bool) -> Tensor:
    batch, channels, *sizes = x.shape
    outputs = grid.shape[1:-1]
    count = math.prod(outputs)
    points = grid.reshape(batch, count, len(sizes))
    points = where(isnan(points), -1.0, points)
    total: tuple[Tensor, ...] = ()
    for axis, n in enumerate(sizes):
        own = _axis(points[:, :, len(sizes) - 1 - axis], n, mode, padding, align_corners)
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


# ---- primitives ----


def _slopes_gradients(
    g: Tensor, dy: Tensor, x: Tensor, grid: Tensor, mode: int, padding: int, align_corners: bool
) -> tuple[Tensor, ...]:
    from ..autodiff import enable_grad, gradients, is_grad_enabled

    further = is_grad_enabled()
    with enable_grad():
        operands = [t if t.requires_grad else t.detach().requires_grad_() for t in (dy, x, grid)]
        y = _by_ops(operands[1], operands[2], mode, padding, align_corners)
        slopes = gradients(y, operands[2], operands[0], create_graph=True)
        return gradients(slopes, operands, g, create_graph=further, materialize_grads=True)


def _samples(make: Any) -> list[tuple]:
    """x, grid, mode, padding, align_corners."""

    def points(*shape: int) -> np.ndarray:
        # Of the range, with some beyond it; not at whole coordinates, where the derivative jumps.
        return np.random.default_rng(3).uniform(-1.4, 1.4, shape).astype(make(1).dtype)

    return [
        (make(2, 3, 4, 5), points(2, 3, 2, 2), _BILINEAR, _ZEROS, False),
        (make(1, 2, 3, 4), points(1, 2, 3, 2), _BILINEAR, _ZEROS, True),
        (make(1, 2, 3, 4), points(1, 2, 3, 2), _BILINEAR, _BORDER, False),
        (make(1, 2, 3, 4), points(1, 2, 3, 2), _BILINEAR, _REFLECTION, True),
        (make(1, 2, 3, 4), points(1, 2, 3, 2), _NEAREST, _REFLECTION, False),
        (make(2, 1, 5, 4), points(2, 2, 2, 2), _BICUBIC, _ZEROS, False),
        (make(2, 1, 5, 4), points(2, 2, 2, 2), _BICUBIC, _REFLECTION, False),
        (make(2, 1, 1, 4), points(2, 2, 2, 2), _BICUBIC, _BORDER, True),
        (make(1, 2, 2, 3, 4), points(1, 2, 1, 3, 3), _BILINEAR, _ZEROS, False),
        (make(1, 2, 2, 3, 4), points(1, 2, 1, 3, 3), _BILINEAR, _REFLECTION, False),
        (make(1, 17, 7, 6), points(1, 9, 11, 2), _BILINEAR, _BORDER, False),
        (make(0, 2, 3, 4), points(0, 2, 3, 2), _BILINEAR, _ZEROS, False),
    ]


def _errors(make: Any, build: Callable[..., tuple]) -> list[tuple]:
    """``build(x, grid, mode)`` makes the arguments of the primitive."""
    return [
        (build(make(3, 4, 5), make(3, 2, 1), 0), ValueError, r"x must be \(N, C, H, W\) or \(N, C, D, H, W\)"),
        (build(make(2, 3, 4, 5), make(1, 3, 3, 2), 0), ValueError, r"grid .*1, 3, 3, 2\) must be \(N, \.\.\., 2\)"),
        (build(make(2, 3, 0, 5), make(2, 3, 3, 2), 0), ValueError, "x has no elements to read"),
        (build(make(2, 3, 4, 5, 6), make(2, 3, 3, 3, 3), 2), ValueError, "bicubic reading is for images only"),
    ]


def _result(x: np.ndarray, grid: np.ndarray, make: Any) -> np.ndarray:
    return np.asarray(make(*x.shape[:2], *grid.shape[1:-1]))


_grid_sample: Any = op(
    "grid_sample",
    "x grid",
    attributes="mode padding align_corners",
    reference=_sample_reference,
    gradient={
        "x": lambda g, grid, x_shape, mode, padding, align_corners: _grid_sample_backward(
            g, grid, x_shape[2:], mode, padding, align_corners),
        "grid": lambda g, x, grid, mode, padding, align_corners: _grid_sample_slopes(
            g, x, grid, mode, padding, align_corners),
    },
    formula={"x": r"g\text{ times the weight, at each place}", "grid": r"g\,x\text{ times the weight's derivative}"},
    samples=_samples,
    errors=lambda make: _errors(make, lambda x, grid, mode: (x, grid, mode, 0, False)),
    tolerance=64,
)  # fmt: skip

#: The adjoint in x: ``x`` is the gradient of the result, ``size`` the image's.
_grid_sample_backward: Any = op(
    "grid_sample_backward",
    "x grid",
    attributes="size mode padding align_corners",
    reference=_backward_reference,
    gradient={
        "x": lambda g, grid, mode, padding, align_corners: _grid_sample(g, grid, mode, padding, align_corners),
        "grid": lambda g, x, grid, mode, padding, align_corners: _grid_sample_slopes(
            x, g, grid, mode, padding, align_corners),
    },
    formula={"x": r"g\text{ read at the points}", "grid": r"x\,g\text{ times the weight's derivative}"},
    samples=lambda make: [(_result(x, grid, make), grid, x.shape[2:], *how) for x, grid, *how in _samples(make)],
    errors=lambda make: [
        *_errors(make, lambda x, grid, mode: (x, grid, x.shape[2:], mode, 0, False))[:3],
        ((make(2, 3, 4, 4), make(2, 3, 4, 2), (5, 5), 0, 0, False), ValueError, "the gradient is .* but the result is"),
        ((make(2, 3, 3, 4), make(2, 3, 4, 2), (5, 5, 5), 0, 0, False), ValueError, "3 sizes for a gradient of shape"),
    ],
    tolerance=64,
)  # fmt: skip

#: The gradient for the points.
_grid_sample_slopes: Any = op(
    "grid_sample_slopes",
    "dy x grid",
    attributes="mode padding align_corners",
    reference=_slopes_reference,
    gradient={"dy x grid": _slopes_gradients},
    formula={"dy": r"g\cdot\partial y/\partial\text{grid}", "x": r"dy\,g\text{ times the weight's derivative}",
             "grid": r"dy\,x\,g\text{ times the weight's second derivative}"},
    samples=lambda make: [(_result(x, grid, make), x, grid, *how) for x, grid, *how in _samples(make)],
    errors=lambda make: [
        *_errors(make, lambda x, grid, mode: (x, x, grid, mode, 0, False)),
        ((make(2, 3, 4, 4), make(2, 3, 5, 5), make(2, 3, 4, 2), 0, 0, False), ValueError, "the gradient is .* but the"),
    ],
    tolerance=256,
)  # fmt: skip

# ---- public ----


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
    how = _MODES.index(mode), _PADDINGS.index(padding_mode), bool(align_corners)
    return _grid_sample(x, grid, *how)


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
