"""Reductions: sums, products, extrema and what is made of them. The primitives are in ``folds.py``."""

from __future__ import annotations

import builtins
import math
from typing import Any, NamedTuple

import numpy as np

from .. import _engine
from .._arguments import axes, dims_of, numpy_names
from .elementwise import abs as magnitude
from .elementwise import maximum, minimum, sqrt, to, where
from .folds import (
    Dims,
    Tensor,
    arg_max,
    arg_min,
    as_tensor,
    count,
    fold_all,
    fold_amax,
    fold_amin,
    fold_any,
    fold_mean,
    fold_prod,
    fold_sum,
    running_sum,
)
from .folds import sum_to as sum_to  # the engine's, for gradients of broadcast inputs
from .gathering import gather
from .record import composed
from .shape import reshape

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "count_nonzero", "cumsum", "max", "mean", "min", "norm", "prod",
    "std", "sum", "var",
]  # fmt: skip
METHODS = tuple(__all__)


# ---- the public functions ----


def converted(x: Any, dtype: Any, name: str) -> Tensor:
    """x as a tensor, of this dtype unless it is None."""
    if dtype is None:
        return as_tensor(x, name)
    return to(as_tensor(x, name), dtype)


@numpy_names
def sum(x: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum over dimensions.

    Args:
        x: Tensor of any dtype.
        dim: A dimension or several (``axis`` is accepted too); all of them by default.
        keepdim: Keep the summed dimensions, with size 1.
        dtype: Convert to this dtype first.

    Returns:
        The sum, in x's dtype; of integers and bools in int64. An empty sum is 0.

    Raises:
        IndexError: x has no such dimension.
        ValueError: A dimension is named twice.
    """
    return fold_sum(converted(x, dtype, "sum"), dims_of("sum", dim), bool(keepdim))


@numpy_names
def prod(x: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Product over dimensions, with gradients that are right with any number of zeros. Arguments as for :func:`sum`."""
    return fold_prod(converted(x, dtype, "prod"), dims_of("prod", dim), bool(keepdim))


@numpy_names
def mean(x: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Arithmetic mean over dimensions. Arguments as for :func:`sum`; the mean of nothing is NaN.

    Raises:
        TypeError: x is of integers or bools and no float dtype is given (as in PyTorch).
    """
    return fold_mean(converted(x, dtype, "mean"), dims_of("mean", dim), bool(keepdim))


@numpy_names
def amax(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Largest element over dimensions; NaN if there is one. Elements that tie share the gradient evenly.

    Raises:
        ValueError: One of the dimensions is empty.
    """
    return fold_amax(as_tensor(x, "amax"), dims_of("amax", dim), bool(keepdim))


@numpy_names
def amin(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Smallest element over dimensions; NaN if there is one. Elements that tie share the gradient evenly.

    Raises:
        ValueError: One of the dimensions is empty.
    """
    return fold_amin(as_tensor(x, "amin"), dims_of("amin", dim), bool(keepdim))


@numpy_names
def any(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """True where any element over the dimensions is not 0 (NaN is not); False for no elements."""
    return fold_any(as_tensor(x, "any"), dims_of("any", dim), bool(keepdim))


@numpy_names
def all(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """True where every element over the dimensions is not 0 (NaN is not); True for no elements."""
    return fold_all(as_tensor(x, "all"), dims_of("all", dim), bool(keepdim))


@numpy_names
def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index, int64, of the largest element: the first of equal ones, and the first NaN if there is one.

    Args:
        x: Tensor of any dtype.
        dim: The dimension to look along; by default the flattened tensor.
        keepdim: Keep the dimension (without dim: all of them), with size 1.

    Raises:
        IndexError: x has no such dimension.
        ValueError: The dimension is empty.
    """
    return arg_max(as_tensor(x, "argmax"), dim, bool(keepdim))


@numpy_names
def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the smallest element; see :func:`argmax`."""
    return arg_min(as_tensor(x, "argmin"), dim, bool(keepdim))


@numpy_names
def cumsum(x: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running sum along a dimension; of integers and bools in int64. float32 is added up in float64.

    Raises:
        IndexError: x has no such dimension.
    """
    return running_sum(converted(x, dtype, "cumsum"), dim, False)


class Extremum(NamedTuple):
    """What ``max`` and ``min`` along a dimension return."""

    values: Tensor
    indices: Tensor


def _along(name: str, index_of: Any, x: Tensor, dim: int, keepdim: bool) -> Extremum:
    if isinstance(dim, (tuple, list)):
        raise TypeError(f"{name}: dim must be one integer, got {dim}; a{name} takes several")
    if x.ndim == 0:
        return Extremum(reshape(x, ()), index_of(x, dim, False))
    indices = index_of(x, dim, True)
    values = gather(x, dim, indices)
    if keepdim:
        return Extremum(values, indices)
    folded = axes(dim, x.ndim)
    shape = tuple([n for d, n in enumerate(x.shape) if d not in folded])
    return Extremum(reshape(values, shape), reshape(indices, shape))


def _is_array(value: Any) -> bool:
    return isinstance(value, (_engine.Tensor, np.ndarray))


def _extremum(name: str, x: Any, dim: Any, keepdim: bool, other: Any) -> Any:
    if _is_array(dim) and other is None:
        dim, other = None, dim
    if other is not None:
        if dim is not None or keepdim:
            raise TypeError(f"{name}: compares two tensors or reduces one along dim, not both")
        return (maximum if name == "max" else minimum)(x, other)
    x = as_tensor(x, name)
    if dim is None:
        return (fold_amax if name == "max" else fold_amin)(x, None, bool(keepdim))
    return _along(name, arg_max if name == "max" else arg_min, x, dim, bool(keepdim))


@composed(
    reference=lambda x: np.max(x),
    samples=lambda make: [(make.distinct(*s),) for s in ((), (1,), (17,), (3, 5), (2, 3, 65))],
    errors=lambda make: [((make(0, 3),), ValueError, r"dim 0 of shape \(0, 3\) is empty")],
)
@numpy_names
def max(x: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The largest element, the largest elements along a dimension, or the larger of two tensors, as in PyTorch.

    Args:
        x: Tensor of any dtype.
        dim: None for the largest of all elements; a dimension; or a second tensor, as ``other``.
        keepdim: Keep the dimension, with size 1.
        other: A second tensor: the result is ``maximum(x, other)``.

    Returns:
        A 0-d tensor, whose gradient is shared evenly among elements that tie; with a dimension the named tuple
        ``(values, indices)``, where the gradient goes to the first of equal elements. NumPy's ``max`` along an axis is
        :func:`amax`.

    Raises:
        ValueError: There are no elements to choose from, or the two shapes do not broadcast.
        IndexError: x has no such dimension.
        TypeError: dim is a sequence, or given with ``other``.
    """
    return _extremum("max", x, dim, keepdim, other)


@composed(
    reference=lambda x: np.min(x),
    samples=lambda make: [(make.distinct(*s),) for s in ((), (1,), (17,), (3, 5), (2, 3, 65))],
    errors=lambda make: [((make(0, 3),), ValueError, r"dim 0 of shape \(0, 3\) is empty")],
)
@numpy_names
def min(x: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest element, the smallest along a dimension, or the smaller of two tensors; see :func:`max`."""
    return _extremum("min", x, dim, keepdim, other)


# ---- var, std, norm ----


def _correction(name: str, dim: Any, unbiased: bool | None, correction: float | None) -> tuple[Any, float]:
    """dim and correction, where ``var(x, False)`` means ``unbiased=False``, as in PyTorch."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is not None and unbiased is not None:
        raise TypeError(f"{name}: unbiased={unbiased} stands for correction={int(unbiased)}; give one of them")
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    return dim, correction


def _var_samples(make: Any) -> list[tuple]:
    shapes = (((7,), None), ((17,), 0), ((3, 5), -1), ((300, 7), 0), ((2, 3, 65), (0, 2)), ((20_001,), None))
    return [
        (make(*shape), dim, unbiased, keep)
        for shape, dim in shapes
        for unbiased, keep in ((True, False), (False, True))
    ]


def _var_reference(x: np.ndarray, dim: Any = None, unbiased: bool = True, keepdim: bool = False) -> Any:
    return np.var(x, axis=dim, ddof=int(unbiased), keepdims=keepdim)


@composed(
    reference=_var_reference,
    samples=_var_samples,
    errors=lambda make: [
        ((make.integers(0, 9, (3,)),), TypeError, "var: x is int64"),
        ((make(3), 1), IndexError, "dim 1 is out of range"),
    ],
    tolerance=64,
)
@numpy_names
def var(
    x: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    """Variance over dimensions: the sum of squared distances from the mean, divided by n - correction.

    Args:
        x: Tensor of floats.
        dim: A dimension or several; all of them by default.
        unbiased: True for correction 1, False for 0.
        keepdim: Keep the dimensions, with size 1.
        correction: What is subtracted from the number of elements n; 1 by default, as in PyTorch (NumPy's
            ``ddof`` is 0). Where n is not larger, the result is NaN or infinite.

    Raises:
        TypeError: x is not of a float type, or both unbiased and correction are given.
        IndexError: x has no such dimension.
    """
    x = as_tensor(x, "var")
    dim, correction = _correction("var", dim, unbiased, correction)
    return _var("var", x, dims_of("var", dim), bool(keepdim), correction)


def _var(name: str, x: Tensor, dims: tuple | None, keepdim: bool, correction: float) -> Tensor:
    if x.dtype.kind != "f":
        raise TypeError(f"{name}: x is {x.dtype} but must be float32 or float64; convert it with .to(np.float32)")
    centred = x - fold_mean(x, dims, True)
    return fold_sum(centred * centred, dims, keepdim) / builtins.max(count(x.shape, dims) - correction, 0.0)


def _root(s: Tensor) -> Tensor:
    """The square root with gradient 0 at 0, for what is 0 only if all that it is made of is 0."""
    zero = s == 0.0
    return where(zero, 0.0, sqrt(where(zero, 1.0, s)))


@composed(
    reference=lambda x, dim=None, unbiased=True, keepdim=False: np.sqrt(_var_reference(x, dim, unbiased, keepdim)),
    samples=_var_samples,
    errors=lambda make: [((make.integers(0, 9, (3,)),), TypeError, "std: x is int64")],
    tolerance=64,
)
@numpy_names
def std(
    x: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    """Standard deviation over dimensions, the square root of :func:`var`. Where it is 0 its gradient is 0."""
    x = as_tensor(x, "std")
    dim, correction = _correction("std", dim, unbiased, correction)
    return _root(_var("std", x, dims_of("std", dim), bool(keepdim), correction))


def _norm_reference(x: np.ndarray, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    a = np.abs(x)
    if p in (math.inf, -math.inf):
        return (np.max if p > 0 else np.min)(a, axis=dim, keepdims=keepdim)
    if p == 0:
        return np.sum(a != 0, axis=dim, keepdims=keepdim).astype(x.dtype)
    return np.sum(a**p, axis=dim, keepdims=keepdim) ** (1 / p)


def _norm_samples(make: Any) -> list[tuple]:
    samples: list[tuple] = [(make(20_001), 2, None, False)]
    for shape, dim, keep in (((7,), None, False), ((3, 17), 1, True), ((2, 3, 5), (0, 2), False)):
        x = make.distinct(*shape)
        x = np.where(x > 0, x + 0.03, x)  # no two magnitudes equal
        samples += [(x, p, dim, keep) for p in (2, 1, 3, 1.5, 0.5, -1, math.inf, -math.inf)]
    return samples


@composed(
    reference=_norm_reference,
    samples=_norm_samples,
    errors=lambda make: [
        ((make(3), "nuc"), ValueError, "norm: p is 'nuc'"),
        ((make(0), math.inf), ValueError, "is empty"),
    ],
    tolerance=64,
)
@numpy_names
def norm(x: Tensor, p: float | str | None = 2, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The p-norm of the elements over dimensions: (sum |x|^p)^(1/p). A matrix counts as the vector of its elements.

    Args:
        x: Tensor; integers are taken as float32.
        p: Any number; 2, "fro" and None are the Euclidean norm, inf and -inf the largest and smallest magnitude, 0
            counts the elements that are not 0.
        dim: A dimension or several; all of them by default.
        keepdim: Keep the dimensions, with size 1.

    Returns:
        The norm. Its gradient with respect to an element that is 0 is 0.

    Raises:
        ValueError: p is not among these, or infinite with an empty dimension.
        IndexError: x has no such dimension.
    """
    x = as_tensor(x, "norm")
    if x.dtype.kind != "f":
        x = to(x, np.float32)
    dims, keepdim = dims_of("norm", dim), bool(keepdim)
    if p is None or p == "fro":
        p = 2
    if isinstance(p, str) or math.isnan(p):
        raise ValueError(f"norm: p is {p!r} but must be a number, inf, -inf or 'fro'")
    if p == 2:
        return _root(fold_sum(x * x, dims, keepdim))
    a = magnitude(x)
    if p == 1:
        return fold_sum(a, dims, keepdim)
    if p in (math.inf, -math.inf):
        return (fold_amax if p > 0 else fold_amin)(a, dims, keepdim)
    zero = a == 0.0
    if p == 0:
        return to(fold_sum(~zero, dims, keepdim), x.dtype)
    # The powers are taken of 1 where they, or their slopes, are infinite at 0.
    powers = where(zero, math.inf if p < 0 else 0.0, where(zero, 1.0, a) ** float(p))
    total = fold_sum(powers, dims, keepdim)
    flat = total == (math.inf if p < 0 else 0.0)
    return where(flat, 0.0, where(flat, 1.0, total) ** (1.0 / p))


@composed(
    reference=lambda x, dim=None: np.asarray(np.count_nonzero(x, axis=dim)),
    samples=lambda make: [(np.trunc(make(3, 17)), None), (np.trunc(make(3, 17)), 1), (np.trunc(make(0)), None)],
    differences=False,
)
@numpy_names
def count_nonzero(x: Tensor, dim: Dims = None) -> Tensor:
    """How many elements over the dimensions are not 0, int64."""
    return fold_sum(as_tensor(x, "count_nonzero") != 0, dims_of("count_nonzero", dim), False)
