"""The primitive reductions, along one set of dimensions or all of them: their records and gradient rules.

Every sum is made in one order that follows from the tensor's shape alone, so its bits depend neither on the number of
threads nor on the instruction set (``csrc/kernels/cpu/reduce.inl``). The public functions are in ``reduction.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _engine
from .._arguments import axes, kept_shape
from .elementwise import to
from .record import op
from .shape import _expand, concatenate, permute, reshape

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
Dims = int | Sequence[int] | None
as_tensor = _engine.as_tensor


# ---- samples ----

#: Shapes around the 16 lanes, the chains and the blocks of the kernels, with what is folded: (shape, dims, keepdim).
FOLDS = (
    ((), None, False), ((1,), (0,), False), ((7,), None, False), ((16,), (0,), True), ((17,), (-1,), False),
    ((33,), None, True), ((64,), None, False), ((65,), None, False), ((130,), None, False), ((3, 5), (0,), False),
    ((3, 5), (-1,), True), ((3, 5), (), False), ((9, 16), (0,), False), ((10, 65), (0,), True),
    ((2, 3, 65), (0, 2), False), ((2, 3, 2, 3), (1, 3), True), ((4, 1, 6), (1,), False), ((4, 0), (0,), False),
    ((300, 7), (0,), False), ((2, 4101), (1,), False), ((3, 260, 5), (1,), False),
)  # fmt: skip
_EMPTY = (((0,), None, False), ((0, 3), (0,), False), ((3, 0), (1,), True), ((2, 0, 3), (0, 1), False))
_LONG = (((40_003,), None, False), ((700, 120), (0,), False), ((120, 700), (1,), False))


def folds(make: Any, shapes: Any, **limits: float) -> list[tuple]:
    return [(make(*shape, **limits), dims, keep) for shape, dims, keep in shapes]


def _distinct_folds(make: Any) -> list[tuple]:
    return [(make.distinct(*shape), dims, keep) for shape, dims, keep in FOLDS]


def fold_errors(make: Any) -> list[tuple]:
    return [
        ((make(2, 3), (2,), False), IndexError, r"dim 2 is out of range for shape \(2, 3\)"),
        ((make(2, 3), (1, -1), False), ValueError, r"dim 1 is given twice for shape \(2, 3\)"),
    ]


def _extremum_errors(make: Any) -> list[tuple]:
    return [
        *fold_errors(make),
        ((make(2, 0), (1,), False), ValueError, r"dim 1 of shape \(2, 0\) is empty"),
        ((make(0), None, False), ValueError, r"dim 0 of shape \(0,\) is empty"),
    ]


def _reference(function: Any) -> Any:
    def reference(x: np.ndarray, dims: tuple | None, keepdim: bool) -> Any:
        return function(x, axis=dims, keepdims=keepdim)

    return reference


def _precise(function: Any) -> Any:
    """The same for sums: NumPy's own are less accurate than the kernels in x's type."""

    def reference(x: np.ndarray, dims: tuple | None, keepdim: bool) -> Any:
        if x.dtype.kind != "f":
            return function(x, axis=dims, keepdims=keepdim)
        return np.asarray(function(x.astype(np.longdouble), axis=dims, keepdims=keepdim)).astype(x.dtype)

    return reference


# ---- gradient rules ----


def restored(g: Tensor, x_shape: tuple[int, ...], dims: tuple | None, keepdim: bool) -> Tensor:
    """A result of a reduction with size 1 along the folded dimensions."""
    return g if keepdim else reshape(g, kept_shape(x_shape, dims))


def _spread(g: Tensor, x_shape: tuple[int, ...], dims: tuple | None, keepdim: bool) -> Tensor:
    """A result of a reduction, handed to every element that went into it."""
    if dims is None and not keepdim:
        return _expand(g, x_shape)
    return _expand(restored(g, x_shape, dims, keepdim), x_shape)


def count(x_shape: tuple[int, ...], dims: Dims) -> int:
    return math.prod([x_shape[d] for d in axes(dims, len(x_shape))])


def _mean_gradient(g: Tensor, x_shape: tuple[int, ...], dims: tuple | None, keepdim: bool) -> Tensor:
    return _spread(g / float(count(x_shape, dims)), x_shape, dims, keepdim)


def _extremum_gradient(g: Tensor, x: Tensor, y: Tensor, dims: tuple | None, keepdim: bool) -> Tensor:
    """g in equal parts to all elements that are equal to the extremum."""
    ties = to(x == restored(y, x.shape, dims, keepdim), x.dtype)
    return ties * (restored(g, x.shape, dims, keepdim) / fold_sum(ties, dims, True))


def _product_of_others(x: Tensor, dims: tuple | None) -> Tensor:
    """For each element the product of all others that are folded with it.

    Never divides, so zeros are no special case, and neither are they for its own gradients: a tree of pairwise products
    up, and down again the product of each node's parent with its sibling.
    """
    folded = axes(dims, x.ndim)
    kept = [d for d in range(x.ndim) if d not in folded]
    order = (*kept, *folded)
    n, rows = count(x.shape, folded), count(x.shape, kept)
    if n * rows == 0:
        return x
    moved = permute(x, order)
    width = 1 << (n - 1).bit_length()
    leaves = reshape(moved, (rows, n))
    if width > n:
        leaves = concatenate([leaves, as_tensor(np.ones((rows, width - n), x.dtype))], 1)
    levels = [leaves]
    while levels[-1].shape[1] > 1:
        levels.append(levels[-1][:, 0::2] * levels[-1][:, 1::2])
    others = as_tensor(np.ones((rows, 1), x.dtype))
    for level in reversed(levels[:-1]):
        pairs = reshape(level, (rows, level.shape[1] // 2, 2))
        siblings = pairs[:, :, ::-1]
        others = reshape(reshape(others, (rows, others.shape[1], 1)) * siblings, level.shape)
    back = [order.index(d) for d in range(x.ndim)]
    return permute(reshape(others[:, :n], moved.shape), back)


def sum_to(g: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``g`` summed over the dimensions along which a tensor of this shape was broadcast."""
    lead = g.ndim - len(shape)
    stretched = [d for d in range(lead, g.ndim) if shape[d - lead] == 1 and g.shape[d] != 1]
    if not stretched:
        return fold_sum(g, tuple(range(lead)), False) if lead else g
    y = fold_sum(g, (*range(lead), *stretched), True)
    return reshape(y, shape) if lead else y


