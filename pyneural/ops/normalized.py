"""Exponentials and their sums, safe from overflow: softmax, log_softmax, logsumexp."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _engine
from .._arguments import dims_of, numpy_names
from .elementwise import exp, where
from .folds import FOLDS, Dims, Tensor, fold_errors, fold_sum, folds, restored
from .record import op
from .reduction import converted

__all__ = ["log_softmax", "logsumexp", "softmax"]
METHODS = tuple(__all__)

as_tensor = _engine.as_tensor


def _shifted(x: np.ndarray, dims: Any) -> np.ndarray:
    return x - (x.max(axis=dims, keepdims=True) if x.size else 0)


def _softmax_reference(x: np.ndarray, dim: int) -> np.ndarray:
    if x.ndim == 0:
        return np.ones_like(x)
    e = np.exp(_shifted(x, dim))
    return e / e.sum(axis=dim, keepdims=True)


def _log_softmax_reference(x: np.ndarray, dim: int) -> np.ndarray:
    if x.ndim == 0:
        return np.zeros_like(x)
    z = _shifted(x, dim)
    return z - np.log(np.exp(z).sum(axis=dim, keepdims=True))


def _logsumexp_reference(x: np.ndarray, dims: Any, keepdim: bool) -> np.ndarray:
    top = x.max(axis=dims, keepdims=True)
    y = np.log(np.exp(x - top).sum(axis=dims, keepdims=True)) + top
    return y if keepdim else y.squeeze(axis=tuple(range(x.ndim)) if dims is None else dims)


def _softmax_samples(make: Any) -> list[tuple]:
    shapes = (
        ((), 0),
        ((1,), 0),
        ((10,), 0),
        ((16,), -1),
        ((64, 10), 1),
        ((64, 10), 0),
        ((3, 17), 1),
        ((17, 3), 0),
        ((2, 65, 5), 1),
        ((2, 3, 1100), -1),
        ((3, 5000), 1),
        ((300, 70), 0),
        ((0, 3), 1),
        ((3, 0), 1),
        ((200, 201), 1),
        ((201, 200), 0),
    )
    return [(make(*shape, low=-9.0, high=9.0), dim) for shape, dim in shapes]


def _softmax_errors(make: Any) -> list[tuple]:
    return [((make(2, 3), 2), IndexError, r"dim 2 is out of range for shape \(2, 3\)")]


def _softmax_gradient(g: Tensor, y: Tensor, dim: int) -> Tensor:
    return y * (g - fold_sum(g * y, (dim,), True))


def _log_softmax_gradient(g: Tensor, y: Tensor, dim: int) -> Tensor:
    return g - exp(y) * fold_sum(g, (dim,), True)


def _logsumexp_gradient(g: Tensor, x: Tensor, y: Tensor, dims: tuple | None, keepdim: bool) -> Tensor:
    # Where all elements are -inf, x - y would be NaN; there every weight is 0.
    y = restored(y, x.shape, dims, keepdim)
    return restored(g, x.shape, dims, keepdim) * exp(x - where(y == -math.inf, 0.0, y))


_softmax = op(
    "softmax",
    "x",
    attributes="dim",
    reference=_softmax_reference,
    gradient={"x": _softmax_gradient},
    formula={"x": r"y\,(g - \sum g\,y)"},
    samples=_softmax_samples,
    errors=_softmax_errors,
    tolerance=8,
    doc="exp(x) divided by its sum along dim.",
)
_log_softmax = op(
    "log_softmax",
    "x",
    attributes="dim",
    reference=_log_softmax_reference,
    gradient={"x": _log_softmax_gradient},
    formula={"x": r"g - e^y \sum g"},
    samples=_softmax_samples,
    errors=_softmax_errors,
    tolerance=16,
    doc="The logarithm of softmax along dim.",
)
_logsumexp = op(
    "logsumexp",
    "x",
    attributes="dims keepdim",
    reference=_logsumexp_reference,
    gradient={"x": _logsumexp_gradient},
    formula={"x": r"e^{x - y}\,g"},
    samples=lambda make: folds(make, FOLDS, low=-9.0, high=9.0),
    errors=fold_errors,
    tolerance=8,
    doc="log of the sum of exp(x) over dims.",
)


@numpy_names
def softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """exp(x) divided by its sum along a dimension, computed as exp(x - max) so that nothing overflows.

    Args:
        x: Tensor of any shape; integers are taken as float32.
        dim: The dimension whose elements add up to 1.
        dtype: Convert to this dtype first.

    Returns:
        A tensor of x's shape. Along a row that is -inf everywhere, or holds +inf or NaN, it is NaN, as in PyTorch.

    Raises:
        IndexError: x has no such dimension.
    """
    return _softmax(converted(x, dtype, "softmax"), dim)


@numpy_names
def log_softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """log(softmax(x)) along a dimension, exact also where softmax underflows. Arguments as for :func:`softmax`."""
    return _log_softmax(converted(x, dtype, "log_softmax"), dim)


@numpy_names
def logsumexp(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over dimensions, computed as max + log(sum(exp(x - max))).

    Args:
        x: Tensor; integers are taken as float32.
        dim: A dimension or several; all of them by default.
        keepdim: Keep the dimensions, with size 1.

    Returns:
        The logarithm: -inf for no elements or where all are -inf, inf where one is. Where it is -inf its gradient is 0
        (PyTorch's is NaN).

    Raises:
        IndexError: x has no such dimension.
    """
    return _logsumexp(as_tensor(x, "logsumexp"), dims_of("logsumexp", dim), bool(keepdim))