# ---- primitives: attributes dims (a tuple, or None for all) and keepdim ----

fold_sum = op(
    "sum",
    "x",
    attributes="dims keepdim",
    reference=_precise(np.sum),
    gradient={"x": lambda g, x_shape, dims, keepdim: _spread(g, x_shape, dims, keepdim)},
    formula={"x": r"g \text{ for every element}"},
    samples=lambda make: folds(make, (*FOLDS, *_EMPTY, *_LONG)),
    errors=fold_errors,
    tolerance=512,
    dtypes="any",
    doc="Sum over dims; of integers and bools in int64.",
)
fold_prod = op(
    "prod",
    "x",
    attributes="dims keepdim",
    reference=_precise(np.prod),
    gradient={"x": lambda g, x, dims, keepdim: restored(g, x.shape, dims, keepdim) * _product_of_others(x, dims)},
    formula={"x": r"g \prod_{j \ne i} x_j"},
    samples=lambda make: folds(make, (*FOLDS, *_EMPTY), low=0.8, high=1.2),
    errors=fold_errors,
    tolerance=256,
    dtypes="any",
    doc="Product over dims; of integers and bools in int64.",
)
fold_mean = op(
    "mean",
    "x",
    attributes="dims keepdim",
    reference=_precise(np.mean),
    gradient={"x": lambda g, x_shape, dims, keepdim: _mean_gradient(g, x_shape, dims, keepdim)},
    formula={"x": r"g / n"},
    samples=lambda make: folds(make, (*FOLDS, *_LONG)),
    tolerance=16,
    errors=lambda make: [
        *fold_errors(make),
        ((make.integers(0, 9, (3,)), None, False), TypeError, "mean: x is int64 but must be float"),
    ],
    doc="Arithmetic mean over dims.",
)
fold_amax = op(
    "amax",
    "x",
    attributes="dims keepdim",
    reference=_reference(np.max),
    gradient={"x": lambda g, x, y, dims, keepdim: _extremum_gradient(g, x, y, dims, keepdim)},
    formula={"x": r"g\,[x_i = y] / \#\{j : x_j = y\}"},
    samples=_distinct_folds,
    errors=_extremum_errors,
    dtypes="any",
    doc="Largest element over dims.",
)
fold_amin = op(
    "amin",
    "x",
    attributes="dims keepdim",
    reference=_reference(np.min),
    gradient={"x": lambda g, x, y, dims, keepdim: _extremum_gradient(g, x, y, dims, keepdim)},
    formula={"x": r"g\,[x_i = y] / \#\{j : x_j = y\}"},
    samples=_distinct_folds,
    errors=_extremum_errors,
    dtypes="any",
    doc="Smallest element over dims.",
)
fold_any = op(
    "any",
    "x",
    attributes="dims keepdim",
    reference=_reference(np.any),
    samples=lambda make: [(np.trunc(make(*s)), dims, keep) for s, dims, keep in (*FOLDS, *_EMPTY, *_LONG)],
    errors=fold_errors,
    dtypes="any",
    doc="True where any element over dims is not 0.",
)
fold_all = op(
    "all",
    "x",
    attributes="dims keepdim",
    reference=_reference(np.all),
    samples=lambda make: [(np.trunc(make(*s, high=9.0)), dims, keep) for s, dims, keep in (*FOLDS, *_EMPTY, *_LONG)],
    errors=fold_errors,
    dtypes="any",
    doc="True where every element over dims is not 0.",
)


def _index_samples(make: Any) -> list[tuple]:
    samples = [
        (make.distinct(*shape), dims if dims is None else dims[0], keep)
        for shape, dims, keep in FOLDS
        if dims is None or len(dims) == 1
    ]
    return [*samples, (np.trunc(make(6, 40)), 1, False), (np.trunc(make(40, 6)), 0, True), (make(2, 9, 3), 1, False)]


def _index_errors(make: Any) -> list[tuple]:
    return [
        ((make(2, 3), 2, False), IndexError, r"dim 2 is out of range for shape \(2, 3\)"),
        ((make(2, 0), 1, False), ValueError, r"dim 1 of shape \(2, 0\) is empty"),
        ((make(0), None, False), ValueError, r"dim 0 of shape \(0,\) is empty"),
    ]


arg_max = op(
    "argmax",
    "x",
    attributes="dim keepdim",
    reference=_reference(np.argmax),
    samples=_index_samples,
    errors=_index_errors,
    dtypes="any",
    doc="Index of the first largest element; NaN counts as larger than everything.",
)
arg_min = op(
    "argmin",
    "x",
    attributes="dim keepdim",
    reference=_reference(np.argmin),
    samples=_index_samples,
    errors=_index_errors,
    dtypes="any",
    doc="Index of the first smallest element; NaN counts as smaller than everything.",
)


def _cumsum_reference(x: np.ndarray, dim: int, reverse: bool) -> np.ndarray:
    if x.ndim == 0:
        return x
    wide = x.astype(np.float64) if x.dtype.kind == "f" else x  # float64 sums in sequence, as the kernel does
    y = np.flip(np.cumsum(np.flip(wide, dim), dim), dim) if reverse else np.cumsum(wide, dim)
    return y.astype(x.dtype) if x.dtype.kind == "f" else y


_RUNNING = (
    ((), 0, False), ((1,), 0, False), ((7,), 0, True), ((65,), -1, False), ((3, 5), 0, False), ((3, 5), 1, True),
    ((9, 70), 1, False), ((70, 9), 0, True), ((2, 3, 17), 1, False), ((0, 3), 1, False), ((40_003,), 0, False),
)  # fmt: skip
running_sum: Any = op(
    "cumsum",
    "x",
    attributes="dim reverse",
    reference=_cumsum_reference,
    gradient={"x": lambda g, dim, reverse: running_sum(g, dim, not reverse)},
    formula={"x": r"\sum_{j \geq i} g_j"},
    samples=lambda make: [(make(*shape), dim, reverse) for shape, dim, reverse in _RUNNING],
    errors=lambda make: [((make(2, 3), 2, False), IndexError, r"dim 2 is out of range for shape \(2, 3\)")],
    tolerance=16,
    dtypes="any",
    doc="Running sum along dim, from the end if reverse; of integers and bools in int64.",
)
